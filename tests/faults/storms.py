"""Harm that is mixed by the seed, and harm to phones, members, keys and the list of nodes."""

from tests.faults.fleet import AMS, NRT, PRIMARY, SYD
from tests.faults.proxy import Mode
from tests.faults.survey import GUEST, MEMBER, NORTH, SOUTH

SECOND_MS, HOUR_MS = 1_000, 3_600_000
STEPS = 9
"""Of a storm: some eight seconds of it, kills of the phones included."""
KILLS_MAX = 2
"""Of one child in one storm: a third one costs a pause of the supervisor's."""
COPIED, COPY = "ben-syd", "ben-copy"
SET_BACK = "ada-ams"
PHONES = ("ada-ams", "ben-ams", "ben-syd", "cid-syd", "ada-far")
OFFSETS_MS = (
    -24 * HOUR_MS,
    -HOUR_MS,
    -10 * SECOND_MS,
    0,
    3 * SECOND_MS,
    10 * SECOND_MS,
    HOUR_MS,
    24 * HOUR_MS,
)


def phone_clocks(run):
    """Phones' clocks jump by seconds, hours and days, both ways."""
    for _ in range(7):
        run.wait(0.2, 0.8)
        _wrong_phone_clock(run)


def phones_copied(run):
    """One phone is set back to an old copy of its file, another one's file wakes up twice."""
    run.wait(0.5, 1)
    run.copy_phones(_backing_up(run))
    run.wait(0.7, 1.5)
    run.copy_phones(_cloning(run), lambda: run.phones.restore(SET_BACK))
    run.wait(1, 2)


def phone_lost(run):
    """A phone is gone for ever in the middle of whatever it did."""
    run.part(SYD, [PRIMARY], mode=Mode.CUT)
    run.wait(1, 2)
    run.kill_phones(lambda: run.phones.lose(COPIED))
    run.heal()
    run.wait(0.5, 1)


def roles_changed(run):
    """People become guests and members again, leave a space and come back."""
    for _ in range(7):
        run.wait(0.2, 0.7)
        _other_role(run)


def keys_rotated(run):
    """The primary signs with another key, while phones go from node to node."""
    everywhere = [run.fleet.urls[name] for name in (AMS, SYD, PRIMARY)]
    for phone in ("ada-ams", "ben-syd", "ada-far"):
        run.phones.aim(everywhere, phone)
    for _ in range(3):
        run.wait(0.2, 0.6)
        run.rotate_keys(PRIMARY)


def edges_come_and_go(run):
    """A node joins and takes over the phones of another one, which is taken out."""
    run.wait(0.2, 0.6)
    run.add_edge(NRT)
    for phone in ("ben-syd", "cid-syd"):
        run.phones.aim([run.fleet.urls[NRT]], phone)
    run.phones.aim([run.fleet.urls[name] for name in (AMS, NRT, PRIMARY)], "ada-far")
    run.wait(0.5, 1)
    run.remove_edge(SYD)
    run.wait(0.5, 1)


def storm(run):
    """Anything that passes again, one harm after the other, some of it at once."""
    _rage(run, steps=STEPS)


def storm_without_primary(run):
    """A storm, in which the primary is lost for ever and an edge takes over."""
    _rage(run, steps=STEPS // 3)
    run.heal()
    run.lose_primary()
    run.take_over()
    _rage(run, steps=STEPS // 3)


def storm_with_hand_overs(run):
    """A storm, in which the primary hands over, and gets it back."""
    for name in (AMS, PRIMARY):
        _rage(run, steps=STEPS // 4)
        run.heal()
        run.fleet.wait_until_ready()
        run.hand_over(name)
    _rage(run, steps=STEPS // 4)


def _rage(run, *, steps):
    for _ in range(steps):
        run.moments.choice(HARMS)(run)
        run.wait(0.1, 0.7)
        if run.moments.random() < 0.4:
            run.heal()


def _kill(run):
    name = run.moments.choice(run.fleet.names)
    child = run.moments.choice(("node", "sqld"))
    key = f"{child} of {name}"
    if run.killed[key] < KILLS_MAX:
        run.killed[key] += 1
        run.kill(name, child)


def _part(run):
    one, other = run.moments.sample([*run.fleet.names, "phones"], 2)
    mode = run.moments.choice((Mode.HOLD, Mode.SWALLOW, Mode.CUT))
    run.part(one, [other], mode=mode, both=run.moments.random() < 0.6)


def _slow(run):
    one, other = run.moments.sample([*run.fleet.names, "phones"], 2)
    run.part(one, [other], delay_ms=run.moments.choice((20, 150)), jitter_ms=50, stall=0.02)


def _wrong_clock(run):
    name = run.moments.choice(run.fleet.names)
    run.set_clock(name, run.moments.choice((-HOUR_MS, -SECOND_MS, 0, SECOND_MS, HOUR_MS)))


def _wrong_phone_clock(run):
    run.set_phone_clock(run.moments.choice(PHONES), run.moments.choice(OFFSETS_MS))


def _kill_phones(run):
    run.kill_phones()


def _copy_phones(run):
    """Keep a phone's file, put an old one back, or copy one."""
    run.copy_phones(run.moments.choice((_backing_up, _restoring, _cloning))(run))


def _other_role(run):
    space = run.moments.choice((NORTH, SOUTH, SOUTH))
    roles = (MEMBER, MEMBER, GUEST) if space == NORTH else (MEMBER, MEMBER, GUEST, None, None)
    run.set_role(space, run.moments.choice(("ben", "cid")), run.moments.choice(roles))


def _nothing(_run):
    return lambda: None


def _backing_up(run):
    return lambda: run.phones.back_up(SET_BACK)


def _restoring(run):
    if not run.phones.has_backup(SET_BACK):
        return _backing_up(run)
    return lambda: run.phones.restore(SET_BACK)


def _cloning(run):
    if COPY in run.phones.names:
        return _nothing(run)
    return lambda: run.phones.clone(COPIED, COPY, [run.fleet.urls[run.fleet.leader]])


HARMS = (
    _kill,
    _kill,
    _part,
    _part,
    _slow,
    _wrong_clock,
    _wrong_phone_clock,
    _kill_phones,
    _copy_phones,
    _other_role,
)
