"""Starts the fake: `python -m awscloud [--folder DIR]`. Its URL is its first line of output.

It ends when its standard input does, so that it never outlives whoever started it.
"""

import argparse
import json
import os
import shutil
import sys
import threading

# Before moto is loaded: reading the list of images takes most of a second.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
# Nothing of the caller's surroundings is to be used for the operator's own calls.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]


def main() -> None:
    parser = argparse.ArgumentParser(prog="awscloud", description=__doc__)
    parser.add_argument(
        "--folder",
        help="write the URL into its file `address`, and remove it at the end: it is nobody else's",
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

    from .front import Front
    from .serve import listen

    front = Front(corrections.apply(set(arguments.without)))
    server = listen(front, arguments.port)
    front.url = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=end_with_input, args=[arguments.folder], daemon=True).start()
    if arguments.folder:
        # Whole or not at all: somebody is waiting for the file.
        address = os.path.join(arguments.folder, "address")
        with open(address + ".part", "w", encoding="utf-8") as file:
            file.write(front.url)
        os.rename(address + ".part", address)
    print(front.url, flush=True)
    server.serve_forever()


def end_with_input(folder: str | None) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    # Not sys.exit: requests that hang on purpose would be waited for.
    os._exit(0)


main()
