"""Fleet read: rows from an edge's replica, and the same rows from a standalone node."""

from __future__ import annotations

import random
from statistics import median

from bench.figure import Figure
from bench.fleet_process import served_fleet
from bench.load import Load, request, run_load
from bench.node_process import NodeProcess, data_folder
from bench.phones import prepare
from bench.refresh_load import cpu_seconds

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
            one, many, one_us, many_us = ({name: list[float]() for name in nodes} for _ in range(4))
            draw = random.Random(3)
            paths = [f"/v1/rows/todo/{draw.choice(ids)}" for _ in range(REQUESTS_PER_LANE)]
            for turn in range(turns + 1):
                for name in list(nodes)[:: -1 if turn % 2 else 1]:
                    node = nodes[name]
                    token = node.token("person-0")
                    for asked, rates, costs_us in (
                        (paths, one, one_us),
                        ([LIST], many, many_us),
                    ):
                        lane = [request("GET", path, token) for path in asked]
                        lanes = [lane] * (4 if quick else CONNECTIONS)
                        before_s = cpu_seconds(node.pid)
                        loaded = run_load(Load(node.port, lanes, seconds=seconds))
                        spent_us = (cpu_seconds(node.pid) - before_s) * 1e6
                        if turn:  # the first one warms up
                            rates[name].append(loaded.per_second)
                            costs_us[name].append(spent_us / len(loaded.latencies_s))
    return [
        Figure(
            name=name,
            value=median(rates[EDGE]),
            unit=unit,
            limit=median(rates[STANDALONE]),
            ratio_at_least=required,
        )
        for name, unit, rates, required in (
            ("fleet_read", "rows/s", one, 0.9),
            ("fleet_read.list", "lists/s", many, 0.9),
            ("fleet_read.cpu", "us of the node", one_us, None),
            ("fleet_read.list_cpu", "us of the node", many_us, None),
        )
    ]
