"""Target groups and targets."""

import inspect
import time

from moto.elbv2.exceptions import (
    DuplicateTargetGroupName,
    ELBClientError,
    LoadBalancerNotFoundError,
)
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup

from ..state import STATE
from . import around, correction

NETWORK = ("TCP", "UDP", "TCP_UDP", "TLS")
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
NLB_ATTRIBUTES = {
    "deregistration_delay.connection_termination.enabled": "false",
    "deregistration_delay.timeout_seconds": "300",
    "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
    "preserve_client_ip.enabled": "true",
    "proxy_protocol_v2.enabled": "false",
    "stickiness.enabled": "false",
    "stickiness.type": "source_ip",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "target_health_state.unhealthy.draining_interval_seconds": "0",
}


@correction(
    "tg-same-settings",
    "ELBv2",
    moto="CreateTargetGroup with the name and settings of one that is there is "
    "`DuplicateTargetGroupName`.",
    aws="The one that is there is answered, if these are its settings now; else it is "
    "`DuplicateTargetGroupName`.",
)
def tg_same_settings(_rules):
    @around(ELBv2Backend, "create_target_group")
    def create(original, backend, name, **kwargs):
        for group in backend.target_groups.values():
            if group.name == name:
                if is_as_asked(group, kwargs):
                    return group
                raise DuplicateTargetGroupName()
        return original(backend, name, **kwargs)

    def is_as_asked(group, asked):
        """Whether it has these settings now, whatever it was made with."""
        asked = {key: value for key, value in asked.items() if key != "tags"}
        fresh = FakeTargetGroup(group.name, group.account_id, group.region_name, **asked)
        fields = (
            "protocol port vpc_id target_type ip_address_type health_check_protocol "
            "health_check_port health_check_interval_seconds health_check_timeout_seconds "
            "health_check_enabled healthy_threshold_count unhealthy_threshold_count"
        ).split()
        # Those of which the defaults depend on the protocol.
        fields += ["health_check_path"] if asked.get("healthcheck_path") else []
        fields += ["matcher"] if asked.get("matcher") else []
        return all(str(getattr(group, field)) == str(getattr(fresh, field)) for field in fields)


@correction(
    "tg-load-balancers",
    "ELBv2",
    moto="A target group is on the load balancers of its first listeners for ever; none on a "
    "load balancer is `TargetGroupNotFound`.",
    aws="It is on a load balancer while a listener there forwards to it; none is an empty list.",
)
def tg_load_balancers(_rules):
    def arns(group):
        from moto.elbv2 import elbv2_backends

        backend = elbv2_backends[group.account_id][group.region_name]
        return Derived(
            balancer.arn
            for balancer in backend.load_balancers.values()
            if any(
                forwards_to(backend, listener, group.arn)
                for listener in balancer.listeners.values()
            )
        )

    FakeTargetGroup.load_balancer_arns = property(arns, lambda group, value: None)

    @around(ELBv2Backend, "describe_target_groups")
    def describe(original, backend, load_balancer_arn, target_group_arns, names):
        if load_balancer_arn and not target_group_arns and not names:
            if load_balancer_arn not in backend.load_balancers:
                raise LoadBalancerNotFoundError()
            return sorted(
                (
                    group
                    for group in backend.target_groups.values()
                    if load_balancer_arn in group.load_balancer_arns
                ),
                key=lambda group: group.name,
            )
        return original(backend, load_balancer_arn, target_group_arns, names)


class Derived(list):
    """moto notes load balancers here; they are worked out instead."""

    def append(self, _arn):
        pass


def forwards_to(backend, listener, arn: str) -> bool:
    return any(
        arn in backend._get_target_group_arns_from(action_data=action.data)
        for rule in listener.rules.values()
        for action in rule.actions
    )


