"""Network Load Balancers themselves."""

import ipaddress
import re
import time

from moto.core.responses import ActionResult
from moto.elbv2.exceptions import ELBClientError, LoadBalancerNotFoundError, SubnetNotFoundError
from moto.elbv2.models import AvailabilityZone, ELBv2Backend, FakeLoadBalancer
from moto.elbv2.responses import ELBV2Response

from ..answers import AwsError
from ..state import STATE
from . import around, correction

# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
NLB_ATTRIBUTES = {
    "access_logs.s3.bucket": "",
    "access_logs.s3.enabled": "false",
    "access_logs.s3.prefix": "",
    "deletion_protection.enabled": "false",
    "dns_record.client_routing_policy": "any_availability_zone",
    "ipv6.deny_all_igw_traffic": "false",
    "load_balancing.cross_zone.enabled": "false",
    "zonal_shift.config.enabled": "false",
}
PAGE = 400


def subnets_of(kwargs) -> list[str]:
    return list(kwargs.get("subnet_ids") or []) + [
        mapping.get("SubnetId") for mapping in kwargs.get("subnet_mappings") or []
    ]


@correction(
    "lb-names-and-arns",
    "ELBv2",
    moto="A Network Load Balancer is called `<name>-1.<region>.elb.amazonaws.com` and has an "
    "ARN with `loadbalancer/app/`.",
    aws="`<name>-<hex>.elb.<region>.amazonaws.com`, `loadbalancer/net/`, listeners "
    "`listener/net/`.",
)
def lb_names_and_arns(_rules):
    @around(ELBv2Backend, "create_load_balancer")
    def create(original, backend, *args, tags=None, **kwargs):
        balancer = original(backend, *args, **kwargs)
        if balancer.type == "network":
            del backend.load_balancers[balancer.arn]
            balancer.arn = balancer.arn.replace("loadbalancer/app/", "loadbalancer/net/")
            backend.load_balancers[balancer.arn] = balancer
            number = balancer.arn.rpartition("/")[2]
            balancer.dns_name = f"{balancer.name}-{number}.elb.{backend.region_name}.amazonaws.com"
        backend.tagging_service.tag_resource(balancer.arn, tags)
        return balancer


@correction(
    "lb-scheme",
    "ELBv2",
    moto="Without a scheme in the request there is none in answers.",
    aws="`internet-facing`.",
)
def lb_scheme(_rules):
    @around(FakeLoadBalancer, "__init__")
    def init(original, balancer, *args, **kwargs):
        original(balancer, *args, **kwargs | {"scheme": kwargs.get("scheme") or "internet-facing"})


@correction(
    "lb-same-name",
    "ELBv2",
    moto="A second load balancer of the same name is made.",
    aws="If these are the first one's settings now it is answered, else "
    "`DuplicateLoadBalancerName`.",
)
def lb_same_name(_rules):
    @around(ELBv2Backend, "create_load_balancer")
    def create(original, backend, **kwargs):
        for balancer in backend.load_balancers.values():
            if balancer.name == kwargs["name"]:
                if now(balancer) == asked(kwargs) and addresses(balancer) == addressed(kwargs):
                    return balancer
                raise ELBClientError(
                    "DuplicateLoadBalancerName",
                    f"A load balancer with the same name '{balancer.name}' exists, but with "
                    "different settings",
                )
        return original(backend, **kwargs)

    def asked(kwargs):
        return (
            kwargs.get("scheme") or "internet-facing",
            kwargs.get("loadbalancer_type") or "application",
            kwargs.get("ip_address_type") or "ipv4",
            sorted(subnets_of(kwargs)),
            sorted(filter(None, kwargs.get("security_groups") or [])),
        )

    # Subnets and groups may have been changed since it was made.
    def now(balancer):
        return (
            balancer.scheme,
            balancer.type,
            balancer.ip_address_type or "ipv4",
            sorted(subnet.id for subnet in balancer.subnets),
            sorted(balancer.security_groups or []),
        )

    def addressed(kwargs):
        pairs = ((m["SubnetId"], m) for m in kwargs.get("subnet_mappings") or [])
        return {subnet: fixed for subnet, mapping in pairs if (fixed := only_fixed(mapping))}

    def addresses(balancer):
        found = getattr(balancer, "addresses", {}).items()
        return {subnet: only_fixed(address) for subnet, address in found}

    def only_fixed(address):
        keys = ("AllocationId", "PrivateIPv4Address")
        return {key: address[key] for key in keys if address.get(key)}


