"""What goes wrong, each as a function of a run; `SCENARIOS` names them all.

A scenario does its harm at moments that come from the seed, while phones write, and leaves the
nodes running: what follows, and the check, is `Run.settle`.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import storms
from tests.faults.fleet import AMS, EDGES, PRIMARY, SYD
from tests.faults.proxy import Mode
from tests.faults.storms import HOUR_MS

KILLS = 3
"""Each of them is followed by a longer pause of the supervisor: the fourth costs two seconds."""
THROWN_AWAY_SECONDS_MAX = 20


@dataclass(frozen=True)
class Scenario:
    """One way of going wrong; `full_disks`: nodes that need a small file system."""

    name: str
    harm: Callable
    full_disks: tuple[str, ...] = ()

    @property
    def is_possible(self):
        """Whether this machine allows it."""
        return not self.full_disks or _can_mount()


def _killing(name, child):
    def kill(run):
        for _ in range(KILLS):
            run.wait(0.2, 1.2)
            run.kill(name, child)
            if run.moments.random() < 0.7:
                run.fleet[name].wait_until_ready()

    return kill


def _parting(*ways, mode):
    def part(run):
        run.wait(0.3, 1.2)
        for source, target in ways:
            run.tell(f"{mode.value}: {source} to {target}")
            run.network.change(source, target, mode=mode)
        run.wait(2.5, 4.5)  # an edge waits two seconds for a silent primary
        run.heal()
        run.wait(0.3, 1)

    return part


def short_outage(run):
    """The smoke test: one edge is cut off for a moment, another one's node is killed meanwhile."""
    run.wait(0.2, 0.4)
    run.part(AMS, [PRIMARY], mode=Mode.CUT)
    run.kill(SYD, "node")
    run.wait(0.8, 1.0)
    run.heal()


def slow_link(run):
    """300 ms there and back, and every fiftieth segment is lost."""
    run.part(AMS, [PRIMARY, SYD], delay_ms=150, jitter_ms=20, stall=0.02)
    run.part(SYD, [PRIMARY], delay_ms=30, jitter_ms=60, bytes_per_s=200_000)
    run.wait(3, 5)


def phones_link(run):
    """Phones lose their edge in every way there is."""
    for mode in (Mode.SWALLOW, Mode.CUT, Mode.HOLD):
        run.tell(f"{mode.value}: phones and ams")
        run.network.change("phones", AMS, both=True, mode=mode)
        run.wait(0.5, 2)
        run.heal()
        run.wait(0.3, 1)


def phones_killed(run):
    """All phones die in the middle of whatever they do, again and again."""
    run.part(SYD, [PRIMARY], delay_ms=100)
    for index in range(KILLS):
        run.wait(0.3, 1.5)
        mode = Mode.PASS if index % 2 else Mode.CUT
        run.kill_phones(lambda mode=mode: run.network.change(AMS, PRIMARY, mode=mode))


def log_reset(run):
    """The primary's sqld begins its log anew while one replica is behind."""
    for _ in range(2):
        run.part(AMS, [PRIMARY], mode=Mode.CUT)
        run.wait(0.5, 1.5)
        run.kill(PRIMARY, "sqld")
        run.wait(0.2, 1)
        run.heal()
        run.fleet[PRIMARY].wait_until_ready()
        run.wait(0.5, 1.5)


def lost_while_copied(run):
    """The primary is lost for ever while edges copy what it has begun anew."""
    run.wait(0.5, 1.5)
    for edge in EDGES:
        run.part(edge, [PRIMARY], delay_ms=150)
    before = {edge: run.fleet.replica_inode(edge) for edge in EDGES}
    run.kill(PRIMARY, "sqld")
    deadline = time.monotonic() + THROWN_AWAY_SECONDS_MAX
    while any(run.fleet.replica_inode(edge) == before[edge] for edge in EDGES):
        assert time.monotonic() < deadline, "the replicas were not thrown away"
        time.sleep(0.005)
    run.lose_primary()
    run.tell(f"whole by then: {[edge for edge in EDGES if run.fleet.is_replica_whole(edge)]}")
    run.heal()
    run.take_over()
    run.wait(0.5, 1.5)


def replica_lost(run):
    """An edge loses what it has copied, and copies it again."""
    run.wait(0.5, 1.5)
    run.fleet[AMS].stop()
    run.tell("drop the replica of ams")
    run.fleet.drop_replica(AMS)
    run.wait(0.2, 1)
    run.fleet[AMS].start()
    run.wait(1, 2)


def edge_without_primary(run):
    """An edge accepts, is killed, is started anew, accepts more; all without a primary."""
    run.wait(0.5, 1)
    run.lose(PRIMARY)
    run.wait(1.5, 2.5)
    run.tell(f"outboxes {run.fleet.outboxes()}")
    run.kill(AMS, "node")
    run.wait(2, 3)
    run.lose(SYD)
    run.fleet[SYD].start()
    run.wait(2, 3)
    run.wait_until(lambda: any(run.fleet.outboxes().values()), "something was accepted")
    run.tell(f"outboxes {run.fleet.outboxes()}, primary is back")
    run.fleet[PRIMARY].start()
    run.wait(1, 2)


def two_primaries(run):
    """An edge is made primary while the old one is only parted from it, and goes on writing."""
    run.phones.aim([run.fleet.urls[PRIMARY]], "ada-far")
    run.wait(0.5, 1)
    run.part(PRIMARY, EDGES, mode=Mode.HOLD)
    run.wait(0.5, 1.5)
    run.promote(AMS, force=True)
    run.wait(1, 2.5)
    run.agree()
    run.wait(0.5, 1.5)


