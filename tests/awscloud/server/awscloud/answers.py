"""Answers as AWS writes them."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

NAMESPACES = {
    "ec2": "http://ec2.amazonaws.com/doc/2016-11-15/",
    "elb": "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/",
    "elbv2": "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
REQUEST_ID = "00000000-0000-4000-8000-00000000ccm1"


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Content-Type", "text/xml")])
    # The error's code, or nothing.
    code: str = ""


class AwsError(Exception):
    """An error that AWS would answer."""

    def __init__(self, code: str, message: str, status: int = 400, headers=()):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.headers = code, message, status, list(headers)

    def answer(self, service: str) -> Answer:
        code, message = escape(self.code), escape(self.message)
        if service == "ec2":
            body = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>"
                f"</Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
            )
        else:
            namespace = NAMESPACES.get(service, "")
            kind = "Sender" if self.status < 500 else "Receiver"
            body = (
                f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type>'
                f"<Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
            )
        return Answer(
            self.status, xml(body), [("Content-Type", "text/xml"), *self.headers], self.code
        )


def xml(text: str) -> bytes:
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + text).encode()


def answered(request, inner: str = "") -> Answer:
    """A good answer of this request's action. `inner` is XML."""
    action, namespace = request.action, NAMESPACES.get(request.service, "")
    if request.service == "ec2":
        body = (
            f'<{action}Response xmlns="{namespace}"><requestId>{REQUEST_ID}</requestId>'
            f"{inner}</{action}Response>"
        )
    else:
        body = (
            f'<{action}Response xmlns="{namespace}"><{action}Result>{inner}</{action}Result>'
            f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
            f"</{action}Response>"
        )
    return Answer(200, xml(body))
