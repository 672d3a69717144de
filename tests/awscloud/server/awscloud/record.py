"""The log of calls."""

import threading
import time


class Log:
    """All calls since the last reset, numbered from 1. A call is in it from its arrival on."""

    def __init__(self):
        self._lock = threading.Lock()
        self._calls: list[dict] = []
        self._number = 0

    def begin(self, request) -> dict:
        with self._lock:
            self._number += 1
            call = {
                "number": self._number,
                # Milliseconds since 1970.
                "at": int(time.time() * 1000),
                "service": request.service,
                "action": request.action,
                "mutates": request.mutates,
                "agent": request.agent,
                "key": request.key,
                "params": {
                    k: v for k, v in request.params.items() if k not in ("Action", "Version")
                },
                "status": None,
                "code": "",
                "took_effect": False,
                "fault": None,
                "ms": None,
            }
            self._calls.append(call)
            return call

    def end(self, call: dict, answer) -> None:
        """`None`: the connection was cut."""
        with self._lock:
            call["ms"] = int(time.time() * 1000) - call["at"]
            call["status"] = answer.status if answer else 0
            call["code"] = answer.code if answer else ""

    def mark(self) -> int:
        """The number of the last call."""
        with self._lock:
            return self._number

    def since(self, mark: int, caller: str = "") -> list[dict]:
        """Calls with a higher number whose agent or key contains `caller`."""
        with self._lock:
            return [
                dict(call)
                for call in self._calls
                if call["number"] > mark and (caller in call["agent"] or caller in call["key"])
            ]

    def clear(self) -> None:
        """Forgets the calls; numbers go on, so that marks stay good."""
        with self._lock:
            self._calls.clear()
