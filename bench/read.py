"""Read: one row by its id, with the token checked at every request, from two workers."""

from __future__ import annotations

import random

from bench.figure import Figure, percentile
from bench.load import Load, request, run_load
from bench.node_process import NodeProcess, data_folder
from bench.phones import prepare

CONNECTIONS = 32
WORKERS = 2
REQUESTS_PER_LANE = 200


def measure(*, quick: bool) -> list[Figure]:
    with data_folder() as folder:
        seen = prepare(folder, rows=200 if quick else 10_000, people=1)
        draw, ids = random.Random(3), list(seen)
        with NodeProcess(folder, workers=WORKERS) as node:
            token = node.token("person-0")
            lanes = [
                [
                    request("GET", f"/v1/rows/todo/{draw.choice(ids)}", token)
                    for _ in range(REQUESTS_PER_LANE)
                ]
                for _ in range(4 if quick else CONNECTIONS)
            ]
            run_load(Load(node.port, lanes, seconds=0.1 if quick else 1))
            loaded = run_load(Load(node.port, lanes, seconds=0.2 if quick else 6))
    return [
        Figure(name="read", value=loaded.per_second, unit="rows/s", at_least=4_000),
        Figure(name="read.p99", value=percentile(loaded.latencies_s, 0.99) * 1_000, unit="ms"),
    ]
