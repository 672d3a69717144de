"""Classic Load Balancers."""

import itertools
import re
import zlib

from moto.core.responses import ActionResult
from moto.ec2 import ec2_backends
from moto.ec2.responses.instances import InstanceResponse
from moto.elb.exceptions import ELBClientError, LoadBalancerNotFoundError
from moto.elb.models import ELBBackend, FakeHealthCheck, LoadBalancer
from moto.elb.responses import ELBResponse

from ..answers import AwsError
from ..state import STATE
from . import around, correction

PAGE = 400


@correction(
    "classic-missing",
    "Classic ELB",
    moto="Calls for a load balancer that does not exist are 500.",
    aws="`LoadBalancerNotFound`; deleting it succeeds.",
)
def classic_missing(rules):
    @around(ELBBackend, "get_load_balancer")
    def get(original, backend, load_balancer_name):
        balancer = original(backend, load_balancer_name)
        if balancer is None:
            raise LoadBalancerNotFoundError(load_balancer_name)
        return balancer

    @around(ELBBackend, "create_load_balancer_listeners")
    def listeners(original, backend, name, ports):
        backend.get_load_balancer(name)
        return original(backend, name, ports)


@correction(
    "classic-names",
    "Classic ELB",
    moto="The DNS name is always `<name>.us-east-1.elb.amazonaws.com`; any name is taken.",
    aws="`<name>-<number>.<region>.elb.amazonaws.com`, with `internal-` before it for an "
    "internal one; `ValidationError` beyond 32 characters.",
)
def classic_names(_rules):
    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        name = kwargs["name"] or ""
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)", name):
            raise ELBClientError(
                "ValidationError",
                f"LoadBalancer name '{name}' is not valid: at most "
                "32 alphanumeric characters or hyphens, which are not at its ends",
            )
        balancer = original(backend, **kwargs)
        number = zlib.crc32(f"{backend.region_name}/{name}".encode())
        balancer.dns_name = f"{name}-{number}.{backend.region_name}.elb.amazonaws.com"
        if balancer.scheme == "internal":
            balancer.dns_name = "internal-" + balancer.dns_name
        return balancer


@correction(
    "classic-default-group",
    "Classic ELB",
    moto="Without security groups a new one is made.",
    aws="The VPC's default group is used.",
)
def classic_default_group(_rules):
    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        ec2, subnets = ec2_backends[backend.account_id][backend.region_name], kwargs.get("subnets")
        if subnets and not any(kwargs.get("security_groups") or []):
            vpc = ec2.get_subnet(subnets[0]).vpc_id
            kwargs["security_groups"] = [ec2.get_default_security_group(vpc).id]
        return original(backend, **kwargs)


@correction(
    "classic-health-check",
    "Classic ELB",
    moto="There is no health check until one is configured; ranges are not checked.",
    aws="`TCP:<first instance port>`, interval 30, timeout 5, thresholds 10 and 2; interval 5 to "
    "300, timeout 2 to 60 and less than the interval, thresholds 2 to 10.",
)
def classic_health_check(_rules):
    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        balancer = original(backend, **kwargs)
        port = balancer.listeners[0].instance_port
        balancer.health_check = FakeHealthCheck(5, 10, 2, 30, f"TCP:{port}")
        return balancer

    @around(ELBBackend, "configure_health_check")
    def configure(
        original,
        backend,
        load_balancer_name,
        timeout,
        healthy_threshold,
        unhealthy_threshold,
        interval,
        target,
    ):
        backend.get_load_balancer(load_balancer_name)
        ranges = (
            ("Interval", interval, 5, 300),
            ("Timeout", timeout, 2, 60),
            ("HealthyThreshold", healthy_threshold, 2, 10),
            ("UnhealthyThreshold", unhealthy_threshold, 2, 10),
        )
        for name, value, least, most in ranges:
            if not least <= int(value) <= most:
                raise ELBClientError(
                    "ValidationError", f"HealthCheck {name} must be between {least} and {most}"
                )
        if int(timeout) >= int(interval):
            raise ELBClientError(
                "ValidationError", "HealthCheck timeout must be less than interval"
            )
        layer, _, rest = target.partition(":")
        if layer.upper() in ("HTTP", "HTTPS") and "/" not in rest:
            raise ELBClientError(
                "ValidationError",
                "HealthCheck HTTP Target must specify a port followed "
                "by a path that begins with '/'. e.g. HTTP:80/ping/this/path",
            )
        return original(
            backend,
            load_balancer_name,
            timeout,
            healthy_threshold,
            unhealthy_threshold,
            interval,
            target,
        )


@correction(
    "classic-attributes",
    "Classic ELB",
    moto="Each ModifyLoadBalancerAttributes appends the same additional attribute; there is no "
    "draining timeout until it was on; logs can be on without a bucket.",
    aws="It is there once from the start; 300 s; `InvalidConfigurationRequest`.",
)
def classic_attributes(_rules):
    standard = ("elb.http.desyncmitigationmode", "defensive")

    @around(LoadBalancer, "__init__")
    def init(original, balancer, *args, **kwargs):
        original(balancer, *args, **kwargs)
        balancer.attributes["additional_attributes"] = [standard]
        balancer.attributes["connection_draining"] = {"enabled": False, "timeout": 300}

    def flag(value):
        return str(value).lower() == "true"

    @around(ELBBackend, "modify_load_balancer_attributes")
    def modify(
        _original,
        backend,
        load_balancer_name,
        cross_zone=None,
        connection_settings=None,
        connection_draining=None,
        access_log=None,
        additional_attributes=None,
    ):
        attributes = backend.get_load_balancer(load_balancer_name).attributes
        if access_log:
            if flag(access_log.get("Enabled")) and not access_log.get("S3BucketName"):
                raise ELBClientError(
                    "InvalidConfigurationRequest", "The access log needs the name of an S3 bucket"
                )
            attributes["access_log"] = access_log
        if cross_zone:
            attributes["cross_zone_load_balancing"] = cross_zone
        if connection_settings:
            attributes["connection_settings"] = connection_settings
        if connection_draining:
            # What is not sent stays.
            before = attributes["connection_draining"]
            kept = before.get("Timeout", before.get("timeout", 300))
            attributes["connection_draining"] = {
                "Enabled": flag(connection_draining.get("Enabled")),
                "Timeout": connection_draining.get("Timeout") or kept,
            }
        if additional_attributes:
            known = dict(attributes["additional_attributes"])
            known |= {pair["Key"]: pair["Value"] for pair in additional_attributes}
            attributes["additional_attributes"] = list(known.items())


