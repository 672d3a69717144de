"""The test's side: JSON under /ccm/."""

import datetime
import json
import sys
import time
import traceback
from collections import Counter

from moto.core.model_instances import reset_model_data
from moto.moto_api._internal import moto_api_backend

from . import corrections, snapshot, world
from .answers import Answer
from .state import STATE

JSON = [("Content-Type", "application/json")]


def serve(front, method: str, path: str, body: bytes) -> Answer:
    """Wrong requests are 400 with a text, mistakes of ours 500 with a trace."""
    handler = ROUTES.get((method, path.removeprefix("/ccm/")))
    if handler is None:
        known = ", ".join(sorted(f"{m} /ccm/{p}" for m, p in ROUTES))
        return Answer(404, f"no {method} {path}; there are {known}".encode(), JSON)
    try:
        result = handler(front, json.loads(body) if body else {})
    except (KeyError, TypeError, ValueError) as error:
        traceback.print_exc(file=sys.stderr)
        return Answer(400, f"{type(error).__name__}: {error}".encode(), JSON)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return Answer(500, traceback.format_exc(limit=-4).encode(), JSON)
    return Answer(200, json.dumps(result, default=plain).encode(), JSON)


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value)


def calls(front, ask):
    found = front.log.since(ask.get("mark", 0), ask.get("caller", ""))
    counts = Counter(call["action"] for call in found)
    if not ask.get("list", True):
        found = []
    return {"mark": front.log.mark(), "calls": found, "counts": counts}


def reset(front, _ask):
    with front.one_at_a_time:
        moto_api_backend.reset()
        reset_model_data()
        STATE.reset()
    front.faults.remove()
    front.past.forget()
    front.log.clear()
    return {}


def add_fault(front, ask):
    return front.faults.add(ask)


def heal(front, ask):
    front.faults.remove(ask.get("number"))
    if not front.faults.want_the_past():
        front.past.forget()
    return {}


def boto(front, ask):
    return front.hand.call(
        ask["service"], ask["method"], ask.get("kwargs") or {}, ask.get("region"), ask.get("agent")
    )


ROUTES = {
    ("GET", "cpu"): lambda front, ask: {"seconds": time.process_time()},
    ("POST", "calls"): calls,
    ("GET", "mark"): lambda front, ask: {"mark": front.log.mark()},
    ("POST", "reset"): reset,
    ("GET", "faults"): lambda front, ask: front.faults.all(),
    ("POST", "faults"): add_fault,
    ("POST", "heal"): heal,
    ("GET", "corrections"): lambda front, ask: corrections.described(),
    ("GET", "settings"): lambda front, ask: STATE.settings,
    ("POST", "settings"): lambda front, ask: STATE.change(ask),
    ("POST", "boto"): boto,
    ("POST", "world"): lambda front, ask: world.build(front.hand, **ask),
    ("POST", "launch"): lambda front, ask: world.launch(front.hand, **ask),
    ("POST", "snapshot"): lambda front, ask: snapshot.take(front.hand, **ask),
}
