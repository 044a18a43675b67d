"""Fleet fan-out: a phone in one region edits, streams in another region are told."""

from __future__ import annotations

import asyncio

from bench.fanout import PUSHERS, STREAMS_PER_PERSON, told
from bench.figure import Figure
from bench.fleet_process import phones_of, served_fleet
from bench.node_process import data_folder

REGIONS = ("ams", "syd")


def measure(*, quick: bool) -> list[Figure]:
    streams, per_second, seconds = (10, 20, 0.5) if quick else (100, 20, 10)
    people = max(streams // STREAMS_PER_PERSON, PUSHERS)
    with (
        data_folder() as folder,
        served_fleet(folder, rows=100, people=people, regions=REGIONS) as fleet,
    ):
        near, far = fleet.edges
        devices = phones_of(near, [f"person-{number}" for number in range(PUSHERS)], fleet.seen)
        tokens = [far.token(f"person-{number % people}") for number in range(streams)]
        fleet.wait_until_level()
        found = asyncio.run(
            told(near, devices, far, tokens, changes=int(per_second * seconds), rate=per_second)
        )
    if found["lost"] or found["pulls"]:
        raise RuntimeError(f"changes were lost: {found}")
    return [
        Figure(name="fleet_fanout", value=found["p99_ms"], unit="ms (p99)", at_most=80),
        Figure(name="fleet_fanout.p50", value=found["p50_ms"], unit="ms"),
        Figure(name="fleet_fanout.max", value=found["max_ms"], unit="ms"),
        Figure(name="fleet_fanout.lost", value=found["lost"], unit="changes", at_most=0),
    ]
