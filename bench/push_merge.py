"""Push-merge: many phones push batches of edits at once, each answered when it is on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figure import Figure
from bench.limits import seconds_to_upsert, stored_values
from bench.load import Load, run_load
from bench.node_process import NodeProcess, data_folder, database_of
from bench.phones import (
    edits_in_turn,
    introduced,
    outcomes,
    prepare,
    push_requests,
    require_all_merged,
)

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = 10


def measure(*, quick: bool) -> list[Figure]:
    with data_folder() as folder:
        shared = _measured(folder / "shared", "push_merge", quick=quick, are_rows_shared=True)
        apart = _measured(folder / "apart", "push_merge.apart", quick=quick, are_rows_shared=False)
    return [*shared, *apart]


def _measured(folder: Path, name: str, *, quick: bool, are_rows_shared: bool) -> list[Figure]:
    rows, edits_count, per_push = (200, 1_000, 50) if quick else (10_000, 50_000, 1_000)
    seen = prepare(folder, rows=rows, people=DEVICES)
    raw = folder / "raw.sqlite"
    with NodeProcess(folder) as node:
        devices = introduced(node, DEVICES, seen)
        edits, mutations = edits_in_turn(devices, edits_count, are_rows_shared=are_rows_shared)
        batches = [edits[first : first + per_push] for first in range(0, edits_count, per_push)]
        limit_s = seconds_to_upsert(raw, database_of(folder), batches)
        lanes = [
            push_requests(device, own, per_push=per_push)
            for device, own in zip(devices, mutations, strict=True)
        ]
        loaded = run_load(Load(node.port, lanes, keeps_bodies=True))
    counted = outcomes(loaded.bodies)
    require_all_merged(counted, edits_count)
    if stored_values(raw) != stored_values(database_of(folder)):
        raise RuntimeError("the node's rows are not those of the same upserts in SQLite")
    is_required = are_rows_shared
    return [
        Figure(
            name=name,
            value=edits_count / loaded.seconds,
            unit="changes/s",
            limit=edits_count / limit_s,
            at_least=40_000 if is_required else None,
            ratio_at_least=0.5 if is_required else None,
        ),
        Figure(name=f"{name}.superseded", value=counted["superseded"], unit="mutations"),
    ]