def clock_jumps(run):
    """Clocks of nodes go wrong by an hour, one after the other, both ways."""
    for _ in range(4):
        name = run.moments.choice((PRIMARY, *EDGES))
        offset_ms = run.moments.choice((-HOUR_MS, HOUR_MS))
        run.set_clock(name, offset_ms)
        run.wait(0.7, 1.5)
        run.wait_until(
            lambda name=name, offset_ms=offset_ms: (
                abs(run.fleet.clock_offset_ms(name) - offset_ms) < HOUR_MS / 60
            ),
            f"the clock of {name} is wrong",
        )
        run.set_clock(name, 0)
        run.wait(0.3, 1)


def edge_disk_full(run):
    """An edge without a primary has no room left; it refuses, and phones keep what they have."""
    run.part(AMS, [PRIMARY], mode=Mode.CUT)
    run.wait(1, 2)
    run.tell(f"fill the disk of ams, outboxes {run.fleet.outboxes()}")
    run.fleet.fill_disk(AMS)
    run.wait(2, 3)
    run.fleet.free_disk(AMS)
    run.wait(0.5, 1)
    run.heal()


def primary_disk_full(run):
    """The primary has no room left; edges accept meanwhile, or phones wait."""
    run.wait(0.5, 1)
    run.tell("fill the disk of the primary")
    run.fleet.fill_disk(PRIMARY)
    run.wait(2, 4)
    run.tell("free it")
    run.fleet.free_disk(PRIMARY)
    run.wait(1, 2)


def edge_lost(run):
    """An edge is gone for ever with a full outbox; its phones go elsewhere."""
    run.wait(0.5, 1)
    run.part(AMS, [PRIMARY, SYD], mode=Mode.CUT)
    run.wait(0.5, 1.5)
    run.wait_until(lambda: run.fleet.outboxes()[AMS], "something was accepted")
    run.tell(f"outboxes {run.fleet.outboxes()}")
    run.lose(AMS, for_ever=True)
    run.wait(0.2, 1)
    for phone in ("ada-ams", "ben-ams"):
        run.phones.aim([run.fleet.urls[SYD]], phone)
    run.phones.aim([run.fleet.urls[PRIMARY], run.fleet.urls[SYD]], "ada-far")
    run.fleet[PRIMARY].run("node", "remove", AMS)
    run.wait(1, 2)


def roaming(run):
    """Phones change the region at every request, while edges come and go."""
    everywhere = [run.fleet.urls[name] for name in (AMS, SYD, PRIMARY)]
    for phone in ("ada-ams", "ben-syd", "ada-far"):
        run.phones.aim(everywhere, phone)
    for name in EDGES:
        run.wait(1, 2)
        run.part(name, [PRIMARY], mode=Mode.CUT)
        run.wait(1, 2)
        run.heal()


def hand_over(run):
    """The primary hands over, and gets it back, under load."""
    run.wait(0.5, 1.5)
    run.hand_over(AMS)
    run.wait(1, 2)
    run.fleet.wait_until_ready()
    run.hand_over(PRIMARY)
    run.wait(0.5, 1)


def primary_lost(run):
    """The primary is lost for ever under load; an edge takes over."""
    run.wait(1, 2)
    run.lose_primary()
    run.wait(0.5, 2)
    run.take_over()
    run.wait(1, 2)


def two_promoted(run):
    """The primary is lost, and both edges are promoted while they cannot hear each other."""
    run.wait(0.5, 1)
    run.lose_primary()
    # A phone whose requests go to two primaries in turn may take one's receipt for the other's.
    run.phones.aim([run.fleet.urls[SYD]], "ada-far")
    run.part(AMS, [SYD], mode=Mode.CUT)
    for name in (SYD, AMS):
        run.promote(name, force=True)
    run.wait(0.5, 1)
    run.agree()
    run.wait(0.5, 1)


def _can_mount():
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "probe", folder],
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return tried.returncode == 0


_ALL = (
    Scenario("short_outage", short_outage),
    *(
        Scenario(f"kill_{name.replace('-', '_')}_{child}", _killing(name, child))
        for name in (PRIMARY, AMS)
        for child in ("node", "sqld")
    ),
    Scenario("requests_lost", _parting((AMS, PRIMARY), mode=Mode.SWALLOW)),
    Scenario("answers_lost", _parting((PRIMARY, AMS), mode=Mode.SWALLOW)),
    Scenario("half_open", _parting((AMS, PRIMARY), (PRIMARY, AMS), mode=Mode.SWALLOW)),
    Scenario("partition", _parting((AMS, PRIMARY), (PRIMARY, AMS), mode=Mode.HOLD)),
    Scenario("cut", _parting((AMS, PRIMARY), (SYD, PRIMARY), mode=Mode.CUT)),
    *(
        Scenario(harm.__name__, harm)
        for harm in (
            slow_link,
            phones_link,
            phones_killed,
            log_reset,
            lost_while_copied,
            replica_lost,
            edge_without_primary,
            two_primaries,
            clock_jumps,
            edge_lost,
            roaming,
            hand_over,
            primary_lost,
            two_promoted,
            storms.phone_clocks,
            storms.phones_copied,
            storms.phone_lost,
            storms.roles_changed,
            storms.keys_rotated,
            storms.edges_come_and_go,
            storms.storm,
            storms.storm_without_primary,
            storms.storm_with_hand_overs,
        )
    ),
    Scenario("edge_disk_full", edge_disk_full, full_disks=(AMS,)),
    Scenario("primary_disk_full", primary_disk_full, full_disks=(PRIMARY,)),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
