"""A real fleet for a measurement: a primary and edges that serve bench/todo_app.py, on loopback.

Rows and members are in the primary's folder before it is started for the first time; it takes them
over as it does those of a standalone node that becomes a primary.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.child_process import ROOT
from bench.load import request
from bench.node_process import TENANT, UNMET_LIMITS, NodeProcess, database_of, now_ms
from bench.phones import PUSH_PATH, prepare
from bench.todo_rows import Device
from edge.storage.fleet_files import file_of, namespace_of
from edge.storage.key_files import KeyFiles
from edge.workers.fleet_dev import DevFleet
from sync_protocol.codec import decode_server
from sync_protocol.messages.pushed import Pushed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from edge.workers.dev_node import DevNode

REGIONS = ("ams",)
LEVEL_SECONDS_MAX = 30.0
POLL_S = 0.005
HELLOS_AT_ONCE = 4
SETTINGS = {"limits": UNMET_LIMITS, "log_level": "warning", "drain_s": "2"}


class FleetNode(NodeProcess):
    """One node of a fleet that runs already, for whatever measures a node; started by its fleet.

    `resident_mib` is that of the node itself, without its supervisor and its sqld.
    """

    def __init__(self, node: DevNode, *, operator_data: Path) -> None:
        super().__init__(operator_data)
        self.node = node
        self.port = int(node.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        found = self.node.node_pid()
        assert found is not None, "the node is not running"
        return found

    def replica(self) -> Path:
        """Return the file in which its sqld keeps the tenant's database."""
        return file_of(self.node.data / "sqld", namespace_of(TENANT))

    def metric(self, name: str) -> float:
        """Return one number of /metrics that has no labels."""
        text = self.request("GET", "/metrics").decode()
        found = re.search(rf"^skerry_{name} (\S+)$", text, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"there is no metric {name}")
        return float(found[1])


@dataclass(frozen=True, slots=True)
class ServedFleet:
    """`seen`: the rows' ids with the clock values that phones have read of them."""

    dev: DevFleet
    primary: FleetNode
    edges: Sequence[FleetNode]
    seen: dict[str, int]

    def wait_until_level(self) -> None:
        """Wait until every edge has what the primary has, devices included."""
        deadline = time.monotonic() + LEVEL_SECONDS_MAX
        wanted = _reached(database_of(self.primary.node.data))
        for edge in self.edges:
            while _reached(edge.replica()) != wanted:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{edge.node.name} does not catch up")
                time.sleep(POLL_S)


@contextmanager
def served_fleet(
    folder: Path, *, rows: int, people: int, regions: Sequence[str] = REGIONS
) -> Generator[ServedFleet]:
    """Fill a new fleet's folder, start the fleet, stop it at the end."""
    seen = prepare(folder / "primary", rows=rows, people=people)
    KeyFiles(folder / "primary" / "keys").development_key()
    dev = DevFleet(ROOT / "bench" / "todo_app.py", folder, regions, settings=SETTINGS)
    with dev:
        nodes = [FleetNode(node, operator_data=dev.primary.data) for node in dev.nodes]
        fleet = ServedFleet(dev, nodes[0], nodes[1:], seen)
        fleet.wait_until_level()
        yield fleet


@contextmanager
def away(node: FleetNode) -> Generator[None]:
    """Stop a node's process in its tracks, as a machine that hangs; let it go on afterwards."""
    pid = node.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def phones_of(
    node: NodeProcess, people: Iterable[str], seen: dict[str, int], *, phones_each: int = 1
) -> list[Device]:
    """Introduce phones at a node, some for each person."""
    pairs = [
        (person, f"phone-{number}", node.token(person))
        for person in people
        for number in range(phones_each)
    ]
    with ThreadPoolExecutor(HELLOS_AT_ONCE) as pool:
        numbers = list(pool.map(lambda pair: node.hello(pair[0], pair[1]).device, pairs))
    return [Device(n, token, seen) for n, (_, _, token) in zip(numbers, pairs, strict=True)]


class Wire:
    """A phone's connection: one push at a time, as little in between as can be."""

    def __init__(self, port: int, device: Device) -> None:
        self._port = port
        self._device = device
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def push(self, mutations: Sequence[bytes]) -> Pushed:
        """Push and return the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = self._device.push(mutations, now_ms=now_ms())
        writer.write(request("POST", PUSH_PATH, self._device.token, body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"a push was answered with {content[:300]!r}")
        pushed = decode_server(content)
        assert isinstance(pushed, Pushed), "push is answered with pushed"
        return pushed

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


def sequence_of(connection: sqlite3.Connection) -> int:
    """Return the sequence of the last commit in a database."""
    row = connection.execute("SELECT value FROM sk_meta WHERE key = 'sequence'").fetchone()
    return 0 if row is None else int(row[0])


def open_to_read(database: Path) -> sqlite3.Connection:
    """Open a database that others write."""
    uri = f"{database.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _reached(database: Path) -> tuple[int, int]:
    """Return the sequence and the number of devices; (-1, -1) before there is a database."""
    try:
        with closing(open_to_read(database)) as connection:
            devices = connection.execute("SELECT count(*) FROM sk_device").fetchone()
            return sequence_of(connection), devices[0]
    except sqlite3.Error:
        return -1, -1
