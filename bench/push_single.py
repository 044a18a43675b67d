"""Push-single: phones push one mutation at a time; concurrent ones share a commit."""

from __future__ import annotations

from bench.figure import Figure, percentile
from bench.limits import seconds_to_upsert
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


def measure(*, quick: bool) -> list[Figure]:
    devices_count, edits_count = (8, 160) if quick else (64, 12_800)
    limit_count = edits_count if quick else 5_000
    with data_folder() as folder:
        seen = prepare(folder, rows=200 if quick else 10_000, people=devices_count)
        with NodeProcess(folder) as node:
            devices = introduced(node, devices_count, seen)
            edits, mutations = edits_in_turn(devices, edits_count)
            batches = [[edit] for edit in edits[:limit_count]]
            limit_s = seconds_to_upsert(folder / "raw.sqlite", database_of(folder), batches)
            lanes = [
                push_requests(device, own, per_push=1)
                for device, own in zip(devices, mutations, strict=True)
            ]
            loaded = run_load(Load(node.port, lanes, keeps_bodies=True))
    require_all_merged(outcomes(loaded.bodies), edits_count)
    return [
        Figure(
            name="push_single",
            value=edits_count / loaded.seconds,
            unit="mutations/s",
            limit=limit_count / limit_s,
            at_least=3_000,
        ),
        Figure(
            name="push_single.p99",
            value=percentile(loaded.latencies_s, 0.99) * 1_000,
            unit="ms",
            at_most=60,
        ),
    ]
