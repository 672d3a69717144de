"""The instance metadata service of the machine that the program under test runs on."""

import json
import time

from .answers import Answer
from .state import STATE

TEXT = [("Content-Type", "text/plain")]


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def serve(method: str, path: str) -> Answer:
    instance, region, zone = (STATE[f"imds_{name}"] for name in ("instance_id", "region", "zone"))
    if method == "PUT" and path == "/latest/api/token":
        return Answer(200, b"token-of-the-fake", [*TEXT, ("X-aws-ec2-metadata-token-ttl-seconds", "21600")])
    if path == "/latest/dynamic/instance-identity/document":
        document = {
            "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": zone,
            "imageId": "ami-00000000", "instanceId": instance, "instanceType": "m5.large",
            "pendingTime": moment(0),
            "privateIp": "10.0.0.10", "region": region, "version": "2017-09-30",
        }
        return Answer(200, json.dumps(document).encode(), TEXT)
    values = {
        "instance-id": instance,
        "instance-type": "m5.large",
        "placement/region": region,
        "placement/availability-zone": zone,
        # Whoever has no other credentials may call the fake with these.
        "iam/security-credentials": "the-role-of-the-fake",
        "iam/security-credentials/the-role-of-the-fake": json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "IMDS", "SecretAccessKey": "secret",
            "Token": "token", "LastUpdated": moment(time.time()),
            "Expiration": moment(time.time() + 6 * 3600),
        }),
    }
    value = values.get(path.removeprefix("/latest/meta-data/").rstrip("/"))
    if value is None:
        return Answer(404, b"", TEXT, "NotFound")
    return Answer(200, value.encode(), TEXT)
