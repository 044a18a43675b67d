"""The simulator repeats itself, does something, and its disks and networks fail as they promise."""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.plan import Action, Plan
from tests.simulation.shrink import shrunk

ROOT = Path(__file__).resolve().parents[2]
REGRESSIONS = sorted(Path(__file__).with_name("regressions").glob("*.json"))
SECONDS_MAX = 600
SEEDS = range(1, 5)
LAST = SEEDS[2]
"""The seed that is run in a fresh process, and in a copy of one that has simulated another."""
STATISTICS_MIN = {
    "mutations": 400,
    "merged": 300,
    "views": 500,
    "accepted by an edge": 40,
    "conflicts told": 10,
    "deletes": 10,
    "superseded": 10,
    "rejected": 20,
    "restored away": 1,
    "revivals": 5,
    "spaces lost": 1,
    "phones compared": 8,
    "nodes compared": 4,
}
"""What so few seeds hold at least: a half or less of what they did when this was written."""
HAPPENED = ("offline", "part", "clock", "crash", "kill", "disk-full", "restore")
DUPLICATES_MIN = 3
HAPPENING = {
    "edge-power-lost": Counter({"part": 1, "crash": 3, "power": 3}),
    "phone-backup-after-hand-over": Counter({"hand-over": 1, "restore-phone": 1}),
    "primary-backup-while-outbox-waits": Counter({"part": 1, "restore": 1}),
}
"""What the history tells of the plans that were put together by hand."""
COUNTING = f"""
from tests.simulation import clock, substitutions
from tests.simulation.command import many
import json
substitutions.install()
print(json.dumps(list(many(range({SEEDS.start}, {SEEDS.stop}), jobs=1))))
"""
"""Runs the seeds, and tells more of each than the command's report does."""


def python(*arguments, hash_seed="random"):
    """Run Python in a process of its own: the simulator replaces the clock."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed}, timeout=SECONDS_MAX,
    )  # fmt: skip


def simulated(*arguments, **named):
    """Run the command; returns what it printed, which must be that nothing is wrong."""
    done = python("-m", "tests.simulation", "--no-shrink", *map(str, arguments), **named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is wrong" in done.stdout
    return done.stdout


def digest_in(text):
    return text.partition(", trace ")[2].split()[0]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report on all seeds, run one after the other in one process."""
    path = tmp_path_factory.mktemp("report") / "report.json"
    simulated(
        "--seed", SEEDS.start, "--runs", len(SEEDS), "--jobs", 1, "--report", path, hash_seed="77"
    )
    return json.loads(path.read_text())


# --- whole runs ----------------------------------------------------------------------------------


def test_a_seed_gives_the_same_trace_alone_and_behind_others(report):
    alone = digest_in(simulated("--seed", LAST, hash_seed="1"))
    assert len(alone) == 16
    assert report["digests"][str(LAST)] == alone


def test_every_seed_gives_a_trace_of_its_own(report):
    assert set(report["digests"]) == {str(seed) for seed in SEEDS}
    assert len(set(report["digests"].values())) == len(SEEDS)


def test_runs_hold_enough_of_everything(report):
    assert report["failed"] == []
    assert report["mutations_min"] >= 50
    found = report["statistics"]
    assert {name: found.get(name) for name, least in STATISTICS_MIN.items()
            if found.get(name, 0) < least} == {}  # fmt: skip


def test_faults_and_duplicates_happen(report):
    done = python("-c", COUNTING, hash_seed="0")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert {str(run["seed"]): run["digest"] for run in runs} == report["digests"]
    counts = Counter()
    for run in runs:
        counts.update(run["counts"])
    assert [what for what in HAPPENED if not counts[what]] == []
    assert counts["repeated"] >= DUPLICATES_MIN
    assert counts["swallowed"] + counts["reset"] > 0
    assert counts["requests"] > 50 * len(runs)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_once_mattered_stays_right(path, tmp_path):
    trace = tmp_path / "trace"
    simulated("--plan", path, "--trace", trace)
    happened = Counter(
        event["what"]
        for event in map(json.loads, trace.read_text().splitlines())
        if event["e"] in ("fault", "operator")
    )
    assert HAPPENING.get(path.stem, Counter()) <= happened


def test_the_plans_put_together_by_hand_are_there():
    assert {path.stem for path in REGRESSIONS} >= HAPPENING.keys()


