"""Listeners of Network Load Balancers."""

from moto.elbv2.exceptions import ELBClientError, ListenerNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeAction, FakeListener
from moto.elbv2.responses import ELBV2Response
from moto.elbv2.ssl_policies import SSL_POLICIES

from ..answers import AwsError
from . import around, correction

DEFAULT_POLICY = "ELBSecurityPolicy-2016-08"
SECURE = ("TLS", "HTTPS")
NOT_SECURE = "Certificates and security policies go with TLS and HTTPS listeners only"
# https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html
SERVES = {
    "TCP": ("TCP", "TCP_UDP"),
    "TLS": ("TLS", "TCP"),
    "UDP": ("UDP", "TCP_UDP"),
    "TCP_UDP": ("TCP_UDP",),
}


def found(backend, arn):
    """The listener and its load balancer."""
    for balancer in backend.load_balancers.values():
        if arn in balancer.listeners:
            return balancer, balancer.listeners[arn]
    raise ListenerNotFoundError()


def check(backend, balancer, listener, port, protocol, certificates, policy, actions):
    """What AWS checks of a listener as it is to be. `listener`: the one that is changed."""
    others = [other for other in balancer.listeners.values() if other is not listener]
    if any(int(other.port) == int(port) for other in others):
        raise ELBClientError(
            "DuplicateListener",
            f"A listener already exists on this port for this load balancer '{balancer.arn}'",
        )
    if protocol in SECURE:
        if not certificates:
            raise ELBClientError(
                "ValidationError", f"A certificate must be specified for {protocol} listeners"
            )
        for certificate in certificates:
            if not backend._certificate_exists(certificate_arn=certificate):
                raise ELBClientError(
                    "CertificateNotFound", f"Certificate '{certificate}' not found"
                )
        if policy and policy not in SSL_POLICIES:
            raise ELBClientError("SSLPolicyNotFound", f"SSL policy '{policy}' not found")
    elif certificates or policy:
        raise ELBClientError("ValidationError", NOT_SECURE)
    for action in actions:
        for arn in backend._get_target_group_arns_from(action_data=action.data):
            group = backend.target_groups.get(arn)
            if group is None:
                raise ELBClientError("TargetGroupNotFound", f"Target groups '{arn}' not found")
            if protocol in SERVES and group.protocol not in SERVES[protocol]:
                raise ELBClientError(
                    "InvalidConfigurationRequest",
                    f"Listener protocol '{protocol}' is not supported "
                    f"with a target group with protocol '{group.protocol}'",
                )
            if set(group.load_balancer_arns) - {balancer.arn}:
                raise ELBClientError(
                    "TargetGroupAssociationLimit",
                    "The following target groups cannot be associated "
                    f"with more than one load balancer: {arn}",
                )


@correction(
    "listener-checks",
    "ELBv2",
    moto="A second listener on a port, a listener and a target group whose protocols do not go "
    "together, TLS without a certificate or with an unknown policy, others with one, and a target "
    "group of two load balancers are taken.",
    aws="`DuplicateListener`, `InvalidConfigurationRequest`, `ValidationError`, "
    "`SSLPolicyNotFound`, `TargetGroupAssociationLimit`.",
)
def listener_checks(rules):
    # moto has a policy of its own for a listener that asks for none.
    @rules.on_request("elbv2", "CreateListener")
    def policy(request):
        if request.get("SslPolicy") and request.get("Protocol") not in SECURE:
            raise AwsError("ValidationError", NOT_SECURE)

    @around(ELBv2Backend, "create_listener")
    def create(original, backend, **kwargs):
        balancer = backend.load_balancers.get(kwargs["load_balancer_arn"])
        if balancer is not None and balancer.type == "network":
            certificates = [kwargs["certificate"]] if kwargs.get("certificate") else []
            check(
                backend,
                balancer,
                None,
                kwargs["port"],
                kwargs["protocol"],
                certificates,
                kwargs.get("ssl_policy") if kwargs["protocol"] in SECURE else None,
                [FakeAction(dict(a)) for a in kwargs["actions"]],
            )
        return original(backend, **kwargs)


@correction(
    "listener-modify",
    "ELBv2",
    moto="ModifyListener to or of TLS, UDP and TCP_UDP is `UnsupportedProtocol`; certificates "
    "change on HTTPS listeners only.",
    aws="Protocol, port, certificates, policy and actions of an NLB's listener can be changed; "
    "what is checked is as when it is made. Without TLS it has neither certificate nor "
    "policy.",
)
def listener_modify(_rules):
    @around(ELBv2Backend, "modify_listener")
    def modify(
        original,
        backend,
        arn,
        port=None,
        protocol=None,
        ssl_policy=None,
        certificates=None,
        actions=None,
    ):
        balancer, listener = found(backend, arn)
        if balancer.type != "network":
            return original(backend, arn, port, protocol, ssl_policy, certificates, actions)
        actions = [FakeAction(action) for action in actions or []] or listener.default_actions
        protocol = protocol or listener.protocol
        port = port or listener.port
        said = [c["CertificateArn"] for c in certificates or []]
        secure = protocol in SECURE
        # What is not said stays where it has a meaning.
        arns = said or (list(listener.certificates) if secure else [])
        policy = ssl_policy or (listener.ssl_policy or DEFAULT_POLICY if secure else None)
        backend._validate_port_and_protocol(balancer.type, port, protocol)
        check(backend, balancer, listener, port, protocol, arns, policy, actions)
        listener.port, listener.protocol = port, protocol
        listener.certificates = arns
        listener.certificate = arns[0] if secure else None
        listener.ssl_policy = policy
        listener.default_actions = actions
        listener._default_rule[0].actions = actions
        return listener

    @around(ELBV2Response, "modify_listener")
    def respond(original, response):
        # It looks at the policy itself, and has another code for it.
        from moto.core.responses import ActionResult

        backend = response.elbv2_backend
        listener = backend.modify_listener(
            response._get_param("ListenerArn"),
            response._get_param("Port"),
            response._get_param("Protocol"),
            response._get_param("SslPolicy"),
            response._get_param("Certificates"),
            response._get_param("DefaultActions", []),
        )
        return ActionResult({"Listeners": [listener]})


@correction(
    "listener-ssl-policy",
    "ELBv2",
    moto="Every listener has the policy `ELBSecurityPolicy-2016-08`.",
    aws="Only TLS and HTTPS listeners have one, that one by default.",
)
def listener_ssl_policy(_rules):
    @around(FakeListener, "__init__")
    def init(original, listener, *args, **kwargs):
        original(listener, *args, **kwargs)
        if listener.protocol not in SECURE:
            listener.ssl_policy = None


@correction(
    "listener-actions",
    "ELBv2",
    moto="An action is answered as it was sent: with a target group or with a forward "
    "configuration.",
    aws="One target group is answered both ways.",
)
def listener_actions(_rules):
    @around(FakeAction, "__init__")
    def init(original, action, data):
        data = dict(data)
        if data.get("Type") == "forward":
            groups = data.get("ForwardConfig", {}).get("TargetGroups", [])
            if data.get("TargetGroupArn") and not groups:
                data["ForwardConfig"] = {
                    "TargetGroups": [{"TargetGroupArn": data["TargetGroupArn"]}]
                }
            elif len(groups) == 1:
                data.setdefault("TargetGroupArn", groups[0]["TargetGroupArn"])
        original(action, data)
