"""Fleet drain: what an edge has accepted while its primary was away reaches it afterwards.

Progress is read in the primary's own file, by the devices' counters: nobody is asked for it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from bench.figure import Figure
from bench.fleet_process import away, open_to_read, phones_of, served_fleet
from bench.load import Load, run_load
from bench.node_process import data_folder, database_of
from bench.phones import edits_in_turn, outcomes_of, push_requests
from sync_protocol.codec import decode_server
from sync_protocol.messages.pushed import Pushed

if TYPE_CHECKING:
    from bench.fleet_process import FleetNode, ServedFleet
    from bench.todo_rows import Device

PEOPLE = 20
ROWS = 10_000
"""Each phone has its own share of them: away from the network, people change different rows."""
CONNECTIONS = 20
DIRECT_CONNECTIONS = 8
"""As many as a drain has under way: a primary refuses pushes when too much waits for commits."""
JUDGED = "SELECT sum(counter) FROM sk_device"
LOOK_S = 0.005
AWAY_SECONDS_MAX = 20.0
DRAIN_SECONDS_MAX = 120.0


def measure(*, quick: bool) -> list[Figure]:
    few, many = ((1, 25), (2, 10)) if quick else ((1, 5_000), (50, 100))
    figures = _measured("fleet_drain", few, required=20_000)
    return figures + _measured("fleet_drain.many", many, required=None)


def _measured(name: str, sizes: tuple[int, int], *, required: float | None) -> list[Figure]:
    phones_each, per_phone = sizes
    people = [f"person-{number}" for number in range(2 * PEOPLE)]
    with data_folder() as folder, served_fleet(folder, rows=ROWS, people=len(people)) as fleet:
        edge = fleet.edges[0]
        phones = phones_of(fleet.primary, people, fleet.seen, phones_each=phones_each)
        fleet.wait_until_level()
        there, later = phones[: len(phones) // 2], phones[len(phones) // 2 :]
        count = len(later) * per_phone
        direct = _pushed(fleet.primary, there, per_phone, "merged", connections=DIRECT_CONNECTIONS)
        fleet.wait_until_level()
        before = _judged(fleet)
        with away(fleet.primary):
            _wait_until_noticed(edge)
            accepted = _pushed(edge, later, per_phone, "accepted", connections=CONNECTIONS)
            back = time.monotonic()
        progress, empty = _drained(fleet, before, count)
        if edge.metric("mutations_refused_total"):
            raise RuntimeError("the primary refused what was accepted")
    (first, already), (last, _) = progress[0], progress[-1]
    # All may come with one commit when there is little: then there is no rate after the first.
    rate = (count - already) / (last - first) if last > first else count / (last - back)
    middle = "." if "." not in name else "_"
    return [
        Figure(name=name, value=rate, unit="mutations/s", limit=direct, at_least=required),
        Figure(name=f"{name}{middle}accept", value=accepted, unit="mutations/s"),
        Figure(name=f"{name}{middle}first", value=first - back, unit="s"),
        Figure(name=f"{name}{middle}empty", value=empty - back, unit="s"),
    ]


def _pushed(
    node: FleetNode, phones: list[Device], per_phone: int, outcome: str, *, connections: int
) -> float:
    """Let each phone push once; return mutations per second, all of which had this outcome."""
    count = len(phones) * per_phone
    _, mutations = edits_in_turn(phones, count, are_rows_shared=False)
    requests = [
        push_requests(phone, own, per_push=per_phone)[0]
        for phone, own in zip(phones, mutations, strict=True)
    ]
    lanes = [requests[number::connections] for number in range(connections)]
    loaded = run_load(Load(node.port, lanes, keeps_bodies=True))
    # How long a push has waited for its turn is no matter here, so clocks are not looked at.
    counted: Counter[str] = Counter()
    for answer in loaded.bodies:
        pushed = decode_server(answer)
        assert isinstance(pushed, Pushed), "push is answered with pushed"
        counted += outcomes_of(pushed)
    if counted[outcome] != count:
        raise RuntimeError(f"of {count} mutations: {dict(counted)}")
    return count / loaded.seconds


def _wait_until_noticed(edge: FleetNode) -> None:
    deadline = time.monotonic() + AWAY_SECONDS_MAX
    while json.loads(edge.request("GET", "/health/ready"))["primary"] != "away":
        if time.monotonic() > deadline:
            raise RuntimeError("the edge does not notice that its primary is away")
        time.sleep(0.05)


def _judged(fleet: ServedFleet) -> int:
    with closing(open_to_read(database_of(fleet.primary.node.data))) as primary:
        return primary.execute(JUDGED).fetchone()[0]


def _drained(fleet: ServedFleet, before: int, count: int) -> tuple[list[tuple[float, int]], float]:
    """Return how many mutations the primary had judged at which moments, and when all was done."""
    progress: list[tuple[float, int]] = []
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    with closing(open_to_read(database_of(fleet.primary.node.data))) as primary:
        while not progress or progress[-1][1] < count:
            judged = primary.execute(JUDGED).fetchone()[0] - before
            if judged > (progress[-1][1] if progress else 0):
                progress.append((time.monotonic(), judged))
            if time.monotonic() > deadline:
                raise RuntimeError(f"of {count} mutations these were drained: {progress[-5:]}")
            time.sleep(LOOK_S)
    while fleet.edges[0].metric("outbox_mutations"):
        if time.monotonic() > deadline:
            raise RuntimeError("the outbox does not become empty")
        time.sleep(LOOK_S)
    return progress, time.monotonic()
