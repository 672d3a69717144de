"""Classic Load Balancers."""

import itertools
import re
import zlib

from moto.core.responses import ActionResult
from moto.ec2 import ec2_backends
from moto.ec2.responses.instances import InstanceResponse
from moto.elb.exceptions import ELBClientError, LoadBalancerNotFoundError
from moto.elb.models import ELBBackend, FakeBackend, FakeHealthCheck, FakeListener, LoadBalancer
from moto.elb.policies import OtherPolicy
from moto.elb.responses import ELBResponse

from ..answers import AwsError
from ..state import STATE
from . import around, correction

PAGE = 400


@correction("classic-missing", "Classic ELB",
            moto="Calls for a load balancer that does not exist are 500.",
            aws="`LoadBalancerNotFound`; deleting it succeeds.")
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


@correction("classic-names", "Classic ELB",
            moto="The DNS name is always `<name>.us-east-1.elb.amazonaws.com`; any name is taken.",
            aws="`<name>-<number>.<region>.elb.amazonaws.com`, with `internal-` before it for an "
                "internal one; `ValidationError` beyond 32 characters.")
def classic_names(_rules):
    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        name = kwargs["name"] or ""
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)", name):
            raise ELBClientError("ValidationError", f"LoadBalancer name '{name}' is not valid: at most "
                                 "32 alphanumeric characters or hyphens, which are not at its ends")
        balancer = original(backend, **kwargs)
        number = zlib.crc32(f"{backend.region_name}/{name}".encode())
        balancer.dns_name = f"{name}-{number}.{backend.region_name}.elb.amazonaws.com"
        if balancer.scheme == "internal":
            balancer.dns_name = "internal-" + balancer.dns_name
        return balancer


@correction("classic-instance-protocol", "Classic ELB",
            moto="A listener's instance protocol is answered as its protocol.",
            aws="It is what was asked for; by default that of the listener's layer.")
def classic_instance_protocol(rules):
    FakeListener.instance_protocol = property(
        lambda listener: getattr(listener, "asked_for", listener.protocol))

    def note(balancer, ports):
        for port in ports:
            protocol = port["Protocol"].upper()
            for listener in balancer.listeners:
                if int(listener.load_balancer_port) == int(port["LoadBalancerPort"]):
                    layer = {"HTTPS": "HTTP", "SSL": "TCP"}.get(protocol, protocol)
                    listener.asked_for = (port.get("InstanceProtocol") or layer).upper()

    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        for port in kwargs["ports"]:
            layers(port)
        balancer = original(backend, **kwargs)
        note(balancer, kwargs["ports"])
        return balancer

    @around(ELBBackend, "create_load_balancer_listeners")
    def add(original, backend, name, ports):
        for port in ports:
            layers(port)
        balancer = original(backend, name, ports)
        note(balancer, ports)
        return balancer

    def layers(port):
        protocol = port["Protocol"].upper()
        instance = (port.get("InstanceProtocol") or protocol).upper()
        application = ("HTTP", "HTTPS")
        if (protocol in application) != (instance in application):
            raise ELBClientError("InvalidConfigurationRequest", f"Instance protocol {instance} does not "
                                 f"go with load balancer protocol {protocol}")


@correction("classic-listener-checks", "Classic ELB",
            moto="A secure listener without a certificate is taken, a missing certificate has the code "
                 "`CertificateNotFoundException`, and when one of several new listeners is refused "
                 "those before it stay.",
            aws="`ValidationError`, `CertificateNotFound`; all or none.")
def classic_listener_checks(_rules):
    def check(ports):
        for port in ports:
            if port["Protocol"].upper() in ("SSL", "HTTPS") and not port.get("SSLCertificateId"):
                raise ELBClientError("ValidationError",
                                     "Secure Listeners need to specify a SSLCertificateId")

    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        check(kwargs["ports"])
        with_code(lambda: None)
        return with_code(lambda: original(backend, **kwargs))

    @around(ELBBackend, "create_load_balancer_listeners")
    def add(original, backend, name, ports):
        check(ports)
        balancer = backend.load_balancers.get(name)
        before = list(balancer.listeners) if balancer else []
        try:
            return with_code(lambda: original(backend, name, ports))
        except ELBClientError:
            if balancer:
                balancer.listeners = before
            raise

    def with_code(call):
        try:
            return call()
        except ELBClientError as error:
            if error.code == "CertificateNotFoundException":
                raise ELBClientError("CertificateNotFound", error.message) from None
            raise


