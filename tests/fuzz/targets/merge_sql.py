"""The generated merge SQL against the reference merge, on histories made of a tape."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from core.crdt.field import Write
from core.crdt.registry import SAMPLES
from core.errors import FieldError, Refusal
from core.ids import RowId, SpaceId
from core.row import RowDelta, RowState, merge_delta
from tests.fuzz.tape import Tape
from tests.fuzz.target import Target
from tests.laws import sql_histories as engine
from tests.vectors.payloads import HISTORIES

WRITES_MAX: Final = 10
DEVICES: Final = (2, 3, 4, 1)
KINDS: Final = sorted(SAMPLES)
HARD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**53 - 1, *engine.HARD_FLOATS, "", "a", "A", "é\U0001f600", '"\\\n', "1",
    [], [1, [2.5]], {"a": None, "b": 1.5},
)  # fmt: skip
"""Values that columns and JSON columns get wrong; a field takes those of its own type."""


def run(content: bytes) -> None:
    """A tape of writes by four devices to two rows, delivered in any order, some of them twice.

    Invariant: SQLite holds the rows that the reference merge makes: values, stamps, canonical bytes
    and sequences, whatever the order, the batches and the repeats.
    Errors: none; payloads that a field refuses are left out.
    """
    tape = Tape(content)
    declared = _collection(tape.byte() % (len(KINDS) + 1))
    deltas = _deltas(tape, declared)
    delivered: list[RowDelta] = []
    for delta in deltas:
        delivered.insert(tape.byte() % (len(delivered) + 1), delta)
    for _ in range(tape.byte() % 4 if deltas else 0):
        again = engine._idempotent(declared, tape.pick(deltas))
        delivered.insert(tape.byte() % (len(delivered) + 1), again)
    batches: list[list[RowDelta]] = [[]]
    for delta in delivered:
        if tape.byte() % 3 == 2:
            batches.append([])
        batches[-1].append(delta)
    _compare(declared, deltas, batches)


@cache
def _collection(index: int) -> Any:
    return engine.collection_of(KINDS[index]) if index < len(KINDS) else engine.collection_of_all()


def _deltas(tape: Tape, declared: Any) -> list[RowDelta]:
    clocks: dict[int, tuple[int, int]] = dict.fromkeys(DEVICES, (0, 0))
    states: dict[str, RowState] = {}
    deltas: list[RowDelta] = []
    is_admitted = tape.flag()
    for _ in range(tape.byte() % WRITES_MAX + 1):
        n = tape.pick(DEVICES)
        h, counter = clocks[n]
        clocks[n] = h + tape.byte() % 2 + 1, counter + 1
        at = Write(clocks[n][0], n, counter + 1)
        row = tape.pick(engine.ROWS)
        before = states.get(row) or RowState(RowId(row), SpaceId(engine.SPACE))
        alive = tape.pick((None, None, True, False))
        register = None if alive is None else (at.h, at.n, alive)
        fields = dict(_written(tape, declared, before, at, is_admitted=is_admitted))
        delta = RowDelta(engine.NAME, RowId(row), SpaceId(engine.SPACE), register, fields)
        states[row] = merge_delta(before, delta, declared.fields)
        deltas.append(delta)
        if alive is not None and tape.byte() % 4 == 3:
            # One moment that both inserts and deletes: dead wins, in either order.
            other = delta._replace(alive=(at.h, at.n, not alive), fields={})
            states[row] = merge_delta(states[row], other, declared.fields)
            deltas.append(other)
    return deltas


def _written(
    tape: Tape, declared: Any, before: RowState, at: Write, *, is_admitted: bool
) -> Iterator[tuple[str, Any]]:
    for name in sorted(declared.fields):
        if tape.byte() % 3 == 0:
            continue
        field = declared.fields[name]
        payload = tape.pick(HISTORIES[field.kind])[3]
        if tape.flag():
            payload = _with(payload, tape.pick(HARD))
        try:
            parsed = field.parse(payload)
            state = (
                field.admit(before.fields.get(name), parsed, at)
                if is_admitted
                else field.delta(parsed, at)
            )
        except (FieldError, Refusal):
            continue
        if state is not None:
            yield name, state


def _with(payload: Any, hard: Any) -> Any:
    """Put a hard value where a payload has its own."""
    if isinstance(payload, dict):
        for key in ("value", "lat", "name"):
            if key in payload:
                return {**payload, key: hard}
        if "set" in payload:
            return {**payload, "set": dict.fromkeys(payload["set"], hard)}
        if isinstance(payload.get("add"), list) and isinstance(hard, str):
            return {**payload, "add": [*payload["add"], hard]}
        if "append" in payload:
            return {"append": [*payload["append"], hard]}
        return payload
    return hard


def _compare(declared: Any, deltas: list[RowDelta], batches: list[list[RowDelta]]) -> None:
    replica = engine.SqlReplica(declared, None)
    try:
        for batch in batches:
            replica.merge(batch)
        found = replica.load()
        expected = engine.fold(deltas, declared)
        assert found.keys() == expected.keys()
        for row, state in expected.items():
            assert engine.as_text(found[row]) == engine.as_text(state)
            assert engine.canonical(found[row]) == engine.canonical(state)
            assert found[row].sequence == replica.written[row]
    except sqlite3.Error as error:
        raise AssertionError("SQLite refuses a merge") from error
    finally:
        replica.close()


TWO_CASES: Final = (
    "002200002100bf002120001f000000000000020000004900000000000000"
    "00b500000200002200a3000000ff0002001f1f"
)
TIED_KEY: Final = (
    "000703000000001f000300040000040000210000000098000000040001002200001f0000010000040003000000000000"
    "00001f"
)


def seeds() -> Iterator[bytes]:
    """Conflicts, ties and deletes for each kind; "a" and "A" in one set; a key written in a tie."""
    yield bytes([KINDS.index("add_wins")]) + bytes.fromhex(TWO_CASES)
    yield bytes([KINDS.index("map")]) + bytes.fromhex(TIED_KEY)
    for kind in range(len(KINDS) + 1):
        for step in (1, 37, 101):
            yield bytes([kind, kind % 2, 6]) + bytes((place * step) % 256 for place in range(120))


TARGETS = (Target("merge_sql", run, seeds, bytes_max=512),)
