"""Fleet push: the load of push_merge through an edge, straight to its primary, and standalone."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from bench.figure import Figure
from bench.fleet_process import phones_of, served_fleet
from bench.load import Load, run_load
from bench.node_process import NodeProcess, data_folder
from bench.phones import edits_in_turn, outcomes, prepare, push_requests, require_all_merged

if TYPE_CHECKING:
    from bench.todo_rows import Device

DEVICES = 10
EDGE, DIRECT, STANDALONE = "edge", "direct", "standalone"
TURNS = 3


def measure(*, quick: bool) -> list[Figure]:
    rows, count, per_push = (200, 1_000, 50) if quick else (10_000, 30_000, 1_000)
    people = [f"person-{number}" for number in range(2 * DEVICES)]
    with data_folder() as folder:
        alone = folder / "standalone"
        seen = prepare(alone, rows=rows, people=DEVICES)
        with (
            served_fleet(folder / "fleet", rows=rows, people=len(people)) as fleet,
            NodeProcess(alone) as node,
        ):
            edge = fleet.edges[0]
            ways = {
                EDGE: (edge.port, phones_of(edge, people[:DEVICES], fleet.seen)),
                DIRECT: (
                    fleet.primary.port,
                    phones_of(fleet.primary, people[DEVICES:], fleet.seen),
                ),
                STANDALONE: (node.port, phones_of(node, people[:DEVICES], seen)),
            }
            fleet.wait_until_level()
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(1 if quick else TURNS):
                for name in list(ways)[:: -1 if turn % 2 else 1]:
                    rates[name].append(_rate(*ways[name], count, per_push=per_push, seed=turn))
                    fleet.wait_until_level()
            if edge.metric("outbox_mutations"):
                raise RuntimeError("the primary was not there all the time")
    edge_rate, direct, standalone = (median(rates[name]) for name in ways)
    return [
        Figure(
            name="fleet_push", value=edge_rate, unit="changes/s", limit=direct, ratio_at_least=0.7
        ),
        Figure(name="fleet_push.direct", value=direct, unit="changes/s", limit=standalone),
    ]


def _rate(port: int, devices: list[Device], count: int, *, per_push: int, seed: int) -> float:
    _, mutations = edits_in_turn(devices, count, seed=seed)
    lanes = [
        push_requests(device, own, per_push=per_push)
        for device, own in zip(devices, mutations, strict=True)
    ]
    loaded = run_load(Load(port, lanes, keeps_bodies=True))
    require_all_merged(outcomes(loaded.bodies), count)
    return count / loaded.seconds
