"""A replica that stands still while its primary goes on has its sqld started anew, and no other."""

import json
import os
import subprocess
import sys

import pytest

from edge.services.fleet.lag import SILENCE_MS_MAX, Lag, Position
from edge.workers.replica_watch import RESTART_EVERY_S, STALL_S, ReplicaWatch


class World:
    """A lag, a watch, a clock, and a child that stands for sqld."""

    def __init__(self, data, sqld):
        self.now_s = 100.0
        self.lag = Lag(lambda: int(self.now_s * 1_000))
        self.reached = {}
        self.sqld = sqld
        clock = {"clock": lambda: self.now_s}
        self.watch = ReplicaWatch(self.lag, data, positions=lambda: self.reached, **clock)

    def primary_has(self, sequence):
        self.lag.heard({"main": Position("d", sequence)}, at_ms=int(self.now_s * 1_000))

    def replica_has(self, sequence):
        self.reached["main"] = ("d", sequence)
        self.lag.reached("main", Position("d", sequence))

    def pass_s(self, seconds, *, sequence=None):
        """Let time pass, with a report every second while the primary answers."""
        for _ in range(round(seconds)):
            self.now_s += 1
            if sequence is not None:
                self.primary_has(sequence)
            self.watch.look()


@pytest.fixture
def world(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as sqld:
        pids = {"supervisor": os.getppid(), "sqld": sqld.pid, "node": os.getpid()}
        (tmp_path / "processes.json").write_text(json.dumps(pids))
        made = World(tmp_path, sqld)
        made.primary_has(5)
        made.replica_has(5)
        yield made
        sqld.kill()


def test_a_replica_that_stands_still_is_started_anew_once(world):
    world.pass_s(STALL_S - 1, sequence=6)
    assert world.watch.restarts == 0
    world.pass_s(2, sequence=7)
    assert world.watch.restarts == 1
    assert world.sqld.wait(10) < 0
    world.pass_s(RESTART_EVERY_S - 2, sequence=8)
    assert world.watch.restarts == 1


def test_a_replica_that_moves_is_left_alone_however_late(world):
    for sequence in range(6, 40):
        world.pass_s(1, sequence=1_000)
        world.replica_has(sequence)
    assert world.watch.restarts == 0


def test_a_level_replica_is_left_alone(world):
    world.pass_s(3 * STALL_S, sequence=5)
    assert world.watch.restarts == 0


def test_without_a_primary_nothing_is_expected(world):
    world.primary_has(9)
    world.now_s += SILENCE_MS_MAX / 1_000
    world.pass_s(3 * STALL_S)
    assert world.watch.restarts == 0


def test_another_supervisors_sqld_is_left_alone(world, tmp_path):
    pids = {"supervisor": os.getpid(), "sqld": world.sqld.pid, "node": 1}
    (tmp_path / "processes.json").write_text(json.dumps(pids))
    world.pass_s(2 * STALL_S, sequence=9)
    assert world.watch.restarts == 0
    assert world.sqld.poll() is None
