"""Fleet read: rows from an edge's replica, and the same rows from a standalone node."""

from __future__ import annotations

import random
from statistics import median

from bench.figure import Figure
from bench.fleet_process import served_fleet
from bench.load import Load, request, run_load
from bench.node_process import NodeProcess, data_folder
from bench.phones import prepare

CONNECTIONS = 16
REQUESTS_PER_LANE = 200
TURNS = 4
LIST = "/v1/rows/todo?space=household-0&limit=50"
EDGE, STANDALONE = "edge", "standalone"


def measure(*, quick: bool) -> list[Figure]:
    rows = 200 if quick else 10_000
    seconds, turns = (0.2, 1) if quick else (2.0, TURNS)
    with data_folder() as folder:
        alone = folder / "standalone"
        ids = list(prepare(alone, rows=rows, people=1))
        with served_fleet(folder / "fleet", rows=rows, people=1) as fleet, NodeProcess(alone) as on:
            nodes = {EDGE: fleet.edges[0], STANDALONE: on}
            if list(fleet.seen) != ids:
                raise RuntimeError("the two do not serve the same rows")
            one, many = ({name: list[float]() for name in nodes} for _ in range(2))
            draw = random.Random(3)
            paths = [f"/v1/rows/todo/{draw.choice(ids)}" for _ in range(REQUESTS_PER_LANE)]
            for turn in range(turns + 1):
                for name in list(nodes)[:: -1 if turn % 2 else 1]:
                    node = nodes[name]
                    token = node.token("person-0")
                    for asked, rates in ((paths, one), ([LIST], many)):
                        lane = [request("GET", path, token) for path in asked]
                        lanes = [lane] * (4 if quick else CONNECTIONS)
                        loaded = run_load(Load(node.port, lanes, seconds=seconds))
                        if turn:  # the first one warms up
                            rates[name].append(loaded.per_second)
    return [
        Figure(
            name=name,
            value=median(rates[EDGE]),
            unit=unit,
            limit=median(rates[STANDALONE]),
            ratio_at_least=0.9,
        )
        for name, unit, rates in (
            ("fleet_read", "rows/s", one),
            ("fleet_read.list", "lists/s", many),
        )
    ]
