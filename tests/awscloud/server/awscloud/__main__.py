"""Starts the fake: `python -m awscloud`. Its URL is its first line of output.

It ends when its standard input does, so that it never outlives whoever started it. With
`--nursery SOCKET` it starts fakes for whoever connects; see `nursery.py`.
"""

import argparse
import json
import os
import shutil
import socket
import sys
import threading
from typing import Callable

# Before moto is loaded: reading the list of images takes most of a second.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
# Nothing of the caller's surroundings is to be used for the operator's own calls.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]


def main() -> None:
    parser = argparse.ArgumentParser(prog="awscloud", description=__doc__)
    parser.add_argument(
        "--nursery", metavar="SOCKET", help="fork a fake for each connection to this Unix socket"
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="CORRECTION",
        help="leave this gap of moto as it is",
    )
    parser.add_argument("--list-corrections", action="store_true", help="as JSON, then end")
    arguments = parser.parse_args()

    from . import corrections

    if arguments.list_corrections:
        print(json.dumps(corrections.described(), indent=1))
        return

    if arguments.nursery:
        from . import nursery

        nursery.run(arguments.nursery, in_folder)
        return
    server = begin(set(arguments.without), arguments.port)
    print(server.app.url, flush=True)
    end_with(lambda: sys.stdin.buffer.read(4096))
    server.serve_forever()


def begin(without: set[str], port: int):
    """A server that takes connections, with moto's gaps corrected but for those named."""
    from . import corrections
    from .front import Front
    from .serve import listen

    front = Front(corrections.apply(without))
    server = listen(front, port)
    front.url = f"http://127.0.0.1:{server.port}"
    return server


def in_folder(folder: str, without: set[str], connection: socket.socket) -> None:
    """Serves as long as the connection lasts, and writes its URL into the folder's file `address`.

    The folder goes with it.
    """
    server = begin(without, 0)
    end_with(lambda: connection.recv(4096), folder)
    # Whole or not at all: somebody is waiting for the file.
    address = os.path.join(folder, "address")
    with open(address + ".part", "w", encoding="utf-8") as file:
        file.write(server.app.url)
    os.rename(address + ".part", address)
    server.serve_forever()


def end_with(read: Callable[[], bytes], folder: str | None = None) -> None:
    """Ends the process when there is nothing more to read."""

    def watch() -> None:
        while read():
            pass
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        # Not sys.exit: requests that hang on purpose would be waited for.
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


main()
