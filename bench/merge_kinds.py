"""Merge-kinds: what merging one value of each field type costs the SQL engine, in a batch.

Every row is written by two devices that have not seen each other; the second write is measured. The
limit is that of a last-writer-wins register, the plainest type, in the same run.
"""

from __future__ import annotations

import asyncio
import time
import types
from typing import TYPE_CHECKING, Any

from bench.figure import Figure
from bench.node_process import data_folder
from core import Access, App, Collection
from core.crdt.field import Write
from core.crdt.registry import SAMPLES
from core.ids import RowId, SpaceId
from core.row import RowDelta
from edge.repositories.database import TenantDatabase, tables_of
from edge.storage.sqlite import SqliteEngine

if TYPE_CHECKING:
    from pathlib import Path

    from core.crdt.field import Field

_BLOB = {"sha256": "ab" * 32, "size": 3, "type": "image/png"}
PAYLOADS: dict[str, tuple[Any, Any]] = {
    "lww": ("one", "two"),
    "group": ({"lat": 1.0, "lon": 2.0}, {"lat": 3.0, "lon": 4.0}),
    "first_write": ("one", "two"),
    "max": (1, 2),
    "min": (2.0, 1.0),
    "ranked": ("draft", "sent"),
    "add_wins": ({"add": ["a", "b"], "remove": {}}, {"add": ["c"], "remove": {"a": [[2, 1]]}}),
    "flag": ({"on": True}, {"off": [[2, 1]]}),
    "multi_value": ({"value": "one", "seen": []}, {"value": "two", "seen": []}),
    "map": ({"set": {"a": 1, "b": 2}, "remove": []}, {"set": {"c": 3}, "remove": ["a"]}),
    "counter": ({"add": 3}, {"add": -5}),
    "bounded_counter": ({"add": 5}, {"add": 2}),
    "list_order": ({"parent": None, "index": "V"}, {"parent": "a", "index": "Vk"}),
    "tree_parent": ("row-1", "row-2"),
    "append_only": ({"append": ["one"]}, {"append": ["two"]}),
    "blob_reference": (_BLOB, {**_BLOB, "size": 4}),
    "custom": ({"value": "one", "base": None}, {"value": "two", "base": None}),
}
"""By kind, what two devices write."""


def measure(*, quick: bool) -> list[Figure]:
    rows = 100 if quick else 10_000
    with data_folder() as folder:
        costs = {
            kind: asyncio.run(_microseconds(folder / f"{kind}.sqlite", kind, rows))
            for kind in SAMPLES
        }
    return [
        Figure(name=f"merge_kinds.{kind}", value=cost, unit="us", limit=costs["lww"])
        for kind, cost in costs.items()
    ]


async def _microseconds(path: Path, kind: str, rows: int) -> float:
    """Return the time of one merge in a batch of `rows`, statement and answer included."""
    app = App("sample", version=1, spaces={"household": ("member",)})
    field, access = SAMPLES[kind](), Access(read=("member",))
    sample = types.new_class(
        "Sample",
        (Collection,),
        {"space": "household"},
        lambda body: body.update(value=field, access=access),
    )
    app.add(sample)
    engine = SqliteEngine(path)
    await engine.open()
    database = TenantDatabase(engine, tables_of(app))
    try:
        await database.migrate(app, new_database_id="bench")
        batches = [
            [_delta(sample, f"row-{at}", state, turn=turn, at=at) for at in range(rows)]
            for turn, state in enumerate(_states(field, *PAYLOADS[kind]))
        ]
        await database.write(lambda unit: unit.rows.merge(batches[0]))
        started = time.perf_counter()
        await database.write(lambda unit: unit.rows.merge(batches[1]))
        return (time.perf_counter() - started) / rows * 1e6
    finally:
        await database.close()


def _states(field: Field[Any], first: Any, second: Any) -> tuple[Any, Any]:
    """Return what each of two writes merges; the second sees the first only where it must."""
    stored = field.admit(None, field.parse(first), Write(1_000, 2, 1))
    at = Write(1_001, 3, 1)
    unseen = field.admit(None, field.parse(second), at)
    return stored, unseen if unseen is not None else field.admit(stored, field.parse(second), at)


def _delta(
    sample: type[Collection], row: str, state: Any, *, turn: int, at: int
) -> tuple[RowDelta, int]:
    assert state is not None, "every write of PAYLOADS is admitted"
    alive = None if turn else (1_000, 2, True)
    delta = RowDelta(
        sample.collection_name, RowId(row), SpaceId("household-0"), alive, {"value": state}
    )
    return delta, at + 1
