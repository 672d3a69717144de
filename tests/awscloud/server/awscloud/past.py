"""The fake as it was: a forked copy of the process from before each write, which reads are asked of.

AWS answers reads from copies that lag behind its writes. moto has one state, of plain dictionaries in one
process, and a fork is a copy of all of it that costs a few milliseconds.
"""

import gc
import io
import os
import pickle
import socket
import struct
import sys
import threading
import time
import warnings

from .answers import Answer
from .state import STATE

# A copy is of use for no longer than a read may be late.
LATEST = 30.0
LENGTH = struct.Struct(">Q")
PATIENCE = 30.0


class Copy:
    """One copy. It ends when this side does, or is told to."""

    def __init__(self, serve):
        self.made = time.monotonic()
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        # What other threads hold locked would stay so in the copy. The caller holds the rest.
        with STATE.lock, warnings.catch_warnings():
            # That there are threads is known.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            be_a_copy(theirs, serve)
        theirs.close()
        # A copy that hangs is a failed request, and not the end of the fake.
        ours.settimeout(PATIENCE)
        self._socket = ours

    def ask(self, request, environ: dict) -> Answer:
        with self._lock:
            send(self._socket, (request, portable(environ)))
            return receive(self._socket)

    def end(self) -> None:
        with self._lock:
            self._socket.close()
        os.waitpid(self._pid, 0)


class Past:
    """The copies of the last writes, oldest first."""

    def __init__(self):
        self._lock = threading.Lock()
        self._copies: list[Copy] = []

    def keep(self, serve) -> None:
        """What is asked for is answered as now from now on. Nothing may change meanwhile."""
        made = Copy(serve)
        with self._lock:
            since = made.made - LATEST
            old = [copy for copy in self._copies if copy.made < since]
            self._copies = [copy for copy in self._copies if copy.made >= since] + [made]
        for copy in old:
            copy.end()

    def ask(self, seconds: float, request, environ: dict) -> Answer | None:
        """What would have been answered so long ago; `None` when it would be the same as now."""
        with self._lock:
            since = time.monotonic() - seconds
            copy = next((copy for copy in self._copies if copy.made > since), None)
            # Not after the lock: another write may end it.
            return copy.ask(request, environ) if copy else None

    def forget(self) -> None:
        with self._lock:
            copies, self._copies = self._copies, []
        for copy in copies:
            copy.end()


def portable(environ: dict) -> dict:
    """What of a request goes to another process: its head, and its body as bytes."""
    body = environ["wsgi.input"]
    body.seek(0)
    kept = {key: value for key, value in environ.items() if isinstance(value, (str, int, tuple))}
    return kept | {"wsgi.input": body.read()}


def be_a_copy(questions: socket.socket, serve) -> None:
    """Answers until nobody asks any more."""
    try:
        gc.disable()
        # Whoever held it when the copy was made holds it for ever.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
        # Connections of clients, which would stay open, and the other copies' sockets.
        kept = os.dup2(questions.fileno(), 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        questions = socket.socket(fileno=kept)
        while True:
            request, environ = receive(questions)
            body = io.BytesIO(environ["wsgi.input"])
            send(questions, serve(request, environ | {"wsgi.input": body, "wsgi.errors": io.StringIO()}))
    except EOFError:
        pass
    finally:
        # Not sys.exit: this is in the middle of somebody's request.
        os._exit(0)


def send(to: socket.socket, what) -> None:
    data = pickle.dumps(what)
    to.sendall(LENGTH.pack(len(data)) + data)


def receive(of: socket.socket):
    (length,) = LENGTH.unpack(exactly(of, LENGTH.size))
    return pickle.loads(exactly(of, length))


def exactly(of: socket.socket, many: int) -> bytes:
    data = bytearray()
    while len(data) < many:
        part = of.recv(many - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