@correction(
    "lb-create-checks",
    "ELBv2",
    moto="CreateLoadBalancer takes any name, two subnets of one zone, and a public load "
    "balancer in a VPC without an internet gateway; without subnets it says "
    "`SubnetNotFound`.",
    aws="`ValidationError` for the name and for no subnets, `InvalidConfigurationRequest` "
    "for the zone, `InvalidSubnet` for the gateway.",
)
def lb_create_checks(_rules):
    @around(ELBv2Backend, "create_load_balancer")
    def create(original, backend, **kwargs):
        name, subnets, ec2 = kwargs["name"] or "", subnets_of(kwargs), backend.ec2_backend
        known = {key: subnet for zone in ec2.subnets.values() for key, subnet in zone.items()}
        if not re.fullmatch(r"(?!-)(?!internal-)[A-Za-z0-9-]{1,32}(?<!-)", name):
            raise ELBClientError(
                "ValidationError",
                f"The load balancer name '{name}' cannot be longer "
                "than '32' characters, and has only alphanumeric characters or "
                "hyphens, which are not at its ends",
            )
        if not subnets:
            raise ELBClientError("ValidationError", "At least one subnet must be specified")
        if any(subnet not in known for subnet in subnets):
            raise SubnetNotFoundError()
        found = [known[subnet] for subnet in subnets]
        zones = [subnet.availability_zone for subnet in found]
        if len(set(zones)) < len(zones):
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "A load balancer cannot be attached "
                "to multiple subnets in the same Availability Zone",
            )
        vpc = found[0].vpc_id
        gateways = [g for g in ec2.internet_gateways.values() if g.vpc and g.vpc.id == vpc]
        if kwargs.get("scheme") != "internal" and not gateways:
            raise ELBClientError("InvalidSubnet", f"VPC {vpc} has no internet gateway")
        return original(backend, **kwargs)


@correction(
    "lb-security-groups",
    "ELBv2",
    moto="An NLB takes groups that do not exist, and groups after it was made without any.",
    aws="`InvalidSecurityGroup`; `InvalidConfigurationRequest` for an NLB made without "
    "groups, and when all are to be taken away.",
)
def lb_security_groups(_rules):
    @around(ELBv2Backend, "create_load_balancer")
    def create(original, backend, **kwargs):
        # Sent empty by some clients: `SecurityGroups=`.
        groups = [group for group in kwargs.get("security_groups") or [] if group]
        for group in groups:
            if backend.ec2_backend.get_security_group_from_id(group) is None:
                raise ELBClientError(
                    "InvalidSecurityGroup", f"Security group '{group}' does not exist"
                )
        return original(backend, **kwargs | {"security_groups": groups})

    @around(ELBv2Backend, "set_security_groups")
    def set_groups(original, backend, arn, sec_groups):
        balancer = backend.load_balancers.get(arn)
        groups = [group for group in sec_groups or [] if group]
        if balancer is not None and balancer.type == "network":
            if not balancer.security_groups:
                raise ELBClientError(
                    "InvalidConfigurationRequest",
                    "Security groups cannot be set: the load "
                    f"balancer '{arn}' was created without security groups",
                )
            if not groups:
                raise ELBClientError(
                    "InvalidConfigurationRequest", "All security groups cannot be removed"
                )
        return original(backend, arn, groups)


@correction(
    "lb-state",
    "ELBv2",
    moto="An NLB is `active` as soon as it is described.",
    aws="It is `provisioning` for minutes. Here for the setting `provisioning_s`.",
)
def lb_state(_rules):
    @around(FakeLoadBalancer, "__init__")
    def init(original, balancer, *args, **kwargs):
        original(balancer, *args, **kwargs)
        balancer.made = time.monotonic()

    @around(FakeLoadBalancer, "activate")
    def activate(original, balancer):
        if time.monotonic() >= balancer.made + STATE["provisioning_s"]:
            original(balancer)


