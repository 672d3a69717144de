"""What a request asks for: service, action and parameters, out of the query protocol."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

# `elasticloadbalancing` is two services; only the version tells them apart.
VERSIONS = {"2012-06-01": "elb", "2015-12-01": "elbv2"}
READS = ("Describe", "Get", "List", "Search", "Assume")
SCOPE = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")


@dataclass
class Request:
    """One request of the query protocol."""

    service: str = ""
    region: str = "us-east-1"
    action: str = ""
    # The access key's ID.
    key: str = ""
    # The user agent, with what SDKs say in a header of their own.
    agent: str = ""
    params: dict[str, str] = field(default_factory=dict)

    @property
    def mutates(self) -> bool:
        return not self.action.startswith(READS)

    def get(self, name: str, default: str | None = None) -> str | None:
        return self.params.get(name, default)

    def values(self, name: str) -> list[str]:
        """`name.1`, `name.2`, … or `name.member.1`, `name.member.2`, … in order."""
        found = []
        for infix in (".", ".member."):
            index = 1
            while (value := self.params.get(f"{name}{infix}{index}")) is not None:
                found.append(value)
                index += 1
        return found

    def groups(self, name: str) -> list[dict[str, str]]:
        """The parts of `name.1.…`, `name.2.…` or `name.member.1.…`, by what follows the number."""
        pattern = re.compile(rf"{re.escape(name)}\.(?:member\.)?(\d+)\.(.+)")
        found: dict[int, dict[str, str]] = {}
        for key, value in self.params.items():
            if match := pattern.fullmatch(key):
                found.setdefault(int(match[1]), {})[match[2]] = value
        return [found[index] for index in sorted(found)]

    def filters(self) -> dict[str, list[str]]:
        """EC2's filters."""
        found = {}
        for part in self.groups("Filter"):
            values = {k: v for k, v in part.items() if k.startswith("Value.")}
            order = sorted(values, key=lambda key: int(key.removeprefix("Value.")))
            found[part.get("Name", "")] = [values[key] for key in order]
        return found


def parse(environ: dict, body: bytes) -> Request:
    """Never fails: what cannot be read is empty."""
    agents = (environ.get("HTTP_USER_AGENT"), environ.get("HTTP_X_AMZ_USER_AGENT"))
    request = Request(agent=" ".join(filter(None, agents)))
    query = environ.get("QUERY_STRING", "")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        query += "&" + body.decode("utf-8", "replace")
    request.params = dict(parse_qsl(query, keep_blank_values=True))
    request.action = request.params.get("Action", "")
    if match := SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")):
        request.key, request.region, request.service = match.groups()
    if request.service == "elasticloadbalancing":
        request.service = VERSIONS.get(request.params.get("Version", ""), "elb")
    return request
