"""A whole fleet on one machine: a primary and edges, each a supervisor with its two children.

with DevFleet(module, folder, regions=("ams", "syd")) as fleet:
    fleet.primary.url, fleet.edges[0].internal_url
    fleet.primary.kill()  # and its children end with it

For development, demonstrations, tests and measurements: everything is on loopback, without TLS.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from edge.errors import Unavailable
from edge.workers.dev_node import LOOPBACK, PRIMARY, DevNode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PORTS: Final = range(20_000, 32_000)
"""Below the ports that the kernel hands out for outgoing connections."""
PORT_TRIES_MAX: Final = 1_000
_given: Final[deque[int]] = deque(maxlen=1_000)
"""Ports that were handed out, and that nothing may listen on yet."""
_PORT_NAMES: Final = ("port", "internal_port", "sqld_http", "sqld_admin", "sqld_grpc")


def enrol(primary: DevNode, edge: DevNode) -> None:
    """Make the edge a member of the primary's fleet, as an operator would.

    The operator's public key goes along: what `skerry token` prints on the primary's folder is
    good on the edge too.
    """
    invited = primary.run("node", "invite", "--node", edge.name, "--region", edge.region)
    token = invited.partition("\t")[0].strip()
    where = ("--primary", primary.internal_url, "--grpc-url", edge.grpc_url)
    edge.run("node", "join", *where, "--token", token)
    for key in (primary.data / "keys").glob("dev-*.pub"):
        shutil.copy(key, edge.data / "keys")


class DevFleet:
    """A primary, and one edge per region; a folder that is used again keeps nodes and ports."""

    def __init__(
        self,
        module: Path,
        data: Path,
        regions: Sequence[str] = ("ams", "syd"),
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        enrol: Callable[[DevNode, DevNode], None] = enrol,
        ends_with_parent: bool = False,
    ) -> None:
        """`port` is the primary's; `settings` are for every node: {"drain_s": "2"}.

        With `ends_with_parent`, the nodes end with the main thread of this process, even when it is
        killed.
        """
        self._enrol = enrol
        self._folder = data
        ports = self._ports([PRIMARY, *_edge_names(regions)], port)

        def node(name: str, region: str) -> DevNode:
            return DevNode(
                name,
                region,
                data / name,
                module=module,
                ports=ports[name],
                settings=settings or {},
                ends_with_parent=ends_with_parent,
            )

        self.primary = node(PRIMARY, "")
        self.edges = [
            node(name, region) for name, region in zip(_edge_names(regions), regions, strict=True)
        ]

    @property
    def nodes(self) -> list[DevNode]:
        """The primary and the edges."""
        return [self.primary, *self.edges]

    def start(self) -> None:
        """Start everything; edges that are new join. Raises Unavailable when a node does not."""
        try:
            self.primary.start()
            self.primary.wait_until_ready()
            for edge in self.edges:
                if not edge.has_joined:
                    edge.data.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._enrol(self.primary, edge)
                edge.start()
            for edge in self.edges:
                edge.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, the edges first: they still call the primary while they drain."""
        for edge in self.edges:
            edge.ask_to_stop()
        for node in (*self.edges, self.primary):
            node.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _ports(self, names: Sequence[str], port: int | None) -> dict[str, dict[str, int]]:
        """Return each node's ports: those of the folder's last fleet, and free ones."""
        path = self._folder / "ports.json"
        ports: dict[str, dict[str, int]] = json.loads(path.read_bytes()) if path.exists() else {}
        for name in names:
            if name not in ports:
                found = free_ports(len(_PORT_NAMES))
                ports[name] = dict(zip(_PORT_NAMES, found, strict=True))
        if port:
            ports[PRIMARY]["port"] = port
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(ports, indent=1) + "\n")
        return ports


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on; raise Unavailable without enough.

    None is given twice: whoever got it listens on it only later.
    """
    found: dict[int, socket.socket] = {}
    try:
        for _ in range(PORT_TRIES_MAX):
            if len(found) == count:
                _given.extend(found)
                return list(found)
            port = PORTS[secrets.randbelow(len(PORTS))]
            if port in _given:
                continue
            probe = socket.socket()
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                probe.close()
            else:
                found[port] = probe
    finally:
        for probe in found.values():
            probe.close()
    raise Unavailable(f"There are no {count} free ports on this machine.")


def _edge_names(regions: Sequence[str]) -> list[str]:
    names: list[str] = []
    for region in regions:
        again = sum(name.startswith(f"edge-{region}") for name in names)
        names.append(f"edge-{region}-{again + 1}" if again else f"edge-{region}")
    return names