@correction(
    "lb-addresses",
    "ELBv2",
    moto="Elastic IPs and private addresses of subnet mappings are taken and never answered.",
    aws="In the zone's `LoadBalancerAddresses`; `AllocationIdNotFound` for an unknown one, "
    "`ResourceInUse` for another's, `InvalidConfigurationRequest` for one that does not go with "
    "the scheme or is not in the subnet.",
)
def lb_addresses(_rules):
    @around(ELBv2Backend, "create_load_balancer")
    def create(original, backend, **kwargs):
        addresses = {}
        for mapping in kwargs.get("subnet_mappings") or []:
            address = {}
            if allocation := mapping.get("AllocationId"):
                known = [a for a in backend.ec2_backend.addresses if a.allocation_id == allocation]
                if not known:
                    raise ELBClientError(
                        "AllocationIdNotFound", f"The allocation IDs '{allocation}' do not exist"
                    )
                check_public(backend, kwargs, allocation)
                address = {"AllocationId": allocation, "IpAddress": known[0].public_ip}
            if private := mapping.get("PrivateIPv4Address"):
                check_private(backend, kwargs, mapping["SubnetId"], private)
                address["PrivateIPv4Address"] = private
            if address:
                addresses[mapping["SubnetId"]] = address
        balancer = original(backend, **kwargs)
        if not hasattr(balancer, "addresses"):
            balancer.addresses = addresses
        return balancer

    def refuse(text):
        raise ELBClientError("InvalidConfigurationRequest", text)

    def check_public(backend, kwargs, allocation):
        if kwargs.get("scheme") == "internal":
            refuse("Elastic IPs are not supported for load balancers with scheme 'internal'")
        for balancer in backend.load_balancers.values():
            used = {a.get("AllocationId") for a in getattr(balancer, "addresses", {}).values()}
            if allocation in used and balancer.name != kwargs["name"]:
                raise ELBClientError(
                    "ResourceInUse", f"The allocation IDs are not available for use: {allocation}"
                )

    def check_private(backend, kwargs, subnet_id, address):
        if kwargs.get("scheme") != "internal":
            refuse("Private IPv4 addresses are supported for scheme 'internal' only")
        subnet = backend.ec2_backend.get_subnet(subnet_id)
        if ipaddress.ip_address(address) not in ipaddress.ip_network(subnet.cidr_block):
            refuse(f"The address {address} is not in the subnet {subnet_id}")

    def zones(balancer):
        found = []
        for subnet in balancer.subnets:
            zone = AvailabilityZone(subnet)
            address = getattr(balancer, "addresses", {}).get(subnet.id)
            zone.load_balancer_addresses = [address] if address else []
            found.append(zone)
        return found

    FakeLoadBalancer.availability_zones = property(zones)


@correction(
    "lb-attributes",
    "ELBv2",
    moto="An NLB lacks `access_logs.s3.enabled` and others; logs can be on without a bucket.",
    aws="All of an NLB's attributes are answered with their defaults; "
    "`InvalidConfigurationRequest` without a bucket.",
)
def lb_attributes(_rules):
    @around(FakeLoadBalancer, "__init__")
    def init(original, balancer, *args, **kwargs):
        original(balancer, *args, **kwargs)
        if balancer.type == "network":
            balancer.attrs = dict(NLB_ATTRIBUTES)

    @around(ELBv2Backend, "modify_load_balancer_attributes")
    def modify(original, backend, arn, attrs):
        balancer = backend.load_balancers.get(arn)
        if balancer is not None:
            after = balancer.attrs | attrs
            if after.get("access_logs.s3.enabled") == "true" and not after.get(
                "access_logs.s3.bucket"
            ):
                raise ELBClientError(
                    "InvalidConfigurationRequest",
                    "The value of 'access_logs.s3.bucket' cannot be empty",
                )
        return original(backend, arn, attrs)


@correction(
    "lb-find",
    "ELBv2",
    moto="Of several names or ARNs one that is there is enough; pages hold 50; "
    "DescribeTargetGroups and DescribeListeners have no pages.",
    aws="`LoadBalancerNotFound` if one is missing; 400 a page, or `PageSize`.",
)
def lb_find(_rules):
    @around(ELBv2Backend, "describe_load_balancers")
    def describe(_original, backend, arns, names):
        balancers = list(backend.load_balancers.values())
        for balancer in balancers:
            balancer.activate()
        if not arns and not names:
            return balancers
        found = [b for b in balancers if b.arn in (arns or []) or b.name in (names or [])]
        if len(found) < len(set(arns or [])) + len(set(names or [])):
            raise LoadBalancerNotFoundError()
        return found

    def paged(method, key, identity):
        @around(ELBV2Response, method)
        def page(original, response):
            answer = original(response)
            items = list(answer.result[key])
            marker = response._get_param("Marker")
            size = response._get_int_param("PageSize", PAGE)
            known = [identity(item) for item in items]
            if marker and marker not in known:
                raise ELBClientError("ValidationError", f"Marker '{marker}' is not valid")
            start = known.index(marker) + 1 if marker else 0
            part = items[start : start + size]
            more = len(items) > start + size
            return ActionResult({key: part, "NextMarker": identity(part[-1]) if more else None})

    @around(ELBV2Response, "describe_load_balancers")
    def all_of_them(_original, response):
        found = response.elbv2_backend.describe_load_balancers(
            response._get_param("LoadBalancerArns", []), response._get_param("Names", [])
        )
        return ActionResult({"LoadBalancers": found})

    paged("describe_load_balancers", "LoadBalancers", lambda balancer: balancer.name)
    paged("describe_target_groups", "TargetGroups", lambda group: group.arn)
    paged("describe_listeners", "Listeners", lambda listener: listener.arn)


