"""Security groups and their rules."""

import ipaddress
import re

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.responses.security_groups import SecurityGroups

from ..answers import AwsError
from ..state import STATE
from . import around, correction

CHARACTERS = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]"
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "-1", "all")


def permissions(request):
    return request.groups("IpPermissions")


@correction(
    "sg-rule-text",
    "Security groups",
    moto="Any protocol is taken (`tls`), ranges with host bits are kept as they are, and "
    "descriptions may hold anything.",
    aws="`InvalidParameterValue` for unknown protocols, for ranges of the other family and for "
    "descriptions with other characters than AWS allows; ranges are kept without host bits.",
)
def sg_rule_text(rules):
    @rules.on_request(
        "ec2",
        "AuthorizeSecurityGroupIngress",
        "AuthorizeSecurityGroupEgress",
        "RevokeSecurityGroupIngress",
        "RevokeSecurityGroupEgress",
    )
    def check(request):
        for permission in permissions(request):
            protocol = permission.get("IpProtocol", "")
            number = protocol.isdigit() and int(protocol) <= 255
            if protocol.lower() not in PROTOCOLS and not number:
                raise AwsError(
                    "InvalidParameterValue",
                    f"Invalid value '{protocol}' for IP protocol. Unknown protocol.",
                )
            if protocol in ("tcp", "udp", "6", "17"):
                first, last = (int(permission.get(key, -1)) for key in ("FromPort", "ToPort"))
                if not 0 <= first <= last <= 65535:
                    raise AwsError(
                        "InvalidParameterValue", f"Invalid TCP/UDP port range ({first}:{last})"
                    )
            for key, value in permission.items():
                range_of(key, value)
                if key.endswith(".Description") and (
                    len(value) > 255 or not re.fullmatch(CHARACTERS + "*", value)
                ):
                    raise AwsError(
                        "InvalidParameterValue",
                        "Invalid rule description. Valid descriptions are "
                        "strings less than 256 characters from the following set: a-zA-Z0-9. "
                        "_-:/()#,@[]+=&;{}!$*",
                    )

    def range_of(key, value):
        family = {"CidrIp": ipaddress.IPv4Network, "CidrIpv6": ipaddress.IPv6Network}.get(
            key.rpartition(".")[2]
        )
        if family:
            try:
                family(value, strict=False)
            except ValueError:
                raise AwsError(
                    "InvalidParameterValue", f"CIDR block {value} is malformed"
                ) from None

    @around(SecurityGroupRule, "__init__")
    def init(original, rule, *args, **kwargs):
        original(rule, *args, **kwargs)
        for key in ("CidrIp", "CidrIpv6"):
            if key in rule.ip_range:
                network = ipaddress.ip_network(rule.ip_range[key], strict=False)
                rule.ip_range = rule.ip_range | {key: str(network)}


@correction(
    "sg-rule-equality",
    "Security groups",
    moto="A rule from a group is another one when its description differs, also for revoking.",
    aws="Descriptions do not count.",
)
def sg_rule_equality(_rules):
    @around(SecurityGroupRule, "__eq__")
    def equal(original, rule, other):
        if rule.source_group or other.source_group:
            return rule.source_group.get("GroupId") == other.source_group.get("GroupId") and (
                rule.ip_protocol,
                rule.from_port,
                rule.to_port,
            ) == (other.ip_protocol, other.from_port, other.to_port)
        # moto's own does not see that the other has a range and it has none.
        return {k: v for k, v in rule.ip_range.items() if k != "Description"} == {
            k: v for k, v in other.ip_range.items() if k != "Description"
        } and original(rule, other)