@correction("classic-listener-deletion", "Classic ELB",
            moto="DeleteLoadBalancerListeners with several ports deletes none.",
            aws="It deletes all of them.")
def classic_listener_deletion(_rules):
    @around(ELBBackend, "delete_load_balancer_listeners")
    def delete(_original, backend, name, ports):
        balancer = backend.get_load_balancer(name)
        gone = {int(port) for port in ports}
        balancer.listeners = [listener for listener in balancer.listeners
                              if int(listener.load_balancer_port) not in gone]
        return balancer


@correction("classic-backends", "Classic ELB",
            moto="A listener made later has no backend, so policies for its instance port are dropped "
                 "without a word; policies that do not exist are taken.",
            aws="They are set; `PolicyNotFound`, and `InvalidConfigurationRequest` for a port of no "
                "listener, `ListenerNotFound` for one that is no listener's.")
def classic_backends(_rules):
    def checked(backend, name, policies):
        balancer = backend.get_load_balancer(name)
        known = {policy.policy_name for policy in balancer.policies}
        for policy in policies:
            if policy not in known and not policy.startswith("ELBSecurityPolicy-"):
                raise ELBClientError("PolicyNotFound", f"There is no policy with name {policy} for load "
                                     f"balancer {name}")
        return balancer

    @around(ELBResponse, "set_load_balancer_policies_for_backend_server")
    def of_backend(_original, response):
        name, policies = response._get_param("LoadBalancerName"), response._get_param("PolicyNames", [])
        balancer = checked(response.elb_backend, name, policies)
        port = response._get_int_param("InstancePort")
        known = {int(backend.instance_port): backend for backend in balancer.backends}
        if port not in {int(listener.instance_port) for listener in balancer.listeners}:
            raise ELBClientError("InvalidConfigurationRequest", f"Backend server port {port} is not used "
                                 f"by a listener of load balancer {name}")
        if port not in known:
            known[port] = FakeBackend(instance_port=str(port))
            balancer.backends.append(known[port])
        known[port].policy_names = list(policies)
        return ActionResult({})

    @around(ELBResponse, "set_load_balancer_policies_of_listener")
    def of_listener(original, response):
        name, policies = response._get_param("LoadBalancerName"), response._get_param("PolicyNames", [])
        balancer = checked(response.elb_backend, name, policies)
        port = response._get_int_param("LoadBalancerPort")
        if port not in {int(listener.load_balancer_port) for listener in balancer.listeners}:
            raise ELBClientError("ListenerNotFound", f"There is no listener on port {port} of load "
                                 f"balancer {name}")
        return original(response)


@correction("classic-policies", "Classic ELB",
            moto="Creating a policy again with other attributes is ignored; one in use can be deleted.",
            aws="`DuplicatePolicyName`, but not for the same attributes; `InvalidConfigurationRequest`.")
def classic_policies(_rules):
    def attributes(pairs):
        return sorted((pair.get("AttributeName"), pair.get("AttributeValue")) for pair in pairs or [])

    @around(ELBBackend, "create_load_balancer_policy")
    def create(_original, backend, name, policy_name, policy_type_name, policy_attrs):
        balancer = backend.get_load_balancer(name)
        asked = (policy_type_name, attributes(policy_attrs))
        for policy in balancer.policies:
            if policy.policy_name == policy_name:
                if getattr(policy, "asked_for", None) == asked:
                    return balancer
                raise ELBClientError("DuplicatePolicyName",
                                     f"Policy with name {policy_name} already exists")
        policy = OtherPolicy(policy_name, policy_type_name, policy_attrs)
        policy.asked_for = asked
        balancer.policies.append(policy)
        return balancer

    @around(ELBBackend, "delete_load_balancer_policy")
    def delete(original, backend, lb_name, policy_name):
        balancer = backend.get_load_balancer(lb_name)
        users = [*balancer.listeners, *balancer.backends]
        if any(policy_name in user.policy_names for user in users):
            raise ELBClientError("InvalidConfigurationRequest", f"The policy {policy_name} is in use")
        return original(backend, lb_name=lb_name, policy_name=policy_name)


@correction("classic-health-check", "Classic ELB",
            moto="There is no health check until one is configured; ranges are not checked.",
            aws="`TCP:<first instance port>`, interval 30, timeout 5, thresholds 10 and 2; interval 5 to "
                "300, timeout 2 to 60 and less than the interval, thresholds 2 to 10.")
