"""What holds for every action."""

from botocore.loaders import Loader
from botocore.model import ServiceModel

from ..answers import AwsError
from . import correction

SERVICES = ("ec2", "elb", "elbv2", "sts")


@correction(
    "unknown-action",
    "Protocol",
    moto="An action that does not exist is answered 500 with a web page.",
    aws="400 `InvalidAction`.",
)
def unknown_action(rules):
    loader = Loader()
    known = {
        service: set(ServiceModel(loader.load_service_model(service, "service-2")).operation_names)
        for service in SERVICES
    }

    @rules.on_request("*", "*")
    def check(request):
        actions = known.get(request.service)
        if actions is not None and request.action not in actions:
            raise AwsError(
                "InvalidAction", f"The action {request.action} is not valid for this web service."
            )


@correction(
    "not-implemented",
    "Protocol",
    moto="An action or filter that moto does not know is answered 500 with a "
    "web page, which SDKs try again.",
    aws="Would do it. The fake answers 501 `NotImplementedByFake`, which is not tried again "
    "and says what is missing.",
)
def not_implemented(rules):
    @rules.on_failure
    def check(request, error):
        if isinstance(error, NotImplementedError):
            raise AwsError("NotImplementedByFake", f"{request.action}: {error}", 501) from error
