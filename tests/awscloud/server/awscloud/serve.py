"""The HTTP server: Werkzeug's, one thread a connection, connections kept."""

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler


class Handler(WSGIRequestHandler):
    """As clients find it at AWS: a connection serves many requests."""

    protocol_version = "HTTP/1.1"
    # Head and body are written apart; waiting to join them would cost 40 ms a request.
    disable_nagle_algorithm = True

    def log_request(self, code="-", size="-"):
        """The call log is kept elsewhere."""


class Server(ThreadedWSGIServer):
    daemon_threads = True
    # 1000 clients may connect at once.
    request_queue_size = 1024


def listen(app, port: int) -> Server:
    """A server that takes connections from now on. Port 0 takes a free one."""
    return Server("127.0.0.1", port, app, handler=Handler)