@correction(
    "lb-subnets",
    "ELBv2",
    moto="SetSubnets wants two zones of an NLB too.",
    aws="One zone is enough for an NLB.",
)
def lb_subnets(_rules):
    @around(ELBv2Backend, "set_subnets")
    def set_subnets(original, backend, arn, subnets, subnet_mappings):
        balancer = backend.load_balancers.get(arn)
        if balancer is None or balancer.type != "network":
            return original(backend, arn, subnets, subnet_mappings)
        wanted = list(subnets or []) + [mapping["SubnetId"] for mapping in subnet_mappings or []]
        seen, found = {}, []
        for subnet_id in wanted:
            try:
                subnet = backend.ec2_backend.get_subnet(subnet_id)
            except Exception:
                raise SubnetNotFoundError() from None
            if seen.setdefault(subnet.availability_zone, subnet_id) != subnet_id:
                raise ELBClientError(
                    "InvalidConfigurationRequest",
                    "A load balancer cannot be "
                    "attached to multiple subnets in the same Availability Zone",
                )
            found.append(subnet)
        if not found:
            raise ELBClientError("ValidationError", "At least one subnet must be specified")
        balancer.subnets = found
        return balancer.availability_zones


@correction(
    "lb-deletion",
    "ELBv2",
    moto="Deletion protection is ignored, and a deleted load balancer's interfaces are gone at "
    "once.",
    aws="`OperationNotPermitted`; they linger for a while and use its groups (setting "
    "`lingering_s`).",
)
def lb_deletion(_rules):
    @around(ELBv2Backend, "delete_load_balancer")
    def delete(original, backend, arn):
        balancer = backend.load_balancers.get(arn)
        if balancer is not None:
            if balancer.attrs.get("deletion_protection.enabled") == "true":
                raise ELBClientError(
                    "OperationNotPermitted",
                    f"Load balancer '{arn}' cannot be "
                    "deleted because deletion protection is enabled",
                )
            STATE.linger(balancer.security_groups or [])
        return original(backend, arn)


@correction(
    "elbv2-tags",
    "ELBv2",
    moto="More than 10 tags are refused; AddTags takes any number of resources; DescribeTags knows "
    "nothing missing and has no limit.",
    aws="50 tags; AddTags takes one resource, though its parameter is a list; "
    "`LoadBalancerNotFound`, `TargetGroupNotFound`, `ListenerNotFound`; at most 20 resources "
    "a DescribeTags.",
)
def elbv2_tags(rules):
    @around(ELBv2Backend, "add_tags")
    def add_tags(_original, backend, resource_arns, tags):
        fresh = {tag["Key"] for tag in tags}
        for arn in resource_arns:
            backend._get_resource_by_arn(arn)
            known = set(backend.tagging_service.get_tag_dict_for_resource(arn))
            if len(known | fresh) > 50:
                raise ELBClientError(
                    "TooManyTags",
                    "The quota for the number of tags that can be "
                    "assigned to a load balancer has been reached",
                )
        for arn in resource_arns:
            backend.tagging_service.tag_resource(arn, tags)

    @around(ELBv2Backend, "describe_tags")
    def describe_tags(original, backend, resource_arns):
        for arn in resource_arns:
            backend._get_resource_by_arn(arn)
        return original(backend, resource_arns)

    @rules.on_request("elbv2", "DescribeTags")
    def limit(request):
        if len(request.values("ResourceArns")) > 20:
            raise AwsError("ValidationError", "Up to 20 resources can be specified")

    @rules.on_request("elbv2", "AddTags", "RemoveTags")
    def one_resource(request):
        if len(request.values("ResourceArns")) > 1:
            raise AwsError("ValidationError", "Only one resource can be tagged at a time")