@correction(
    "classic-registration",
    "Classic ELB",
    moto="Register and deregister answer nothing useful; instances that do not exist are taken, "
    "and those registered twice are twice; terminated ones stay.",
    aws="The instances that are now registered; `InvalidInstance`; once; they leave.",
)
def classic_registration(_rules):
    def machines(response):
        return {
            machine.id: machine
            for machine in ec2_backends[response.current_account][response.region].all_instances()
            if machine.state != "terminated"
        }

    def ids(response):
        return [instance["InstanceId"] for instance in response._get_param("Instances", [])]

    def answer(balancer):
        return ActionResult({"Instances": balancer.instances})

    @around(ELBResponse, "register_instances_with_load_balancer")
    def register(_original, response):
        balancer = response.elb_backend.get_load_balancer(response._get_param("LoadBalancerName"))
        known = machines(response)
        for name in ids(response):
            if name not in known:
                raise ELBClientError("InvalidInstance", f"Could not find EC2 instance {name}.")
        balancer.instance_sparse_ids = list(
            dict.fromkeys(balancer.instance_sparse_ids + ids(response))
        )
        return answer(balancer)

    @around(ELBResponse, "deregister_instances_from_load_balancer")
    def deregister(_original, response):
        balancer = response.elb_backend.get_load_balancer(response._get_param("LoadBalancerName"))
        gone = set(ids(response))
        # One that was registered and is terminated has left by itself: no error.
        balancer.instance_sparse_ids = [n for n in balancer.instance_sparse_ids if n not in gone]
        return answer(balancer)

    @around(InstanceResponse, "terminate_instances")
    def terminate(original, response):
        from moto.elb import elb_backends

        result = original(response)
        gone = set(response._get_param("InstanceIds", []))
        for balancer in elb_backends[response.current_account][
            response.region
        ].load_balancers.values():
            balancer.instance_sparse_ids = [
                n for n in balancer.instance_sparse_ids if n not in gone
            ]
        return result


@correction(
    "classic-subnets",
    "Classic ELB",
    moto="`AvailabilityZones` is empty; two subnets of a zone, and none at all, are taken.",
    aws="The subnets' zones; `InvalidConfigurationRequest`; `SubnetNotFound` for an unknown one.",
)
def classic_subnets(_rules):
    def known(backend):
        subnets = ec2_backends[backend.account_id][backend.region_name].subnets.values()
        return dict(itertools.chain.from_iterable(zone.items() for zone in subnets))

    def zones(backend, subnets):
        there = known(backend)
        for subnet in subnets:
            if subnet not in there:
                raise ELBClientError(
                    "SubnetNotFound", f"The requested configuration is not valid: subnet {subnet}"
                )
        found = [there[subnet].availability_zone for subnet in subnets]
        if len(set(found)) < len(found):
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "ELB cannot be attached to multiple subnets in the same AZ.",
            )
        return sorted(found)

    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        found = zones(backend, kwargs.get("subnets") or [])
        balancer = original(backend, **kwargs)
        balancer.availability_zones = found or balancer.availability_zones
        return balancer

    @around(ELBBackend, "attach_load_balancer_to_subnets")
    def attach(_original, backend, load_balancer_name, subnets):
        balancer = backend.get_load_balancer(load_balancer_name)
        after = list(dict.fromkeys(balancer.subnets + subnets))
        balancer.availability_zones, balancer.subnets = zones(backend, after), after
        return after

    @around(ELBBackend, "detach_load_balancer_from_subnets")
    def detach(_original, backend, load_balancer_name, subnets):
        balancer = backend.get_load_balancer(load_balancer_name)
        after = [subnet for subnet in balancer.subnets if subnet not in subnets]
        if not after:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "Detaching all subnets of a load balancer is not possible",
            )
        balancer.availability_zones, balancer.subnets = zones(backend, after), after
        return after


@correction(
    "classic-deletion",
    "Classic ELB",
    moto="A deleted load balancer's interfaces are gone at once; pages hold 50.",
    aws="They linger for a while and use its groups (setting `lingering_s`); pages hold 400.",
)
def classic_deletion(rules):
    @around(ELBBackend, "delete_load_balancer")
    def delete(original, backend, load_balancer_name):
        balancer = backend.load_balancers.get(load_balancer_name)
        if balancer is not None:
            STATE.linger(balancer.security_groups)
        return original(backend, load_balancer_name)

    @rules.on_request("elb", "DescribeLoadBalancers")
    def check(request):
        if not 1 <= int(request.get("PageSize", str(PAGE))) <= PAGE:
            raise AwsError("ValidationError", f"PageSize must be between 1 and {PAGE}")

    @around(ELBResponse, "describe_load_balancers")
    def describe(original, response):
        original_get = response._get_int_param
        response._get_int_param = lambda name, default=None: original_get(
            name, PAGE if name == "PageSize" else default
        )
        return original(response)
