"""The instance metadata service of the machine that the program under test runs on."""

import json
import time

from ..answers import Answer
from ..state import STATE
from . import correction

TEXT = [("Content-Type", "text/plain")]


def moment(seconds_from_now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds_from_now))


@correction(
    "instance-metadata",
    "Metadata",
    moto="Every caller is `i-fake` in `us-east-1a`; there is no identity document.",
    aws="The caller's own instance, with an identity document. Here what the settings `imds_…` "
    "say.",
)
def instance_metadata(rules):
    @rules.on_request("imds", "*")
    def serve(request):
        if request.action == "Get/api/token":
            ttl = ("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            return Answer(200, b"token-of-the-fake", [*TEXT, ttl])
        instance, region, zone = (
            STATE[f"imds_{name}"] for name in ("instance_id", "region", "zone")
        )
        document = {
            "accountId": "123456789012",
            "architecture": "x86_64",
            "availabilityZone": zone,
            "imageId": "ami-00000000",
            "instanceId": instance,
            "instanceType": "m5.large",
            "pendingTime": "1970-01-01T00:00:00Z",
            "privateIp": "10.0.0.10",
            "region": region,
            "version": "2017-09-30",
        }
        values = {
            "Get/dynamic/instance-identity/document": json.dumps(document),
            "Get/meta-data/instance-id": instance,
            "Get/meta-data/instance-type": "m5.large",
            "Get/meta-data/placement/region": region,
            "Get/meta-data/placement/availability-zone": zone,
            # Whoever has no other credentials may call with these.
            "Get/meta-data/iam/security-credentials": "the-role-of-the-fake",
            "Get/meta-data/iam/security-credentials/the-role-of-the-fake": json.dumps({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "IMDS",
                "SecretAccessKey": "secret", "Token": "token",
                "LastUpdated": moment(0), "Expiration": moment(6 * 3600),
            }),
        }
        value = values.get(request.action.rstrip("/"))
        if value is None:
            return Answer(404, b"", TEXT, "NotFound")
        return Answer(200, value.encode(), TEXT)
