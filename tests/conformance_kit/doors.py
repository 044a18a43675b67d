"""Both doors, for our own client and server: `python -m tests.conformance_kit.doors`.

Everything goes by way of the `skerry` command, as it does for anybody else's. Arguments are handed
on to both doors.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.server import known_app
from tests.e2e.node_process import NodeProcess

PROGRAM = f"{sys.executable} -m edge.cli"
SECONDS_MAX = 600


def door(*arguments):
    command = [*PROGRAM.split(), "conformance", *arguments, *sys.argv[1:]]
    return subprocess.run(command, timeout=SECONDS_MAX, check=False).returncode


def main():
    """Return 0 when both have passed."""
    failed = door("client", f"{sys.executable} -m skerry_client.conformance")
    with (
        tempfile.TemporaryDirectory() as folder,
        NodeProcess(data=Path(folder) / "node", module=Path(known_app.__file__)) as node,
    ):
        failed |= door(
            "server", node.url,
            "--token-command", f"{PROGRAM} token --data {node.data} --person",
            "--member-command", f"env SKERRY_DATA={node.data} {PROGRAM} member",
        )  # fmt: skip
    return failed


if __name__ == "__main__":
    sys.exit(main())
