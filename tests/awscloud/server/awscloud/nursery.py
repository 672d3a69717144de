"""Fakes by fork: loading moto takes a second and a half of the processor, and each test wants its own.

`python -m awscloud --nursery SOCKET` loads everything once and listens on that Unix socket. Who
connects writes one line of JSON, `{"folder": DIR, "without": [CORRECTION, …]}`, and has a fake that
lives as long as the connection. The nursery itself ends with its standard input, and removes the
folder that the socket is in.
"""

import gc
import json
import os
import random
import select
import shutil
import socket
import sys
import traceback
from typing import Callable

from moto.backends import get_backend
from moto.core.utils import get_service_model
from moto.moto_api._internal import mock_random as moto_random

# Of the last two nothing is used here but that they are loaded.
from . import corrections, front, hand, serve  # noqa: F401

# What the fakes are asked for in nearly every test.
SERVICES = ("ec2", "elbv2", "elb", "acm", "sts", "iam")


def run(path: str, live: Callable) -> None:
    """Forks a fake for each connection. `live(folder, without, connection)` is one's whole life."""
    load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".part")
    listener.listen(128)
    # Somebody is waiting for the name: whoever sees it can connect.
    os.rename(path + ".part", path)
    while True:
        ready, _, _ = select.select([sys.stdin, listener], [], [], 1)
        reap()
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
            return
        if listener in ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                be_born(connection, live)
            connection.close()


def load() -> None:
    """Everything that a fake would load, so that its memory is shared, too."""
    corrections.load()
    for service in SERVICES:
        get_backend(service)
        get_service_model(service)
        hand.load(service)
    # Not moved by the collector, so not copied either.
    gc.collect()
    gc.freeze()


def be_born(connection: socket.socket, live: Callable) -> None:
    """The child's side. Never returns."""
    code = 1
    try:
        with connection.makefile("r", encoding="utf-8") as lines:
            asked = json.loads(lines.readline())
        os.chdir(asked["folder"])
        os.environ["HOME"] = asked["folder"]
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for to, of in ((0, nothing), (1, log), (2, log)):
            os.dup2(of, to)
        # Siblings would give the same IDs in the same order.
        random.seed()
        moto_random.seed()
        live(asked["folder"], set(asked["without"]), connection)
        code = 0
    except SystemExit as end:
        print(end, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Nothing of the parent's is to be cleaned up by its child.
        os._exit(code)


def reap() -> None:
    """Takes note of who has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        # There is none.
        pass
