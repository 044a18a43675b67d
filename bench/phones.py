"""Phones that push: introduced to a node, with what they have read of its rows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

from bench.limits import first_versions
from bench.load import request
from bench.node_process import add_members, add_rows, database_of, now_ms, services
from bench.todo_rows import Device, todo_rows
from sync_protocol.codec import decode_server
from sync_protocol.messages.pushed import Pushed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.node_process import NodeProcess
    from bench.todo_rows import Edit

PUSH_PATH = "/v1/sync/push"
CLOCK_AHEAD_MS = 4_000
"""Requests are encoded before they are sent; a node takes a clock that is 5 s off either way as
right, so one that is 4 s ahead holds for 9 s."""


def prepare(data: Path, *, rows: int, people: int) -> dict[str, int]:
    """Fill a new folder; return the rows' ids with the clock values that phones have seen."""

    async def fill() -> None:
        async with services(data) as tenant:
            await add_members(tenant, (f"person-{number}" for number in range(people)))
            await add_rows(tenant, todo_rows(rows))

    asyncio.run(fill())
    return first_versions(database_of(data))


def introduced(node: NodeProcess, count: int, seen: dict[str, int]) -> list[Device]:
    """Return `count` phones, each of a person of its own."""
    people = [f"person-{number}" for number in range(count)]
    return [Device(node.hello(p).device, node.token(p), seen) for p in people]


def edits_in_turn(
    devices: list[Device], count: int, *, are_rows_shared: bool = True, seed: int = 7
) -> tuple[list[Edit], list[list[bytes]]]:
    """Let the phones write in turn, one field of a random row each; return also their mutations.

    With shared rows every phone writes any row, unaware of what the others write: most writes meet.
    """
    draw, now = random.Random(seed), now_ms()
    rows = list(devices[0].seen)
    share = [rows if are_rows_shared else rows[i :: len(devices)] for i in range(len(devices))]
    edits: list[Edit] = []
    mutations: list[list[bytes]] = [[] for _ in devices]
    for number in range(count):
        turn = number % len(devices)
        edit, mutation = devices[turn].edit(draw.choice(share[turn]), draw, now_ms=now)
        edits.append(edit)
        mutations[turn].append(mutation)
    return edits, mutations


def push_requests(device: Device, mutations: list[bytes], *, per_push: int) -> list[bytes]:
    """Return the requests that push a phone's mutations in order."""
    now = now_ms() + CLOCK_AHEAD_MS
    return [
        request(
            "POST",
            PUSH_PATH,
            device.token,
            device.push(mutations[first : first + per_push], now_ms=now),
        )
        for first in range(0, len(mutations), per_push)
    ]


def outcomes(answers: Iterable[bytes]) -> Counter[str]:
    """Count the outcomes that the answers to pushes tell."""
    counted: Counter[str] = Counter()
    for answer in answers:
        pushed = decode_server(answer)
        assert isinstance(pushed, Pushed), "push is answered with pushed"
        if pushed.skew:
            raise RuntimeError("the requests were encoded too long before they were sent")
        counted += outcomes_of(pushed)
    return counted


def outcomes_of(pushed: Pushed) -> Counter[str]:
    """Count the outcomes in one answer."""
    counted = Counter(receipt.outcome for receipt in pushed.receipts)
    counted["merged"] += sum(last - first + 1 for first, last, _ in pushed.merged)
    return counted


def require_all_merged(counted: Counter[str], count: int) -> None:
    """Raise RuntimeError unless every mutation was merged, superseded ones included."""
    if counted["merged"] + counted["superseded"] != count:
        raise RuntimeError(f"of {count} mutations: {dict(counted)}")
