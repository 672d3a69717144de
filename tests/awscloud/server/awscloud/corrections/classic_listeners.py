"""Listeners and policies of Classic Load Balancers."""

from moto.acm.models import acm_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.elb.exceptions import ELBClientError
from moto.elb.models import ELBBackend, FakeBackend, FakeListener, elb_backends
from moto.elb.policies import OtherPolicy
from moto.elb.responses import ELBResponse

from ..answers import AwsError, answered
from . import around, correction

SECURE = ("SSL", "HTTPS")
POLICY_TYPE = "SSLNegotiationPolicyType"
REFERENCE = "Reference-Security-Policy"
DEFAULT_POLICY = "ELBSecurityPolicy-2016-08"
# https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-security-policy-table.html
KNOWN_POLICIES = (
    DEFAULT_POLICY,
    "ELBSecurityPolicy-TLS-1-2-2017-01",
    "ELBSecurityPolicy-TLS-1-1-2017-01",
    "ELBSecurityPolicy-2015-05",
    "ELBSecurityPolicy-2015-03",
    "ELBSecurityPolicy-2015-02",
    "ELBSecurityPolicy-2014-10",
    "ELBSecurityPolicy-2014-01",
    "ELBSecurityPolicy-2011-08",
)


@correction(
    "classic-instance-protocol",
    "Classic ELB",
    moto="A listener's instance protocol is answered as its protocol.",
    aws="It is what was asked for; by default that of the listener's layer.",
)
def classic_instance_protocol(rules):
    FakeListener.instance_protocol = property(
        lambda listener: getattr(listener, "asked_for", listener.protocol)
    )

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
            raise ELBClientError(
                "InvalidConfigurationRequest",
                f"Instance protocol {instance} does not go with load balancer protocol {protocol}",
            )


@correction(
    "classic-listener-certificate",
    "Classic ELB",
    moto="SetLoadBalancerListenerSSLCertificate is not implemented.",
    aws="The listener has the certificate; `ListenerNotFound`, `InvalidConfigurationRequest` for one "
    "without TLS, `CertificateNotFound`.",
)
def classic_listener_certificate(rules):
    @rules.on_request("elb", "SetLoadBalancerListenerSSLCertificate")
    def set_certificate(request):
        backend = elb_backends[DEFAULT_ACCOUNT_ID][request.region]
        balancer = backend.load_balancers.get(request.get("LoadBalancerName"))
        if balancer is None:
            raise AwsError("LoadBalancerNotFound", "There is no ACTIVE Load Balancer of that name")
        port = int(request.get("LoadBalancerPort"))
        of_port = [it for it in balancer.listeners if int(it.load_balancer_port) == port]
        if not of_port:
            raise AwsError("ListenerNotFound", f"There is no listener on port {port}")
        if of_port[0].protocol not in SECURE:
            raise AwsError(
                "InvalidConfigurationRequest", f"The listener on port {port} has no certificate"
            )
        certificate = request.get("SSLCertificateId")
        known = acm_backends[DEFAULT_ACCOUNT_ID][request.region]._certificates
        if certificate not in known and ":iam:" not in certificate:
            raise AwsError("CertificateNotFound", "Server Certificate not found for the key")
        of_port[0].ssl_certificate_id = certificate
        return answered(request)


@correction(
    "classic-listener-checks",
    "Classic ELB",
    moto="A secure listener without a certificate is taken, a missing certificate has the code "
    "`CertificateNotFoundException`, and when one of several new listeners is refused "
    "those before it stay.",
    aws="`ValidationError`, `CertificateNotFound`; all or none.",
)
def classic_listener_checks(_rules):
    def check(ports):
        for port in ports:
            if port["Protocol"].upper() in SECURE and not port.get("SSLCertificateId"):
                raise ELBClientError(
                    "ValidationError", "Secure Listeners need to specify a SSLCertificateId"
                )

    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        check(kwargs["ports"])
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


@correction(
    "classic-default-policy",
    "Classic ELB",
    moto="A secure listener is made without a policy.",
    aws="With `ELBSecurityPolicy-2016-08`, which its load balancer then has, too.",
)
def classic_default_policy(_rules):
    def choose(balancer):
        for listener in balancer.listeners:
            if listener.protocol in SECURE and not hasattr(listener, "was_chosen_for"):
                listener.was_chosen_for = True
                listener.policy_names = [DEFAULT_POLICY]
                if DEFAULT_POLICY not in {policy.policy_name for policy in balancer.policies}:
                    reference = {"AttributeName": REFERENCE, "AttributeValue": DEFAULT_POLICY}
                    policy = OtherPolicy(DEFAULT_POLICY, POLICY_TYPE, [reference])
                    balancer.policies.append(policy)
        return balancer

    @around(ELBBackend, "create_load_balancer")
    def create(original, backend, **kwargs):
        return choose(original(backend, **kwargs))

    @around(ELBBackend, "create_load_balancer_listeners")
    def add(original, backend, name, ports):
        return choose(original(backend, name, ports))


