"""What the fake knows beside moto: settings, and data of services that moto lacks."""

import threading
import time

DEFAULTS = {
    # Milliseconds that each call of an action takes, by action or `*`.
    "latency_ms": {},
    # Seconds that a deleted load balancer's interfaces go on using its security groups.
    "lingering_s": 0.0,
    # Seconds that a deregistered target is draining.
    "draining_s": 0.0,
    # Seconds that a Network Load Balancer is provisioning. 0: until it is described.
    "provisioning_s": 0.0,
    # Routes that a route table holds; nothing is no limit.
    "routes_per_table": 50,
    # Network nodes of instances, outermost first, by instance ID or type.
    "topology": {},
    # The machine on which the program under test runs.
    "imds_instance_id": "i-00000000000000000",
    "imds_region": "us-east-1",
    "imds_zone": "us-east-1a",
    # Seconds that a terminated instance is still described; nothing is for ever.
    "terminated_s": None,
    # Seconds that a new instance is not yet known to those who ask.
    "unknown_s": 0.0,
}


class State:
    """Shared by all threads; corrections read it."""

    def __init__(self):
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        with self.lock:
            self.settings = {
                name: dict(v) if isinstance(v, dict) else v for name, v in DEFAULTS.items()
            }
            # Security group ID -> when a load balancer that used it was deleted.
            self.lingering: dict[str, float] = {}
            # Instance ID -> when it was terminated.
            self.terminated: dict[str, float] = {}
            # Instance ID -> when it was launched.
            self.launched: dict[str, float] = {}

    def change(self, patch: dict) -> dict:
        if unknown := set(patch) - set(DEFAULTS):
            raise ValueError(f"no setting {sorted(unknown)}; there are {sorted(DEFAULTS)}")
        with self.lock:
            self.settings.update(patch)
            return dict(self.settings)

    def __getitem__(self, name: str):
        return self.settings[name]

    def linger(self, groups) -> None:
        """These groups' interfaces go away later."""
        with self.lock:
            self.lingering |= dict.fromkeys(groups, time.monotonic())

    def lingers(self, group: str) -> bool:
        """Whether they are still there, by the setting as it is now."""
        since = self.lingering.get(group)
        return since is not None and time.monotonic() < since + self["lingering_s"]


STATE = State()
