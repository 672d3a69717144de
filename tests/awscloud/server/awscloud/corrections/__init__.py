"""moto's gaps, each with the rule that corrects it.

A correction is a function that is called once, at start. It changes moto's classes, or asks to see
requests before moto does (`rules.before`) and answers after it (`rules.after`). Its declaration
says what moto does and what AWS does; the book's table is made of that.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Callable

AREAS = ("Protocol", "Metadata", "EC2", "Security groups", "Routes", "ELBv2", "Classic ELB")


@dataclass
class Correction:
    name: str
    area: str
    # What moto does, what AWS does: one line of Markdown each.
    moto: str
    aws: str
    apply: Callable


@dataclass
class Rules:
    """By service and action; `*` is any."""

    _before: dict = field(default_factory=lambda: defaultdict(list))
    _after: dict = field(default_factory=lambda: defaultdict(list))
    _failed: list = field(default_factory=list)

    def on_request(self, service: str, *actions: str):
        """The function gets the request; it may raise, or return an answer, which moto then is not
        asked for."""
        return self._adder(self._before, service, actions)

    def on_answer(self, service: str, *actions: str):
        """The function gets the request and the answer and returns an answer."""
        return self._adder(self._after, service, actions)

    def on_failure(self, function):
        """The function gets the request and what moto raised, and may raise something better."""
        self._failed.append(function)
        return function

    def failed(self, request, error: Exception) -> None:
        for rule in self._failed:
            rule(request, error)

    @staticmethod
    def _adder(table, service, actions):
        def add(function):
            for action in actions:
                table[service, action].append(function)
            return function

        return add

    def before(self, request):
        for rule in self._of(self._before, request):
            if answer := rule(request):
                return answer
        return None

    def after(self, request, answer):
        for rule in self._of(self._after, request):
            answer = rule(request, answer)
        return answer

    @staticmethod
    def _of(table, request):
        keys = (("*", "*"), (request.service, "*"), (request.service, request.action))
        return [rule for key in keys for rule in table.get(key, ())]


def around(owner, name: str):
    """Puts the function in the place of a method; it gets that method first, then its arguments."""
    original = getattr(owner, name)

    def put(function):
        def method(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, method)
        return function

    return put


ALL: list[Correction] = []


def correction(name: str, area: str, moto: str, aws: str):
    """Declares a correction. Those declared later are applied later."""
    if area not in AREAS:
        raise ValueError(f"no area {area}")

    def declare(function):
        ALL.append(Correction(name, area, moto, aws, function))
        return function

    return declare


def load() -> list[Correction]:
    # They declare themselves as they are loaded. The order is that of the book's table.
    from . import protocol, metadata, instances, interfaces, ec2  # noqa: F401, I001
    from . import security_groups, routes  # noqa: F401
    from . import balancers, target_groups, listeners, classic, classic_listeners  # noqa: F401

    return ALL


def apply(without: set[str]) -> Rules:
    """Puts all in force but those named."""
    rules = Rules()
    if unknown := without - {found.name for found in load()}:
        raise SystemExit(f"no corrections {sorted(unknown)}")
    for found in ALL:
        if found.name not in without:
            found.apply(rules)
    return rules


def described() -> list[dict]:
    """Name, area, moto's and AWS's behaviour of each."""
    return [{"name": c.name, "area": c.area, "moto": c.moto, "aws": c.aws} for c in load()]
