"""A program in the place of the node: it holds the folder's lock and does what files tell it.

`events` gets a line for what happens; `exit` holds a code to end with; `linger` holds the seconds
that draining takes. It needs nothing but the standard library, so that it starts at once.
"""

import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path

POLL_S = 0.01
SECONDS_MAX = 60


def main():
    data = Path(os.environ["SKERRY_DATA"])
    lock = (data / "node.lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def tell(event):
        with (data / "events").open("a") as events:
            events.write(event + "\n")

    def drain(_number, _frame):
        if (data / "linger").exists():
            time.sleep(float((data / "linger").read_text()))
        tell("drained" if serves(os.environ["SKERRY_SQLD_HTTP"]) else "drained without sqld")
        sys.exit(0)

    signal.signal(signal.SIGTERM, drain)
    names = ("ROLE", "EPOCH", "PRIMARY_URL", "PRIMARY_GRPC_URL", "SUPERVISED")
    tell("started " + " ".join(os.environ[f"SKERRY_{name}"] or "-" for name in names))
    order = data / "exit"
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if order.exists():
            code = int(order.read_text())
            if code == 75:
                order.unlink()
            sys.exit(code)
        time.sleep(POLL_S)


def serves(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