# --- shrinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 1), (0, 49), (17, 18), (3, 31), (48, 49)])
def test_shrinking_leaves_the_two_actions_that_fail_together(pair):
    actions = tuple(Action(number / 10, "write", f"phone-{number}") for number in range(50))
    wanted = [actions[number] for number in pair]

    def fails(plan):
        return all(action in plan.actions for action in wanted)

    small, tries = shrunk(Plan(1, (), (), {}, (), actions), fails)
    assert list(small.actions) == wanted
    assert 0 < tries <= 160


def test_shrinking_stops_after_so_many_tries():
    actions = tuple(Action(number / 10, "write") for number in range(50))
    tried = []

    def fails(plan):
        tried.append(plan)
        assert len(tried) < 100
        return False

    small, tries = shrunk(Plan(1, (), (), {}, (), actions), fails, tries_max=7)
    assert (small.actions, tries, len(tried)) == (actions, 7, 7)


# --- a world without a fleet ---------------------------------------------------------------------

REPLACED = [
    *((time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns")),
    *((time, name) for name in ("perf_counter", "perf_counter_ns")),
    *((os, "urandom"), (random, "_urandom"), (sqlite3, "connect")),
]
"""What the simulator's modules replace as they are imported, and these tests' process keeps."""


@pytest.fixture(scope="module")
def new_world():
    with pytest.MonkeyPatch.context() as kept:
        for owner, name in REPLACED:
            kept.setattr(owner, name, getattr(owner, name))
        from tests.simulation.world import World
    return World


@pytest.fixture
def world(new_world, tmp_path):
    with new_world(tmp_path, 1, None) as world:
        yield world


def machine_of(world, name):
    from tests.simulation.process import Machine, Process

    class Box(Machine):
        """A computer with one process; what it serves, if anything, is in `app`."""

        app: Any = None
        process: Any = None

        def power_off(self, process, images):
            process.kill(is_power_lost=True, images=images)

        def listener(self, _door):
            from tests.simulation.node import Served

            return None if self.app is None else Served(self.process, self.app)

    machine = world.add_machine(Box(world, name))
    machine.process = Process(machine, f"{name}/app")
    world.processes.append(machine.process)
    return machine


# --- disks ---------------------------------------------------------------------------------------

SYNCED, UNSYNCED = 8, 8
SIZE_BYTES = 3_000


class Database:
    """A database of a simulated process, in which every commit adds a row."""

    def __init__(self, machine):
        from tests.simulation import disk

        self.path = machine.folder / "some.db"
        self.log = machine.folder / "some.db-wal"
        self._machine = machine
        self._connection = self._as_process(disk._connect, self.path, isolation_level=None)
        self._do("PRAGMA journal_mode = WAL")
        self._do("PRAGMA wal_autocheckpoint = 0")
        self._do("PRAGMA synchronous = FULL")
        self._do("CREATE TABLE numbers (number INTEGER PRIMARY KEY, filling BLOB)")

    def _as_process(self, work, *arguments, **named):
        return self._machine.process.run(lambda: work(*arguments, **named))

    def _do(self, *statement):
        self._as_process(self._connection.execute, *statement)

    def commit(self, number):
        self._do("BEGIN IMMEDIATE")
        self._do("INSERT INTO numbers VALUES (?, randomblob(?))", (number, SIZE_BYTES))
        self._do("COMMIT")

    def stop_syncing(self):
        self._do("PRAGMA synchronous = NORMAL")

    def numbers(self):
        """Return what another process finds in the file, which must be whole."""
        connection = sqlite3.connect(self.path)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return [n for (n,) in connection.execute("SELECT number FROM numbers ORDER BY number")]
        finally:
            connection.close()


def filled(machine):
    """Return a database with some synced commits and then some others, and its log after each."""
    database = Database(machine)
    for number in range(SYNCED):
        database.commit(number)
    synced = database.log.read_bytes()
    database.stop_syncing()
    for number in range(SYNCED, SYNCED + UNSYNCED):
        database.commit(number)
    return database, synced, database.log.read_bytes()


def test_a_lost_power_takes_what_was_not_synced_or_tears_it(new_world, tmp_path):
    lefts, torn = [], 0
    for seed in range(16):
        with new_world(tmp_path / str(seed), seed, None) as world:
            machine = machine_of(world, "box")
            database, synced, written = filled(machine)
            machine.process.kill(is_power_lost=True)
            log = database.log.read_bytes()
            assert log[: len(synced)] == synced
            assert len(log) <= len(written)
            torn += log != written[: len(log)]
            numbers = database.numbers()
            assert numbers == list(range(len(numbers)))  # commits are lost from the end
            lefts.append(len(numbers))
    assert min(lefts) >= SYNCED
    assert len(set(lefts)) > 3, "how much is lost is a matter of chance"
    assert min(lefts) < SYNCED + UNSYNCED // 2
    assert torn, "now and then the last sector that was written holds garbage"


def test_a_killed_process_loses_no_commit(world):
    machine = machine_of(world, "box")
    database, _, written = filled(machine)
    machine.process.kill()
    assert database.log.read_bytes() == written
    assert database.numbers() == list(range(SYNCED + UNSYNCED))


@pytest.mark.parametrize("is_killed", [True, False])
def test_who_asks_a_process_hears_of_its_end(world, is_killed):
    async def end(process):
        await asyncio.sleep(1.0)
        if is_killed:
            process.kill()
        else:
            await process.finish()

    async def ask(process):
        assert await process.ask(asyncio.sleep(0.5, "told")) == "told"
        assert not process.ended
        await process.ask(asyncio.sleep(60.0))

    async def live():
        process = machine_of(world, "box").process
        ended, asked = await asyncio.gather(end(process), ask(process), return_exceptions=True)
        assert ended is None
        assert isinstance(asked, ConnectionResetError), asked

    world.run(live(), seconds_max=60)


def test_a_doomed_commit_is_whole_or_absent(new_world, tmp_path):
    from tests.simulation.process import ProcessKilled

    lefts = set()
    for seed in range(24):
        with new_world(tmp_path / str(seed), seed, None) as world:
            from tests.simulation.disk import Doom

            machine = machine_of(world, "box")
            database = Database(machine)
            for number in range(SYNCED):
                database.commit(number)
            machine.doom = Doom("other")
            database.commit(SYNCED)
            machine.doom = Doom("some")
            with pytest.raises(ProcessKilled):
                database.commit(SYNCED + 1)
            assert machine.process.is_dead
            numbers = database.numbers()
            assert numbers == list(range(len(numbers)))
            lefts.add(len(numbers))
    assert SYNCED + 1 in lefts
    assert lefts <= {SYNCED + 1, SYNCED + 2}


def test_a_full_disk_refuses_commits(world):
    machine = machine_of(world, "box")
    database = Database(machine)
    database.commit(0)
    machine.is_disk_full = True
    with pytest.raises(sqlite3.OperationalError, match="full"):
        database.commit(1)
    machine.process.kill()
    assert database.numbers() == [0]


# --- the network ---------------------------------------------------------------------------------


class Telling:
    """Two machines: what `near` sends, `far` tells back; `heard` is what has come to it."""

    def __init__(self, world):
        self.world, self.network = world, world.network
        self.near, self.far = machine_of(world, "near"), machine_of(world, "far")
        self.heard = []
        self.far.app = self._serve

    async def _serve(self, scope, receive, send):
        if scope["type"] == "http":
            self.heard.append((await receive())["body"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.heard[-1]})
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            self.heard.append(event["bytes"])
            await send({"type": "websocket.send", "bytes": event["bytes"]})

    def weather(self, mode):
        from tests.simulation.network import Mode

        self.network.change("near", "far", both=True, mode=Mode(mode))

    def heal_in(self, seconds):
        self.world.later(seconds, lambda: self.network.heal("near", "far"))

    async def ask(self, body, *, seconds=20.0):
        from tests.simulation.network import Request

        async with asyncio.timeout(seconds):
            request = Request("POST", "/", [], body)
            return (await self.network.ask(self.near, "far", "public", request)).body

    async def connect(self):
        return await self.network.stream(self.near, "far", "public", {"type": "websocket"})


@pytest.fixture
def two(world):
    return Telling(world)


def test_what_is_held_on_a_stream_arrives_in_order_after_healing(two):
    async def live():
        stream = await two.connect()
        two.weather("hold")
        for number in range(20):
            await stream.send(b"%d" % number)
        await asyncio.sleep(5)
        assert two.heard == []
        two.heal_in(1.0)
        return [await stream.receive() for _ in range(20)]

    assert two.world.run(live(), seconds_max=60) == [b"%d" % number for number in range(20)]
    assert two.world.now_ms > 6_000


@pytest.mark.parametrize("healed_after_ms", range(900, 960, 20))
def test_what_is_sent_while_others_are_held_does_not_overtake_them(two, healed_after_ms):
    two.network.usual("near", "far", delay_ms=1, jitter_ms=400)

    async def live():
        stream = await two.connect()
        two.weather("hold")
        two.heal_in(healed_after_ms / 1_000)
        for number in range(20):
            await stream.send(b"%d" % number)
            await asyncio.sleep(0.1)
        return [await stream.receive() for _ in range(20)]

    assert two.world.run(live(), seconds_max=60) == [b"%d" % number for number in range(20)]


def test_requests_that_are_held_are_all_answered_after_healing(two):
    async def live():
        two.weather("hold")
        asked = [asyncio.create_task(two.ask(b"%d" % number)) for number in range(20)]
        await asyncio.sleep(5)
        assert two.heard == []
        two.heal_in(1.0)
        return await asyncio.gather(*asked)

    assert two.world.run(live(), seconds_max=60) == [b"%d" % number for number in range(20)]
    assert sorted(two.heard) == sorted(b"%d" % number for number in range(20))


def test_a_cut_is_an_error_for_requests_and_for_open_streams(two):
    from tests.simulation.network import Broken

    async def live():
        stream = await two.connect()
        two.weather("cut")
        with pytest.raises(Broken):
            await stream.receive()
        with pytest.raises(Broken):
            await stream.send(b"1")
        with pytest.raises(Broken):
            await two.ask(b"2")
        with pytest.raises(Broken):
            await two.connect()
        two.network.heal("near", "far")
        return await two.ask(b"3")

    assert two.world.run(live(), seconds_max=60) == b"3"
    assert two.heard == [b"3"]


def test_a_cut_resets_a_request_that_is_being_served(two):
    from tests.simulation.network import Broken

    async def serve(_scope, _receive, _send):
        await asyncio.sleep(10)

    async def live():
        two.far.app = serve
        two.world.later(1.0, lambda: two.weather("cut"))
        with pytest.raises(Broken):
            await two.ask(b"1")

    two.world.run(live(), seconds_max=60)
    assert 1_000 <= two.world.now_ms < 1_100


def test_what_is_swallowed_is_lost_without_an_error(two):
    from tests.simulation.network import PING_S, Broken

    async def live():
        stream = await two.connect()
        two.weather("swallow")
        await stream.send(b"1")
        with pytest.raises(TimeoutError):
            await two.ask(b"2", seconds=15)
        two.network.heal("near", "far")
        await stream.send(b"3")  # behind what was lost: a stream has no gaps
        assert not stream.is_over
        with pytest.raises(Broken):
            await stream.receive()

    two.world.run(live(), seconds_max=120)
    assert two.heard == []
    assert two.network.counts["swallowed"] == 2
    assert two.world.now_ms >= PING_S * 1_000


def test_a_repeated_request_is_served_twice_and_answered_once(two):
    async def live():
        two.network.change("near", "far", again=1.0)
        answer = await two.ask(b"1")
        await asyncio.sleep(5)
        return answer

    assert two.world.run(live(), seconds_max=60) == b"1"
    assert two.heard == [b"1", b"1"]
    assert two.network.counts["repeated"] == 1


# --- nodes ---------------------------------------------------------------------------------------


@pytest.fixture
def short_lived(new_world, tmp_path):
    """A node whose processes end in a moment when they are told to, each in another role."""
    from core.fleet import Role
    from edge.workers.role_file import NodeRole, RoleFile
    from tests.simulation.node import FleetNode

    class ShortLived(FleetNode):
        begun = 0

        async def _live(self, process, _settings, _role):
            self.begun += 1
            await process.leaving.wait()
            await asyncio.sleep(0.5)
            role = NodeRole(Role.EDGE, self.begun, "http://a:1", "http://a:2", "a")
            RoleFile(self.folder).write(role)
            process.has_changed_role = True
            await process.finish()

    with new_world(tmp_path, 1, None) as world:
        yield world.add_machine(ShortLived(world, "edge", "", role="edge"))


def running(node):
    return [p for p in node.world.processes if p.name == "edge/node" and not p.is_dead]


def test_a_node_that_changes_its_role_while_it_stops_is_not_started_again(short_lived):
    async def live():
        short_lived.start()
        await asyncio.sleep(1)
        await short_lived.stop()
        await asyncio.sleep(5)
        assert running(short_lived) == []

    short_lived.world.run(live(), seconds_max=60)
    assert short_lived.begun == 1


def test_a_node_that_two_stop_at_once_runs_once_afterwards(short_lived):
    async def stop_and_start():
        await short_lived.stop()
        short_lived.start()

    async def live():
        short_lived.start()
        await asyncio.sleep(1)
        await asyncio.gather(stop_and_start(), stop_and_start())
        await asyncio.sleep(5)
        assert running(short_lived) == [short_lived.process]

    short_lived.world.run(live(), seconds_max=60)