@correction(
    "classic-listener-deletion",
    "Classic ELB",
    moto="DeleteLoadBalancerListeners with several ports deletes none.",
    aws="It deletes all of them.",
)
def classic_listener_deletion(_rules):
    @around(ELBBackend, "delete_load_balancer_listeners")
    def delete(_original, backend, name, ports):
        balancer = backend.get_load_balancer(name)
        gone = {int(port) for port in ports}
        balancer.listeners = [
            listener
            for listener in balancer.listeners
            if int(listener.load_balancer_port) not in gone
        ]
        return balancer


@correction(
    "classic-backends",
    "Classic ELB",
    moto="A listener made later has no backend, so policies for its instance port are dropped "
    "without a word; policies that do not exist are taken.",
    aws="They are set; `PolicyNotFound`, and `InvalidConfigurationRequest` for a port of no "
    "listener and for a TLS policy of a listener without TLS, `ListenerNotFound` for one that is no "
    "listener's.",
)
def classic_backends(_rules):
    def checked(backend, name, policies):
        balancer = backend.get_load_balancer(name)
        known = {policy.policy_name for policy in balancer.policies}
        for policy in policies:
            if policy not in known:
                raise ELBClientError(
                    "PolicyNotFound",
                    f"There is no policy with name {policy} for load balancer {name}",
                )
        return balancer

    @around(ELBResponse, "set_load_balancer_policies_for_backend_server")
    def of_backend(_original, response):
        name, policies = (
            response._get_param("LoadBalancerName"),
            response._get_param("PolicyNames", []),
        )
        balancer = checked(response.elb_backend, name, policies)
        port = response._get_int_param("InstancePort")
        known = {int(backend.instance_port): backend for backend in balancer.backends}
        if port not in {int(listener.instance_port) for listener in balancer.listeners}:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                f"Backend server port {port} is not used by a listener of load balancer {name}",
            )
        if port not in known:
            known[port] = FakeBackend(instance_port=str(port))
            balancer.backends.append(known[port])
        known[port].policy_names = list(policies)
        return ActionResult({})

    @around(ELBResponse, "set_load_balancer_policies_of_listener")
    def of_listener(original, response):
        name, policies = (
            response._get_param("LoadBalancerName"),
            response._get_param("PolicyNames", []),
        )
        balancer = checked(response.elb_backend, name, policies)
        port = response._get_int_param("LoadBalancerPort")
        listeners = {int(it.load_balancer_port): it for it in balancer.listeners}
        if port not in listeners:
            raise ELBClientError(
                "ListenerNotFound", f"There is no listener on port {port} of load balancer {name}"
            )
        types = {policy.policy_name: policy.policy_type_name for policy in balancer.policies}
        is_tls = any(types[policy] == POLICY_TYPE for policy in policies)
        if is_tls and listeners[port].protocol not in SECURE:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                f"A policy of type {POLICY_TYPE} goes with SSL and HTTPS listeners only",
            )
        return original(response)


@correction(
    "classic-policies",
    "Classic ELB",
    moto="Creating a policy again with other attributes is ignored; one in use can be deleted; a "
    "TLS policy may refer to one that AWS does not have.",
    aws="`DuplicatePolicyName`, but not for the same attributes; `InvalidConfigurationRequest` for "
    "the others.",
)
def classic_policies(_rules):
    def attributes(pairs):
        return sorted(
            (pair.get("AttributeName"), pair.get("AttributeValue")) for pair in pairs or []
        )

    @around(ELBBackend, "create_load_balancer_policy")
    def create(_original, backend, name, policy_name, policy_type_name, policy_attrs):
        balancer = backend.get_load_balancer(name)
        asked = (policy_type_name, attributes(policy_attrs))
        for key, value in asked[1]:
            if key == REFERENCE and value not in KNOWN_POLICIES:
                raise ELBClientError(
                    "InvalidConfigurationRequest", f"There is no security policy named {value}"
                )
        for policy in balancer.policies:
            if policy.policy_name == policy_name:
                if getattr(policy, "asked_for", None) == asked:
                    return balancer
                raise ELBClientError(
                    "DuplicatePolicyName", f"Policy with name {policy_name} already exists"
                )
        policy = OtherPolicy(policy_name, policy_type_name, policy_attrs)
        policy.asked_for = asked
        balancer.policies.append(policy)
        return balancer

    @around(ELBBackend, "delete_load_balancer_policy")
    def delete(original, backend, lb_name, policy_name):
        balancer = backend.get_load_balancer(lb_name)
        users = [*balancer.listeners, *balancer.backends]
        if any(policy_name in user.policy_names for user in users):
            raise ELBClientError(
                "InvalidConfigurationRequest", f"The policy {policy_name} is in use"
            )
        return original(backend, lb_name=lb_name, policy_name=policy_name)
