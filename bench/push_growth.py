"""Push-growth: what a push of 1,000 costs while ever more rows are stored beside it.

Three nodes with small, medium and large databases take the same pushes in turn, so that whatever
else the machine does meets all of them alike.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

from bench.figure import Figure
from bench.limits import first_versions, seconds_to_upsert
from bench.load import Load, run_load
from bench.node_process import (
    NodeProcess,
    add_members,
    add_rows,
    data_folder,
    database_of,
    now_ms,
    services,
)
from bench.phones import outcomes, push_requests, require_all_merged
from bench.todo_rows import EVERY_MS, SPACE, Device, todo_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.todo_rows import Edit

ROWS_PER_SPACE = 10_000
"""A household does not grow with the node: the phone edits the rows it holds. All households' rows
are made in the same time, so the phone's lie scattered among all others in the tree."""


def measure(*, quick: bool) -> list[Figure]:
    sizes = (200, 400, 800) if quick else (10_000, 100_000, 1_000_000)
    pushes, per_push = (2, 50) if quick else (15, 1_000)
    with data_folder() as folder, ExitStack() as stack:
        _fill(folder, sizes)
        nodes = [stack.enter_context(NodeProcess(folder / str(size))) for size in sizes]
        phones = [_Phone(node) for node in nodes]
        figures: list[Figure] = []
        for name, make in (("inserts", _Phone.inserts), ("recent", _Phone.recent_edits)):
            costs = _costs(phones, make, pushes=pushes, per_push=per_push)
            figures += _figures(f"push_growth.{name}", sizes, costs)
        costs = _costs(phones, _Phone.edits, pushes=pushes, per_push=per_push)
        raw = [phone.raw_ms(folder / f"raw-{i}.sqlite") for i, phone in enumerate(phones)]
        figures += _figures("push_growth.raw", sizes, raw)
        figures += _figures("push_growth.edits", sizes, costs, limits_ms=raw, at_most=1.3)
    return figures


class _Phone:
    """One phone of one node; `seen` holds the rows of its own space."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.database = database_of(node.data)
        seen = first_versions(self.database, space=SPACE)
        self.device = Device(node.hello("person-0").device, node.token("person-0"), seen)
        self.pushed: list[list[Edit]] = []
        self._draw = random.Random(11)
        self._rows = list(seen)
        self._inserted: list[str] = []
        self._next = 10_000_000

    def edits(self, count: int) -> list[bytes]:
        """Edit `count` different rows of those stored at first, scattered among all others."""
        both = self._edited(self._rows, count)
        self.pushed.append([edit for edit, _ in both])
        return [mutation for _, mutation in both]

    def recent_edits(self, count: int) -> list[bytes]:
        """Edit `count` different rows of those inserted lately."""
        return [mutation for _, mutation in self._edited(self._inserted, count)]

    def _edited(self, rows: list[str], count: int) -> list[tuple[Edit, bytes]]:
        now = now_ms()
        chosen = self._draw.sample(rows, min(count, len(rows)))
        return [self.device.edit(row, self._draw, now_ms=now) for row in chosen]

    def inserts(self, count: int) -> list[bytes]:
        """Insert `count` new rows."""
        rows, now = list(todo_rows(count, first=self._next)), now_ms()
        self._next += count
        self._inserted += [row.id for row in rows]
        return [self.device.insert(row, now_ms=now) for row in rows]

    def raw_ms(self, path: Path) -> float:
        """Return what a transaction of the same edits costs SQLite beside as many rows."""
        return seconds_to_upsert(path, self.database, self.pushed) / len(self.pushed) * 1_000


def _fill(folder: Path, sizes: tuple[int, ...]) -> None:
    """Fill the smallest database, and every larger one from a copy of the one before."""

    async def fill(data: Path, first: int, size: int) -> None:
        async with services(data) as tenant:
            await add_members(tenant, ["person-0"], space=SPACE)
            rows = todo_rows(
                size - first,
                first=first,
                rows_per_space=ROWS_PER_SPACE,
                made_within_ms=EVERY_MS * ROWS_PER_SPACE,
            )
            await add_rows(tenant, rows)

    first = 0
    for index, size in enumerate(sizes):
        if index:
            shutil.copytree(folder / str(sizes[index - 1]), folder / str(size))
        asyncio.run(fill(folder / str(size), first, size))
        first = size


def _costs(
    phones: list[_Phone], make: Callable[[_Phone, int], list[bytes]], *, pushes: int, per_push: int
) -> list[float]:
    """Return the median milliseconds of a push for each phone; the first push warms up."""
    latencies_ms: list[list[float]] = [[] for _ in phones]
    for turn in range(pushes + 1):
        for phone, measured in zip(phones, latencies_ms, strict=True):
            mutations = make(phone, per_push)
            lanes = [push_requests(phone.device, mutations, per_push=per_push)]
            loaded = run_load(Load(phone.node.port, lanes, keeps_bodies=True))
            require_all_merged(outcomes(loaded.bodies), len(mutations))
            if turn:
                measured.append(loaded.latencies_s[0] * 1_000)
    return [median(measured) for measured in latencies_ms]


def _figures(
    name: str,
    sizes: tuple[int, ...],
    costs_ms: list[float],
    *,
    limits_ms: list[float] | None = None,
    at_most: float | None = None,
) -> list[Figure]:
    beside = [
        Figure(
            name=f"{name}.beside_{size}",
            value=cost,
            unit="ms",
            limit=None if limits_ms is None else limits_ms[index],
        )
        for index, (size, cost) in enumerate(zip(sizes, costs_ms, strict=True))
    ]
    growth = Figure(
        name=name,
        value=costs_ms[-1] / costs_ms[0],
        unit="times",
        limit=None if limits_ms is None else limits_ms[-1] / limits_ms[0],
        at_most=at_most,
    )
    return [growth, *beside]
