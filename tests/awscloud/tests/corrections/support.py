"""What tests of corrections need: clients of the fake, which is new for each test."""

import json
import os
import unittest
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

URL = os.environ["AWSCLOUD_URL"]


def control(path: str, body: dict | None = None):
    """POST with a body, else GET, under /ccm/."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{URL}/ccm/{path}", data=data) as answer:
        return json.load(answer)


def client(service: str, region: str = "us-east-1"):
    # What clients check themselves is not what is tested.
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    return boto3.client(service, region_name=region, endpoint_url=URL, config=config,
                        aws_access_key_id="TEST", aws_secret_access_key="secret")


class Case(unittest.TestCase):
    """A test finds an empty cloud, and a world in it that is made when it is first asked for."""

    @classmethod
    def setUpClass(cls):
        cls.ec2, cls.elb, cls.elbv2 = client("ec2"), client("elb"), client("elbv2")

    def setUp(self):
        control("reset", {})
        self._world = None

    @property
    def world(self) -> dict:
        if self._world is None:
            self._world = control("world", {"cluster": "c"})
        return self._world

    def launch(self, count: int = 1, **more) -> list[str]:
        asked = {"world": self.world, "count": count, **more}
        return [machine["id"] for machine in control("launch", asked)]

    def settings(self, **changed):
        control("settings", changed)

    def refused(self, code: str, method, **kwargs) -> str:
        """The call is refused with this code; answers the text."""
        with self.assertRaises(ClientError) as caught:
            method(**kwargs)
        self.assertEqual(code, caught.exception.response["Error"]["Code"], caught.exception)
        return caught.exception.response["Error"]["Message"]

    def group(self, name: str = "lb", **more) -> str:
        return self.ec2.create_security_group(
            GroupName=name, Description=name, VpcId=self.world["vpc"], **more)["GroupId"]