@correction(
    "tg-attributes",
    "ELBv2",
    moto="A target group of an NLB lacks `preserve_client_ip.enabled`, "
    "`proxy_protocol_v2.enabled` and others; any key can be set.",
    aws="All are answered with their defaults; an unknown key is `ValidationError`, and "
    "`preserve_client_ip.enabled` cannot be false for UDP.",
)
def tg_attributes(_rules):
    @around(FakeTargetGroup, "__init__")
    def init(original, group, *args, **kwargs):
        original(group, *args, **kwargs)
        if group.protocol in NETWORK:
            group.attributes = dict(NLB_ATTRIBUTES)
            if group.target_type == "ip" and group.protocol in ("TCP", "TLS"):
                group.attributes["preserve_client_ip.enabled"] = "false"

    @around(ELBv2Backend, "modify_target_group_attributes")
    def modify(original, backend, target_group_arn, attributes):
        group = backend.target_groups.get(target_group_arn)
        if group is not None and group.protocol in NETWORK:
            for key, value in attributes.items():
                if key not in NLB_ATTRIBUTES:
                    raise ELBClientError(
                        "ValidationError", f"Target group attribute key '{key}' is not recognized"
                    )
                if NLB_ATTRIBUTES[key] in ("true", "false") and value not in ("true", "false"):
                    raise ELBClientError(
                        "ValidationError",
                        f"Target group attribute value '{value}' is not valid for '{key}'",
                    )
            if attributes.get("preserve_client_ip.enabled") == "false" and group.protocol in (
                "UDP",
                "TCP_UDP",
            ):
                raise ELBClientError(
                    "InvalidConfigurationRequest",
                    "preserve_client_ip.enabled "
                    f"cannot be disabled for {group.protocol} target groups",
                )
        return original(backend, target_group_arn, attributes)


@correction(
    "tg-health-checks",
    "ELBv2",
    moto="Timeout 10 for HTTP checks of an NLB's target group; path and success codes do not "
    "follow the check's protocol; ranges are not checked when modified.",
    aws="Timeout 6, path `/`, success codes `200-399` by default for HTTP; TCP has neither, and "
    "refuses them; interval 5 to 300, timeout 2 to 120, thresholds 2 to 10, timeout at most the "
    "interval.",
)
def tg_health_checks(_rules):
    @around(ELBv2Backend, "create_target_group")
    def create(original, backend, name, **kwargs):
        if kwargs.get("protocol") not in NETWORK:
            return original(backend, name, **kwargs)
        protocol = kwargs.get("healthcheck_protocol") or "TCP"
        refuse(protocol, kwargs.get("healthcheck_path"), kwargs.get("matcher"))
        fixed = dict(kwargs)
        if not kwargs.get("healthcheck_timeout_seconds"):
            fixed["healthcheck_timeout_seconds"] = min(
                6 if protocol == "HTTP" else 10, kwargs.get("healthcheck_interval_seconds") or 30
            )
        group = original(backend, name, **fixed)
        group.codes = (kwargs.get("matcher") or {}).get("HttpCode")
        settle(group)
        try:
            check(group)
        except ELBClientError:
            del backend.target_groups[group.arn]
            raise
        return group

    @around(ELBv2Backend, "modify_target_group")
    def modify(original, backend, *args, **kwargs):
        asked = inspect.signature(original).bind(backend, *args, **kwargs).arguments
        group = backend.target_groups.get(asked["arn"])
        if group is None or group.protocol not in NETWORK:
            return original(backend, *args, **kwargs)
        protocol = asked.get("health_check_proto") or group.health_check_protocol
        refuse(protocol, asked.get("health_check_path"), asked.get("http_codes"))
        before = dict(vars(group))
        original(backend, *args, **kwargs)
        group.codes = asked.get("http_codes") or group.codes
        settle(group)
        try:
            check(group)
        except ELBClientError:
            vars(group).update(before)
            raise
        return group

    def refuse(protocol, path, codes):
        if protocol not in ("HTTP", "HTTPS") and (path or codes):
            raise ELBClientError(
                "ValidationError",
                "Health check paths and success codes cannot be specified for health checks with "
                f"the {protocol} protocol",
            )

    def settle(group):
        if group.health_check_protocol in ("HTTP", "HTTPS"):
            group.health_check_path = group.health_check_path or "/"
            group.matcher = {"HttpCode": group.codes or "200-399"}
        else:
            group.health_check_path = None
            group.matcher = None

    def check(group):
        interval = int(group.health_check_interval_seconds)
        timeout = int(group.health_check_timeout_seconds)
        ranges = (
            ("interval", interval, 5, 300),
            ("timeout", timeout, 2, 120),
            ("healthy threshold", int(group.healthy_threshold_count), 2, 10),
            ("unhealthy threshold", int(group.unhealthy_threshold_count), 2, 10),
        )
        for name, value, least, most in ranges:
            if not least <= value <= most:
                raise ELBClientError(
                    "ValidationError",
                    f"Health check {name} '{value}' must be between '{least}' and '{most}'",
                )
        if timeout > interval:
            raise ELBClientError(
                "ValidationError",
                f"Health check timeout '{timeout}' must be "
                f"smaller than or equal to the interval '{interval}'",
            )


