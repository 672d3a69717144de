"""Faults that tests ask for: which calls they hit, and what those get."""

import threading
import xml.etree.ElementTree as ElementTree

from .answers import NAMESPACES, Answer, AwsError

KINDS = (
    "throttle",
    "denied",
    "unavailable",
    "error",
    "hang",
    "lose_response",
    "latency",
    "empty",
    "short",
    "stale",
)
# A hung request ends at the latest after this many seconds.
HANG = 60.0

for _namespace in NAMESPACES.values():
    # Written back without a prefix, as it was read.
    ElementTree.register_namespace("", _namespace)


class Fault:
    """`action`: a name, `service:name`, `*`, `reads` or `writes`. `times`: nothing is always."""

    def __init__(self, spec: dict, number: int):
        known = {"action", "caller", "skip", "times", "params", "kind"}
        if unknown := set(spec) - known:
            raise ValueError(f"a fault has no {sorted(unknown)}; it has {sorted(known)}")
        self.number = number
        self.action = spec.get("action", "*")
        self.caller = spec.get("caller") or ""
        self.skip = spec.get("skip") or 0
        self.times = spec.get("times")
        self.params = spec.get("params") or {}
        self.kind = dict(spec["kind"])
        self.name = self.kind["name"]
        if self.name not in KINDS:
            raise ValueError(f"{self.name!r} is no kind of fault; kinds are {', '.join(KINDS)}")
        self.hits = 0
        self.healed = threading.Event()

    def matches(self, request) -> bool:
        service, _, action = self.action.rpartition(":")
        return (
            (not service or service == request.service)
            and (
                action in ("*", request.action)
                or action == ("writes" if request.mutates else "reads")
            )
            and (self.caller in request.agent or self.caller in request.key)
            and all(
                any(
                    name == key or name.startswith(key + ".") or name.endswith("." + key)
                    for name, value in request.params.items()
                    if part in value
                )
                for key, part in self.params.items()
            )
        )

    def described(self) -> dict:
        return {
            "number": self.number,
            "action": self.action,
            "caller": self.caller,
            "skip": self.skip,
            "times": self.times,
            "params": self.params,
            "kind": self.kind,
            "hits": self.hits,
        }


class Faults:
    """In the order in which they were added. The first that matches hits; latency adds up."""

    def __init__(self):
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._number = 0

    def add(self, spec: dict) -> dict:
        with self._lock:
            self._number += 1
            fault = Fault(spec, self._number)
            self._faults.append(fault)
            return fault.described()

    def remove(self, number: int | None = None) -> None:
        """One, or all. What hangs because of it hangs no longer."""
        with self._lock:
            gone = [f for f in self._faults if number in (None, f.number)]
            self._faults = [f for f in self._faults if f not in gone]
        for fault in gone:
            fault.healed.set()

    def all(self) -> list[dict]:
        with self._lock:
            return [fault.described() for fault in self._faults]

    def want_the_past(self) -> bool:
        """Whether what was before a write is to be kept."""
        with self._lock:
            return any(fault.name == "stale" for fault in self._faults)

    def take(self, request) -> list[Fault]:
        """What hits this request: any number of delays, then at most one other."""
        hit = []
        with self._lock:
            for fault in self._faults:
                if not fault.matches(request) or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                fault.hits += 1
                hit.append(fault)
                if fault.name != "latency":
                    break
        return hit


def play(faults: list[Fault], request, forward, before) -> Answer | None:
    """The request's answer, `None` for a cut connection. `forward` does what was asked, `before` answers
    as so many seconds ago.
    """
    for fault in faults:
        kind = fault.kind
        match fault.name:
            case "latency":
                fault.healed.wait(kind["ms"] / 1000)
            case "hang":
                fault.healed.wait(kind.get("seconds") or HANG)
                return None
            case "lose_response":
                forward()
                return None
            case "empty":
                return cut(forward(), None, kind.get("element"))
            case "short":
                return cut(forward(), kind.get("drop", 1), kind.get("element"))
            case "stale":
                return forward() if request.mutates else before(kind["ms"] / 1000)
            case _:
                return error(fault, request.service).answer(request.service)
    return forward()


def error(fault: Fault, service: str) -> AwsError:
    """Codes as the services answer them."""
    kind, ec2 = fault.kind, service == "ec2"
    headers = []
    if kind.get("retry_after") is not None:
        headers.append(("Retry-After", str(kind["retry_after"])))
    match fault.name:
        case "throttle":
            if ec2:
                return AwsError("RequestLimitExceeded", "Request limit exceeded.", 503, headers)
            return AwsError("Throttling", "Rate exceeded", 400, headers)
        case "denied":
            if ec2:
                return AwsError(
                    "UnauthorizedOperation",
                    "You are not authorized to perform this operation.",
                    403,
                )
            return AwsError("AccessDenied", "User is not authorized to perform this operation", 403)
        case "unavailable":
            code = "Unavailable" if ec2 else "ServiceUnavailable"
            return AwsError(
                code, "The service is unavailable. Please try again shortly.", 503, headers
            )
    return AwsError(
        kind["code"],
        kind.get("message") or "as the test asked for",
        kind.get("status") or 400,
        headers,
    )


def cut(answer: Answer, drop: int | None, element: str | None) -> Answer:
    """Takes the last `drop` items (`None`: all) off the answer's lists, and no word of a next page.

    The list is the outermost, or all those called `element`.
    """
    if answer.status != 200:
        return answer
    root = ElementTree.fromstring(answer.body)

    def local(node):
        return node.tag.rpartition("}")[2]

    def holds_items(node):
        return len(node) > 0 and all(local(child) in ("item", "member") for child in node)

    if element:
        lists = [node for node in root.iter() if local(node) == element]
    else:
        lists = []
        level = [root]
        while level and not lists:
            lists = [node for node in level if holds_items(node)]
            level = [child for node in level for child in node]
    for node in lists:
        items = list(node)
        for item in items if drop is None else items[max(len(items) - drop, 0) :]:
            node.remove(item)
    for parent in list(root.iter()):
        for child in list(parent):
            if local(child) in ("nextToken", "NextToken", "NextMarker"):
                parent.remove(child)
    return Answer(
        200,
        ElementTree.tostring(root, encoding="utf-8", xml_declaration=True),
        [("Content-Type", "text/xml")],
    )