@correction(
    "sg-rules-atomic",
    "Security groups",
    moto="When one rule of a request is refused those before it stay; the answer has the rules "
    "of the last permission only.",
    aws="All rules of a request or none; the answer has all. 60 rules a direction.",
)
def sg_rules_atomic(_rules):
    def atomic(method, rules_of, adds):
        @around(SecurityGroups, method)
        def call(_original, response):
            response.error_on_dryrun()
            backend = response.ec2_backend
            name = response._get_param("GroupId") or response._get_param("GroupName")
            group = backend.get_security_group_by_name_or_id(name)
            before = list(getattr(group, rules_of)) if group else []
            made = []
            try:
                for kwargs in response._process_rules_from_querystring():
                    if adds:
                        made += getattr(backend, method)(**kwargs)[0]
                    else:
                        kwargs.pop("sgrule_tags")
                        getattr(backend, method)(**kwargs)
            except Exception:
                if group:
                    setattr(group, rules_of, before)
                raise
            result = {"Return": True}
            return ActionResult(result | ({"SecurityGroupRules": made} if adds else {}))

    atomic("authorize_security_group_ingress", "ingress_rules", True)
    atomic("authorize_security_group_egress", "egress_rules", True)
    atomic("revoke_security_group_ingress", "ingress_rules", False)
    atomic("revoke_security_group_egress", "egress_rules", False)


@correction(
    "sg-names",
    "Security groups",
    moto="Any name and description is taken.",
    aws="At most 255 characters of `a-zA-Z0-9 ._-:/()#,@[]+=&;{}!$*`, and no name that begins "
    "with `sg-`.",
)
def sg_names(rules):
    @rules.on_request("ec2", "CreateSecurityGroup")
    def check(request):
        name, text = request.get("GroupName", ""), request.get("GroupDescription", "")
        if not re.fullmatch(CHARACTERS + "{1,255}", name) or name.startswith("sg-"):
            raise AwsError(
                "InvalidParameterValue", f"Value ({name}) for parameter GroupName is invalid."
            )
        if not re.fullmatch(CHARACTERS + "{0,255}", text):
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({text}) for parameter GroupDescription "
                "is invalid. Character sets beyond ASCII are not supported.",
            )


@correction(
    "sg-deletion",
    "Security groups",
    moto="DeleteSecurityGroup always succeeds.",
    aws="`DependencyViolation` while a rule of another group refers to it or an instance or a "
    "load balancer uses it, also for a while after that load balancer's deletion (setting "
    "`lingering_s`); `CannotDelete` for a default group.",
)
def sg_deletion(_rules):
    @around(EC2Backend, "delete_security_group")
    def delete(original, backend, name=None, group_id=None):
        group = backend.get_security_group_by_name_or_id(group_id or name)
        if group is not None:
            if group.is_default:
                raise EC2ClientError(
                    "CannotDelete",
                    f'the specified group: "{group.id}" name: '
                    '"default" cannot be deleted by a user',
                )
            if used(backend, group.id):
                raise EC2ClientError(
                    "DependencyViolation", f"resource {group.id} has a dependent object"
                )
        return original(backend, name, group_id)

    def used(backend, group_id) -> bool:
        from moto.elb import elb_backends
        from moto.elbv2 import elbv2_backends

        account, region = backend.account_id, backend.region_name
        others = [
            group
            for groups in backend.groups.values()
            for group in groups.values()
            if group.id != group_id
        ]
        referring = any(
            rule.source_group.get("GroupId") == group_id
            for group in others
            for rule in [*group.ingress_rules, *group.egress_rules]
        )
        machines = any(
            machine.state != "terminated"
            and any(
                group.id == group_id for card in machine.nics.values() for group in card.group_set
            )
            for machine in backend.all_instances()
        )
        cards = any(
            group.id == group_id
            for card in backend.enis.values()
            if card.instance is None
            for group in card.group_set
        )
        balancers = [
            *elb_backends[account][region].load_balancers.values(),
            *elbv2_backends[account][region].load_balancers.values(),
        ]
        balanced = any(group_id in (balancer.security_groups or []) for balancer in balancers)
        return referring or machines or cards or balanced or STATE.lingers(group_id)
