"""`skerry certs init|node`: certificates for the connections between nodes."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from edge.cli.failure import CommandError

certs = App(name="certs", help="Certificates for the connections between nodes.")
OUT = Path("certs")


@certs.command
def init(*, out: Path = OUT) -> None:
    """Make the fleet's certificate authority: OUT/ca.pem and OUT/ca.key.

    Keep ca.key away from the nodes: whoever has it can make certificates for any of them.

    Parameters
    ----------
    out
        Folder of the authority; made when it is missing.
    """
    from edge.gateways.certificates import make_authority  # noqa: PLC0415  (loads slowly)

    sys.stdout.write(f"{make_authority(out)}\n")


@certs.command
def node(name: str, /, *, address: list[str], out: Path = OUT) -> None:
    """Make a node's certificate: OUT/NAME, which becomes the folder `tls` in the node's data.

    Parameters
    ----------
    name
        The node's name.
    address
        An IP address or host name that other nodes call it by; may be given several times.
    out
        Folder of the authority.
    """
    from edge.gateways.certificates import make_node_certificate  # noqa: PLC0415
    from edge.services.fleet.membership import is_node_name  # noqa: PLC0415

    if not is_node_name(name):
        raise CommandError(f"{name!r} is not a name of small letters, digits and hyphens")
    sys.stdout.write(f"{make_node_certificate(out, name, address)}\n")
