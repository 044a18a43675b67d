"""Fleet lag: from a commit at the primary to the moment an edge has it, and tells its streams.

The moment of the commit is that of the answer to its push, as the phone that pushed receives it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from bench.figure import Figure, percentile
from bench.fleet_process import Wire, open_to_read, phones_of, sequence_of, served_fleet
from bench.node_process import data_folder, now_ms
from bench.phones import outcomes_of
from bench.subscribers import Stream
from sync_protocol.codec import decode_server
from sync_protocol.messages.poke import Poke

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator

    from bench.fleet_process import ServedFleet
    from bench.todo_rows import Device

OTHERS = 4
"""Phones that push beside the one that is looked at."""
OTHERS_EVERY_S = 0.04
OTHERS_PER_PUSH = 5
"""100 pushes a second with 500 mutations: a busy day of a few thousand phones."""
LOOK_S = 0.000_5
PAUSE_S = 0.01
"""Between two commits, longer than a poll of the edge, and drawn: commits fall anywhere in it."""
SEEN_SECONDS_MAX = 10.0


def measure(*, quick: bool) -> list[Figure]:
    count = 10 if quick else 300
    with (
        data_folder() as folder,
        served_fleet(folder, rows=200, people=OTHERS + 2) as fleet,
    ):
        people = [f"person-{number}" for number in range(OTHERS + 1)]
        phone, *others = phones_of(fleet.primary, people, fleet.seen)
        fleet.wait_until_level()
        quiet = asyncio.run(_lags(fleet, phone, [], count))
        loaded = asyncio.run(_lags(fleet, phone, others, count))
    return [*_figures("fleet_lag", quiet), *_figures("fleet_lag.loaded", loaded)]


def _figures(name: str, lags: tuple[list[float], list[float]]) -> list[Figure]:
    pokes, files = lags
    middle = "." if "." not in name else "_"
    return [
        Figure(name=name, value=percentile(pokes, 0.5), unit="ms (p50)", at_most=15),
        Figure(name=f"{name}{middle}p99", value=percentile(pokes, 0.99), unit="ms", at_most=80),
        Figure(name=f"{name}{middle}file", value=percentile(files, 0.5), unit="ms", at_most=15),
        Figure(
            name=f"{name}{middle}file_p99", value=percentile(files, 0.99), unit="ms", at_most=80
        ),
    ]


async def _lags(
    fleet: ServedFleet, phone: Device, others: list[Device], count: int
) -> tuple[list[float], list[float]]:
    """Commit one after the other; return the lags of the poke and of the file, in ms."""
    edge, draw, ids = fleet.edges[0], random.Random(11), list(fleet.seen)
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(
        lambda: Stream(edge.token(f"person-{OTHERS + 1}"), "watcher"), "127.0.0.1", edge.port
    )
    await asyncio.wait_for(stream.live, SEEN_SECONDS_MAX)
    wire, pokes_ms, files_ms = Wire(fleet.primary.port, phone), list[float](), list[float]()
    with closing(open_to_read(edge.replica())) as replica:
        async with _pushing(fleet, others):
            for _ in range(count):
                _, mutation = phone.edit(draw.choice(ids), draw, now_ms=now_ms())
                pushed = await wire.push([mutation])
                committed = time.monotonic()
                if outcomes_of(pushed).total() != 1:
                    raise RuntimeError("the mutation was not merged")
                poke, file = await _seen(stream, replica, pushed.sequence)
                # Both may be there before the answer is: that is no lag.
                pokes_ms.append(max(0.0, poke - committed) * 1_000)
                files_ms.append(max(0.0, file - committed) * 1_000)
                await asyncio.sleep(PAUSE_S * (1 + draw.random()))
    wire.close()
    return pokes_ms, files_ms


async def _seen(stream: Stream, replica: sqlite3.Connection, sequence: int) -> tuple[float, float]:
    """Return when the stream was told of a commit, and when the file held it."""
    deadline = time.monotonic() + SEEN_SECONDS_MAX
    file = poke = None
    while file is None or poke is None:
        if file is None and sequence_of(replica) >= sequence:
            file = time.monotonic()
        while poke is None and stream.pokes:
            at, frame = stream.pokes.pop(0)
            message = decode_server(frame)
            if isinstance(message, Poke) and not message.is_news and message.sequence >= sequence:
                poke = at
        if time.monotonic() > deadline:
            what = "file" if file is None else "stream"
            raise RuntimeError(f"the edge's {what} has not seen commit {sequence}")
        await asyncio.sleep(LOOK_S)
    return poke, file


@asynccontextmanager
async def _pushing(fleet: ServedFleet, others: list[Device]) -> AsyncGenerator[None]:
    """Let the other phones push to the primary meanwhile."""
    tasks = [asyncio.create_task(_push_on(fleet, device)) for device in others]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _push_on(fleet: ServedFleet, device: Device) -> None:
    draw, ids = random.Random(device.n), list(fleet.seen)
    wire = Wire(fleet.primary.port, device)
    due = time.monotonic() + OTHERS_EVERY_S * draw.random()
    try:
        while True:
            await asyncio.sleep(due - time.monotonic())
            due += OTHERS_EVERY_S
            edits = [
                device.edit(draw.choice(ids), draw, now_ms=now_ms())[1]
                for _ in range(OTHERS_PER_PUSH)
            ]
            await wire.push(edits)
    finally:
        wire.close()
