"""What either side may say, built from a tape: well-formed messages with any content."""

from __future__ import annotations

from typing import Final

import msgspec

from sync_protocol import limits
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.fault import Fault, Request
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from tests.fuzz.tape import Tape
from tests.sync_protocol.samples import DIGEST, space_rows

SPACES: Final = ("s", "t", "u")
FAULTS: Final = tuple(FaultKind)
ANSWERS: Final[tuple[Request | None, ...]] = (None, "hello", "push", "pull", "repair")
DEVICES: Final = (2, 3, 0, 1)
DIGESTS: Final = {"c": [DIGEST] * limits.BUCKETS}
ROWS: Final = space_rows()


def cursor(tape: Tape) -> Cursor:
    """A cursor of one of two databases."""
    backfill = Backfill(9, tape.number()) if tape.flag() else None
    return Cursor(tape.pick(("db", "other")), tape.number(), backfill)


def hello(tape: Tape) -> Hello:
    """A device's greeting, on its first sync or a later one."""
    held = cursor(tape) if tape.flag() else None
    return Hello(1, "a", 1, "f", "i", 1, tape.number(), held)


def client_message(tape: Tape, device: int) -> ClientMessage:
    """What a device asks; mostly in its own name."""
    n = tape.pick((device, device, device, device + 1))
    kind = tape.byte() % 4
    if kind == 0:
        return hello(tape)
    if kind == 1:
        return Push(n, 1, 1, [msgspec.Raw(b"\xc0")])
    if kind == 2:
        return Pull(n, 1, cursor(tape) if tape.flag() else None)
    return Repair(n, 1, tape.pick(SPACES), DIGESTS)


def fault(tape: Tape) -> Fault:
    """Any fault, answering anything."""
    kind, answers = tape.pick(FAULTS), tape.pick(ANSWERS)
    after_ms = tape.number() if tape.flag() else None
    return Fault(kind, "f", after_ms, answers, tape.number() if tape.flag() else None)


def poke(tape: Tape) -> Poke:
    """Changes, news, or a poke that wants a pull."""
    since = tape.number()
    return Poke(
        since,
        since if tape.flag() else tape.number(),
        pull=tape.flag(),
        spaces=[ROWS] if tape.flag() else [],
        digests={tape.pick(SPACES): DIGEST} if tape.flag() else {},
        merged_through=tape.number(),
        replicated=tape.number(),
        provisional=provisional(tape).mutations if tape.flag() else None,
    )


def provisional(tape: Tape) -> Provisional:
    """A set of provisional mutations, told apart by its counters."""
    change = WireChange("c", "r")
    return Provisional([ProvisionalMutation(3, tape.byte(), 1, [change])] if tape.flag() else [])


def page(tape: Tape) -> Page:
    """A page, in the middle of a round or at its end."""
    sequence = tape.number()
    return Page(
        cursor(tape),
        more=tape.flag(),
        reset=tape.flag(),
        spaces=[ROWS] if tape.flag() else [],
        merged_through=tape.number(),
        checkpoint=Checkpoint(sequence, {tape.pick(SPACES): DIGEST}) if tape.flag() else None,
        replicated=tape.number(),
        stale=tape.flag(),
    )


def pushed(tape: Tape) -> Pushed:
    """Receipts for runs and for single mutations, whether they were sent or not."""
    first = tape.number()
    outcome = tape.pick(("accepted", "superseded", "rejected", "quarantined"))
    return Pushed(
        tape.number(),
        tape.number(),
        [(first, tape.number(), tape.number())] if tape.flag() else [],
        [Receipt(tape.number(), outcome, tape.number())] if tape.flag() else [],
    )


def server_message(tape: Tape) -> ServerMessage:
    """What a server says, asked or not."""
    kind = tape.byte() % 7
    if kind == 0:
        resume = tape.pick(("current", "replay", "reset"))
        device = tape.pick(DEVICES)
        return Welcome(1, device, "db", tape.number(), 1, "f", 1, resume, stale=tape.flag())
    if kind == 1:
        return pushed(tape)
    if kind == 2:
        return page(tape)
    if kind == 3:
        damaged = [DamagedBucket("c", tape.byte() % limits.BUCKETS)]
        return Repaired(tape.pick(SPACES), tape.number(), damaged, ROWS, DIGEST)
    return (poke, provisional, fault)[kind - 4](tape)