@correction(
    "targets",
    "ELBv2",
    moto="Targets are told apart by ID alone, deregistering ignores the port, what is not "
    "registered is `InvalidTarget`, instances that do not exist are taken, nothing "
    "drains, and all are healthy.",
    aws="Told apart by ID and port; deregistering what is not there succeeds; `InvalidTarget` "
    "for unknown or stopped instances; draining for a while (setting `draining_s`); "
    "`unused` while no listener forwards.",
)
def targets(_rules):
    def key(group, target):
        return target["Id"], int(target.get("Port") or group.port)

    @around(FakeTargetGroup, "register")
    def register(_original, group, wanted):
        machines = {i.id: i for i in group.ec2_backend.all_instances()}
        for target in wanted:
            if group.target_type != "instance":
                continue
            machine = machines.get(target["Id"])
            if machine is None or machine.vpc_id != group.vpc_id:
                raise ELBClientError(
                    "InvalidTarget",
                    "The following targets are not in the target "
                    f"group VPC '{group.vpc_id}': '{target['Id']}'",
                )
            if machine.state != "running":
                raise ELBClientError(
                    "InvalidTarget",
                    "The following targets are not in a running "
                    f"state and cannot be registered: '{target['Id']}'",
                )
        for target in wanted:
            name, port = key(group, target)
            group.targets[name, port] = {"Id": name, "Port": port}
            group.deregistered_targets.pop((name, port), None)

    @around(FakeTargetGroup, "deregister")
    def deregister(_original, group, unwanted):
        for target in unwanted:
            # Without a port all ports of it are meant.
            gone = [
                k
                for k in group.targets
                if k[0] == target["Id"] and (not target.get("Port") or k[1] == int(target["Port"]))
            ]
            for one in gone:
                drain(group, one)

    def drain(group, one):
        found = group.targets.pop(one)
        if STATE["draining_s"]:
            group.deregistered_targets[one] = found | {"since": time.monotonic()}

    @around(FakeTargetGroup, "deregister_terminated_instances")
    def terminated(_original, group, instance_ids):
        for one in [k for k in group.targets if k[0] in instance_ids]:
            drain(group, one)

    @around(ELBv2Backend, "describe_target_health")
    def describe(_original, backend, target_group_arn, wanted):
        from moto.elbv2.exceptions import TargetGroupNotFoundError

        group = backend.target_groups.get(target_group_arn)
        if group is None:
            raise TargetGroupNotFoundError()
        begun = time.monotonic() - STATE["draining_s"]
        for one in [k for k, v in group.deregistered_targets.items() if v["since"] <= begun]:
            del group.deregistered_targets[one]
        asked = [key(group, target) for target in wanted] or [
            *group.targets,
            *group.deregistered_targets,
        ]
        used = bool(group.load_balancer_arns)
        machines = {i.id: i for i in backend.ec2_backend.all_instances()}
        return [health(group, one, used, machines) for one in asked]

    def health(group, one, used, machines):
        def status(state, reason=None, text=None):
            port = group.health_check_port
            port = str(one[1]) if port == "traffic-port" else port
            return FakeHealthStatus(one[0], one[1], port, state, reason, text)

        if one in group.deregistered_targets:
            return status(
                "draining",
                "Target.DeregistrationInProgress",
                "Target deregistration is in progress",
            )
        if one not in group.targets:
            return status(
                "unused", "Target.NotRegistered", "Target is not registered to the target group"
            )
        if not used:
            return status(
                "unused",
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            )
        machine = machines.get(one[0])
        if machine is not None and machine.state != "running":
            return status("unused", "Target.InvalidState", "Target is in the stopped state")
        return status("healthy")
