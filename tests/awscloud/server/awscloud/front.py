"""The front: every request comes through here on its way to moto."""

import functools
import io
import socket
import sys
import threading
import time
import traceback

from moto import backends
from moto.core import responses
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import run_wsgi_app

from . import control, faults
from .answers import Answer, AwsError
from .hand import Hand
from .past import Past
from .record import Log
from .request import Request, parse
from .state import STATE

# moto goes through its own folder and through all methods of a class at every request: a quarter of
# its time. Neither changes once there is a first request.
MODULES = frozenset(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: MODULES
responses.method_names_from_class = functools.cache(responses.method_names_from_class)


class Front:
    """A WSGI application. `rules` are the corrections that look at requests and answers."""

    def __init__(self, rules):
        self.rules = rules
        self.log = Log()
        self.faults = faults.Faults()
        self.past = Past()
        self.url = ""
        self.hand = Hand(lambda: self.url)
        self._moto = DomainDispatcherApplication(create_backend_app)
        # moto's state is plain dictionaries; under Python's own lock this costs nothing.
        self.one_at_a_time = threading.RLock()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ.get("PATH_INFO", "/")
        if path.startswith("/ccm/"):
            answer = control.serve(self, environ["REQUEST_METHOD"], path, body)
        else:
            answer = self._recorded(environ, path, body)
        if answer is None:
            return cut_off(environ, start_response)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {'OK' if answer.status < 400 else 'Error'}", headers)
        return [answer.body]

    def _recorded(self, environ, path: str, body: bytes) -> Answer | None:
        if path.startswith("/latest/"):
            request = Request(
                service="imds",
                action="Get" + path.removeprefix("/latest"),
                agent=environ.get("HTTP_USER_AGENT", ""),
            )
        else:
            request = parse(environ, body)
        call = self.log.begin(request)

        def once() -> Answer:
            answer = self._forward(request, environ)
            call["took_effect"] = request.mutates and answer.status < 400
            return answer

        latency = STATE["latency_ms"]
        if wait := latency.get(request.action, latency.get("*", 0)):
            time.sleep(wait / 1000)
        hit = self.faults.take(request)
        if hit:
            call["fault"] = hit[-1].name

        def before(seconds: float) -> Answer:
            return self.past.ask(seconds, request, environ) or once()

        answer = faults.play(hit, request, once, before)
        self.log.end(call, answer)
        return answer

    def _forward(self, request: Request, environ) -> Answer:
        """What the request asks for, with moto's gaps corrected."""
        with self.one_at_a_time:
            if request.mutates and self.faults.want_the_past():
                self.past.keep(self._now)
            return self._now(request, environ)

    def _now(self, request: Request, environ) -> Answer:
        with self.one_at_a_time:
            try:
                answer = self.rules.before(request) or self._ask(request, environ)
                return self.rules.after(request, answer)
            except AwsError as error:
                return error.answer(request.service)
            except Exception:
                # A mistake of ours. Not 500: clients would try again and hide it.
                traceback.print_exc(file=sys.stderr)
                text = traceback.format_exc(limit=-3)
                return AwsError("FakeBroke", text, 501).answer(request.service)

    def _ask(self, request: Request, environ) -> Answer:
        try:
            return self._ask_moto(environ)
        except Exception as error:
            self.rules.failed(request, error)
            raise

    def _ask_moto(self, environ) -> Answer:
        environ = dict(environ)
        chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        body = b"".join(chunks)
        status = int(status.split()[0])
        kept = [(k, v) for k, v in headers if k.lower() in ("content-type", "x-amzn-requestid")]
        answer = Answer(status, body, kept)
        if status >= 400:
            answer.code = code_of(body)
        return answer


def code_of(body: bytes) -> str:
    """The code in an error's XML."""
    head, found, rest = body.partition(b"<Code>")
    return rest.partition(b"</Code>")[0].decode("utf-8", "replace") if found else ""


def cut_off(environ, start_response):
    """Ends the connection without a byte of an answer."""
    connection: socket.socket = environ["werkzeug.socket"]
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client has gone already.
        pass
    start_response("500 Cut", [("Content-Length", "0"), ("Connection", "close")])
    return [b""]
