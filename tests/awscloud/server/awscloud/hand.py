"""The operator's hand: boto3 against our own port, an independent client."""

import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

AGENT = "operator"
REGION = "us-east-1"

# What it has read of the services' descriptions stays with it.
SESSION = boto3.session.Session()


def load(service: str) -> None:
    """Reads a service's description, and asks for nothing."""
    SESSION.client(
        service, region_name=REGION, aws_access_key_id="nobody", aws_secret_access_key="nothing"
    ).close()


class Hand:
    """Clients are made once a service and region; making one takes a tenth of a second."""

    def __init__(self, url):
        self._url = url
        self._lock = threading.Lock()
        self._clients = {}

    def client(self, service: str, region: str = REGION, agent: str = AGENT):
        with self._lock:
            if (service, region, agent) not in self._clients:
                # One try: a test that asks for an error is to see that error.
                config = Config(
                    user_agent=agent,
                    retries={"total_max_attempts": 1},
                    read_timeout=90,
                    max_pool_connections=32,
                    parameter_validation=False,
                )
                self._clients[service, region, agent] = SESSION.client(
                    service,
                    region_name=region,
                    endpoint_url=self._url(),
                    config=config,
                    aws_access_key_id="OPERATOR",
                    aws_secret_access_key="secret",
                )
            return self._clients[service, region, agent]

    def call(
        self, service: str, method: str, kwargs: dict, region: str | None, agent: str | None
    ) -> dict:
        """`{"ok": answer}` or `{"error": {"code", "message", "status"}}`.

        An answer that did not come is the error `NoAnswer` with status 0.
        """
        client = self.client(service, region or REGION, agent or AGENT)
        try:
            answer = getattr(client, method)(**kwargs)
        except ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return {
                "error": {
                    "code": said.get("Code", ""),
                    "message": said.get("Message", ""),
                    "status": status,
                }
            }
        except (HTTPClientError, ConnectionError) as error:
            return {"error": {"code": "NoAnswer", "message": str(error), "status": 0}}
        answer.pop("ResponseMetadata", None)
        return {"ok": answer}
