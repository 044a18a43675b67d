"""Fleet memory: what an edge's node holds, idle and after a good many phones, and its sqld.

A standalone node that serves the same rows goes through the same: most of it is the same program.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figure import Figure
from bench.fleet_process import phones_of, served_fleet
from bench.load import Load, request, run_load
from bench.node_process import NodeProcess, data_folder
from bench.phones import prepare
from bench.subscribers import subscribe
from sync_protocol.codec import encode
from sync_protocol.messages.pull import Pull

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.subscribers import Stream

PEOPLE = 100
PULLERS = 10
CONNECTIONS = 4
REQUIRED_MIB = {"": 110, "pulled": 110, "streams": None, "after": 110}
"""By what has happened until then. Streams that are open cost what they cost a standalone node."""


def measure(*, quick: bool) -> list[Figure]:
    rows, phones = (200, 20) if quick else (1_000, 1_000)
    rest_s = 0.1 if quick else 2.0
    with data_folder() as folder:
        seen = prepare(folder / "standalone", rows=rows, people=PEOPLE)
        with NodeProcess(folder / "standalone") as node:
            alone = _resident(node, seen, phones, rest_s)
        with served_fleet(folder / "fleet", rows=rows, people=PEOPLE) as fleet:
            edge = fleet.edges[0]
            found = _resident(edge, fleet.seen, phones, rest_s)
            sqld_mib = _sqld_mib(edge.node.sqld_pid())
    figures = [
        Figure(
            name=f"fleet_memory.{name}" if name else "fleet_memory",
            value=found[name],
            unit="MiB",
            limit=alone[name],
            at_most=required,
        )
        for name, required in REQUIRED_MIB.items()
    ]
    return [*figures, Figure(name="fleet_memory.sqld", value=sqld_mib, unit="MiB")]


def _resident(
    node: NodeProcess, seen: dict[str, int], phones: int, rest_s: float
) -> dict[str, float]:
    """Let phones pull everything, then as many open streams and close them again."""
    people = [f"person-{number}" for number in range(PEOPLE)]
    pullers = phones_of(node, people[:PULLERS], seen)
    time.sleep(rest_s)
    idle = node.resident_mib()
    asked = [
        request("POST", "/v1/sync/pull", p.token, encode(Pull(device=p.n, schema_version=1)))
        for p in pullers
    ]
    lane = [asked[turn % PULLERS] for turn in range(phones // CONNECTIONS)]
    run_load(Load(node.port, [lane] * CONNECTIONS))
    pulled = node.resident_mib()
    tokens = [node.token(people[number % PEOPLE]) for number in range(phones)]
    opened = asyncio.run(_with_streams(node.port, tokens, node.resident_mib))
    time.sleep(rest_s)
    return {"": idle, "pulled": pulled, "streams": opened, "after": node.resident_mib()}


async def _with_streams(port: int, tokens: list[str], resident_mib: Callable[[], float]) -> float:
    """Return the memory while all streams are open."""
    streams: list[Stream] = await subscribe(port, tokens)
    await asyncio.sleep(0.5)
    found = resident_mib()
    for stream in streams:
        stream.close()
    return found


def _sqld_mib(pid: int | None) -> float:
    assert pid is not None, "sqld runs"
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1_024
