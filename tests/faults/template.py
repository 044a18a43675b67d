"""A fleet that has joined once, and lies in a folder that runs start from: joining takes seconds.

A copy goes on on the template's ports. Whoever runs several at once needs a template for each.
"""

import json
import shutil
import socket
import sys
from pathlib import Path

from tests.faults.fleet import DOORS_FILE, PORTS, FaultFleet
from tests.faults.proxy import LOOPBACK

SEED = 0


def make_template(folder):
    """Let a fleet join, and stop it in good order; returns its folder."""
    folder = Path(folder)
    with FaultFleet(folder, seed=SEED) as fleet:
        fleet.stop()
    return folder


def taken_port(folder):
    """Return a port of a template that another process listens on, or None.

    Programs elsewhere on the machine may have chosen it while no copy was running.
    """
    for name in (PORTS, DOORS_FILE):
        nodes = json.loads((Path(folder) / "nodes" / name).read_bytes())
        for port in (port for ports in nodes.values() for port in ports.values()):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    return port
    return None


def drop_template(folder):
    """Delete a template."""
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    make_template(sys.argv[1])