def classic_health_check(_rules):
    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        balancer = original(backend, **kwargs)
        port = balancer.listeners[0].instance_port
        balancer.health_check = FakeHealthCheck(5, 10, 2, 30, f"TCP:{port}")
        return balancer

    @around(ELBBackend, "configure_health_check")
    def configure(original, backend, load_balancer_name, timeout, healthy_threshold,
                  unhealthy_threshold, interval, target):
        backend.get_load_balancer(load_balancer_name)
        ranges = (("Interval", interval, 5, 300), ("Timeout", timeout, 2, 60),
                  ("HealthyThreshold", healthy_threshold, 2, 10),
                  ("UnhealthyThreshold", unhealthy_threshold, 2, 10))
        for name, value, least, most in ranges:
            if not least <= int(value) <= most:
                raise ELBClientError("ValidationError", f"HealthCheck {name} must be between {least} and "
                                     f"{most}")
        if int(timeout) >= int(interval):
            raise ELBClientError("ValidationError", "HealthCheck timeout must be less than interval")
        layer, _, rest = target.partition(":")
        if layer.upper() in ("HTTP", "HTTPS") and "/" not in rest:
            raise ELBClientError("ValidationError", "HealthCheck HTTP Target must specify a port followed "
                                 "by a path that begins with '/'. e.g. HTTP:80/ping/this/path")
        return original(backend, load_balancer_name, timeout, healthy_threshold, unhealthy_threshold,
                        interval, target)


@correction("classic-attributes", "Classic ELB",
            moto="Each ModifyLoadBalancerAttributes appends the same additional attribute; there is no "
                 "draining timeout until it was on; logs can be on without a bucket.",
            aws="It is there once from the start; 300 s; `InvalidConfigurationRequest`.")
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
    def modify(_original, backend, load_balancer_name, cross_zone=None, connection_settings=None,
               connection_draining=None, access_log=None, additional_attributes=None):
        attributes = backend.get_load_balancer(load_balancer_name).attributes
        if access_log:
            if flag(access_log.get("Enabled")) and not access_log.get("S3BucketName"):
                raise ELBClientError("InvalidConfigurationRequest",
                                     "The access log needs the name of an S3 bucket")
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
                "Timeout": connection_draining.get("Timeout") or kept}
        if additional_attributes:
            known = dict(attributes["additional_attributes"])
            known |= {pair["Key"]: pair["Value"] for pair in additional_attributes}
            attributes["additional_attributes"] = list(known.items())


@correction("classic-registration", "Classic ELB",
            moto="Register and deregister answer nothing useful; instances that do not exist are taken, "
                 "and those registered twice are twice; terminated ones stay.",
            aws="The instances that are now registered; `InvalidInstance`; once; they leave.")
def classic_registration(_rules):
    def machines(response):
        return {machine.id: machine for machine in ec2_backends[response.current_account][
            response.region].all_instances() if machine.state != "terminated"}

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
                raise ELBClientError("InvalidInstance",
                                     f"Could not find EC2 instance {name}.")
        balancer.instance_sparse_ids = list(
            dict.fromkeys(balancer.instance_sparse_ids + ids(response)))
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
        for balancer in elb_backends[response.current_account][response.region].load_balancers.values():
            balancer.instance_sparse_ids = [n for n in balancer.instance_sparse_ids if n not in gone]
        return result


@correction("classic-subnets", "Classic ELB",
            moto="`AvailabilityZones` is empty; two subnets of a zone, and none at all, are taken.",
            aws="The subnets' zones; `InvalidConfigurationRequest`; `SubnetNotFound` for an unknown one.")
def classic_subnets(_rules):
    def known(backend):
        subnets = ec2_backends[backend.account_id][backend.region_name].subnets.values()
        return dict(itertools.chain.from_iterable(zone.items() for zone in subnets))

    def zones(backend, subnets):
        there = known(backend)
        for subnet in subnets:
            if subnet not in there:
                raise ELBClientError("SubnetNotFound",
                                     f"The requested configuration is not valid: subnet {subnet}")
        found = [there[subnet].availability_zone for subnet in subnets]
        if len(set(found)) < len(found):
            raise ELBClientError("InvalidConfigurationRequest", "ELB cannot be attached to multiple "
                                 "subnets in the same AZ.")
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
            raise ELBClientError("InvalidConfigurationRequest",
                                 "Detaching all subnets of a load balancer is not possible")
        balancer.availability_zones, balancer.subnets = zones(backend, after), after
        return after


@correction("classic-deletion", "Classic ELB",
            moto="A deleted load balancer's interfaces are gone at once; pages hold 50.",
            aws="They linger for a while and use its groups (setting `lingering_s`); pages hold 400.")
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
            name, PAGE if name == "PageSize" else default)
        return original(response)
