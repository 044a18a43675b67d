"""Histories for the SQL engine: deltas of many rows and fields, a real SQLite, the reference fold.

Shared by tests/laws/test_sql_engine.py and by the mutants (tests/mutants), which must break it.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
import tempfile
import types
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from core import (
    Access,
    AppendOnly,
    Collection,
    Custom,
    FirstWrite,
    Group,
    Lww,
    Map,
    Max,
    Min,
    MultiValue,
)
from core.crdt.registry import SAMPLES
from core.errors import Refusal
from core.ids import RowId, SpaceId
from core.row import RowDelta, RowState, merge_delta
from edge.repositories.rows import SqlRows
from edge.repositories.sql.table import Table
from edge.storage.sqlite import _Unit
from skerry_testing.payloads import payloads as blind_payloads
from skerry_testing.payloads import payloads_of
from sync_protocol.rows import encode_row
from tests.laws import strategies

ROWS = ("row-1", "row-2")
SPACE = "home"
NAME = "engine"
TINY = sys.float_info.min
SMALL_FLOATS = [
    0.0, 1.0, 0.1, 0.1 + 0.2, 1 / 3, 2.5, -1.5, 5e-324, TINY, TINY - 5e-324, 123456.78901234567,
    0.3, 8.41e-21, 9.5367431640625e-07, 2.0**-1074 * 3, 6.02214076e-23,
]  # fmt: skip
HARD_FLOATS = [
    *SMALL_FLOATS, 1e23, 9007199254740993.0, 1.7976931348623157e308, 4.35e15, 8.5e22,
    2.0**63, 1e16, 123456789012345680.0, 7.2057594037927933e16,
]  # fmt: skip
"""Decimal forms of these are where parsers and printers of floats go wrong."""
LONG_TEXTS = st.sampled_from(["", "a", "A", "é", "e\u0301", "\U0001f600", '"\\\n\u2028\x7f', "1"])
JSON_VALUES = st.sampled_from(
    [
        *HARD_FLOATS,
        0,
        1,
        -1,
        2**53 - 1,
        "a",
        "A",
        "",
        "1",
        "é\U0001f600",
        True,
        False,
        [],
        [1, [2.5]],
    ]
) | st.dictionaries(LONG_TEXTS, st.sampled_from([0, 1.5, "a", None]), max_size=2)


def _join(base: Any, ours: Any, theirs: Any) -> Any:
    return max((ours, theirs), key=str)


TWINS: dict[str, Any] = {
    "lww": lambda: Lww(float),
    "group": lambda: Group(name=str, amount=float, is_open=bool),
    "first_write": lambda: FirstWrite(float),
    "max": lambda: Max(float, low=-1e300, high=1e300),
    "min": lambda: Min(int, low=-9, high=9),
    "multi_value": lambda: MultiValue(object),
    "map": lambda: Map(object),
    "append_only": lambda: AppendOnly(object),
    "custom": lambda: Custom(object, _join),
}
"""A second declaration of some kinds, so that other columns and codecs are met too."""
EXTRA: dict[str, Any] = {"json": lambda: Lww(object), "flagged": lambda: Lww(bool)}


@cache
def collection_of(kind: str) -> type[Collection]:
    """A collection whose fields are of one kind, beside a text and a float that vary the shapes."""
    made = {"sample": SAMPLES[kind](), "twin": TWINS.get(kind, SAMPLES[kind])()}
    if kind == "lww":
        made |= {name: make() for name, make in EXTRA.items()}
    return _collection({**made, "text": Lww.optional(str), "weight": Lww(float)})


@cache
def collection_of_all() -> type[Collection]:
    """A collection with a field of every kind."""
    return _collection({kind: make() for kind, make in SAMPLES.items()})


def _collection(fields: dict[str, Any]) -> type[Collection]:
    body = {**fields, "access": Access(read=("any",))}
    made: Any = types.new_class(
        "Engine", (Collection,), {"space": "home", "name": NAME}, lambda space: space.update(body)
    )
    return made


def payloads(field: Any) -> st.SearchStrategy[Any]:
    """Payloads of a field, with floats and JSON values that are hard to carry."""
    description = field.describe()
    if field.kind == "group" and "amount" in description["members"]:
        return st.fixed_dictionaries(
            {"name": LONG_TEXTS, "amount": st.sampled_from(HARD_FLOATS), "is_open": st.booleans()}
        )
    value = _values(description)
    if value is None:
        return blind_payloads(field)
    if field.kind in ("lww", "first_write", "max", "min"):
        return value
    return payloads_of(field.kind, value)


def _values(description: dict[str, Any]) -> st.SearchStrategy[Any] | None:
    scalar = description.get("scalar")
    if scalar == "number":
        return st.sampled_from(SMALL_FLOATS if "low" in description else HARD_FLOATS)
    if scalar == "json":
        return JSON_VALUES
    if scalar == "text" and description.get("nullable"):
        return st.none() | LONG_TEXTS
    return None


@dataclass(frozen=True)
class History:
    """Deltas in some commit order, and how they are delivered."""

    declared: type[Collection]
    deltas: list[RowDelta]
    batches: list[list[RowDelta]]
    is_file: bool
    reopened_after: frozenset[int]


def stamped_pairs() -> Iterator[History]:
    """Every pair of writes at two moments by two devices, of a register and of births and deaths.

    Ties are rare where chance makes histories, and here there is one of each.
    """
    declared = collection_of("lww")
    stamps = [(h, n, is_alive) for h in (5, 6) for n in (2, 3) for is_alive in (True, False)]
    for pair in itertools.product(stamps, stamps):
        deltas = [
            RowDelta(
                NAME, RowId(ROWS[0]), SpaceId(SPACE), (h, n, is_alive), {"text": [h, n, f"{h}/{n}"]}
            )
            for h, n, is_alive in pair
        ]
        yield History(declared, deltas, [[delta] for delta in deltas], False, frozenset())


@st.composite
def histories(
    draw: st.DrawFn, declared: type[Collection], *, with_duplicates: bool = True
) -> History:
    """Deltas of 2-4 devices, their delivery in another order, with duplicates, cut into batches."""
    deltas = draw(_deltas(declared))
    delivered = draw(st.permutations(deltas))
    if with_duplicates and deltas:
        again = draw(st.lists(st.sampled_from(deltas), max_size=5))
        position = draw(st.integers(0, len(delivered)))
        repeated = [_idempotent(declared, delta) for delta in again]
        delivered = [*delivered[:position], *repeated, *delivered[position:]]
    size = len(delivered)
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=5)) | {0, size})
    return History(
        declared,
        deltas,
        [delivered[a:b] for a, b in itertools.pairwise(cuts)],
        draw(st.booleans()),
        frozenset(draw(st.sets(st.integers(0, 5), max_size=2))),
    )


@st.composite
def _deltas(draw: st.DrawFn, declared: type[Collection]) -> list[RowDelta]:
    fields = declared.fields
    names = sorted(fields)
    chosen = st.lists(st.sampled_from(names), max_size=4, unique=True)
    is_admitted = draw(st.booleans())
    states: dict[str, RowState] = {}
    made: list[RowDelta] = []
    for at in draw(st.permutations(draw(strategies.writes()))):
        row = draw(st.sampled_from(ROWS))
        alive = draw(st.sampled_from([None, None, True, False]))
        before = states.get(row) or RowState(RowId(row), SpaceId(SPACE))
        written: dict[str, Any] = {}
        for name in sorted(draw(chosen)):
            field = fields[name]
            payload = field.parse(draw(payloads(field)))
            try:
                state = (
                    field.admit(before.fields.get(name), payload, at)
                    if is_admitted
                    else field.delta(payload, at)
                )
            except Refusal:
                continue
            if state is not None:
                written[name] = state
        register = None if alive is None else (at.h, at.n, alive)
        delta = RowDelta(NAME, RowId(row), SpaceId(SPACE), register, written)
        states[row] = merge_delta(before, delta, fields)
        made.append(delta)
        if alive is not None and draw(st.integers(0, 7)) == 0:
            # One moment that both inserts and deletes: dead wins, in either order.
            other = RowDelta(NAME, RowId(row), SpaceId(SPACE), (at.h, at.n, not alive), {})
            states[row] = merge_delta(states[row], other, fields)
            made.append(other)
    return made


def _idempotent(declared: type[Collection], delta: RowDelta) -> RowDelta:
    """The part of a delta that may be merged twice."""
    fields = {
        name: state for name, state in delta.fields.items() if declared.fields[name].is_idempotent
    }
    return RowDelta(delta.collection, delta.row, delta.space, delta.alive, fields)


class SqlReplica:
    """SqlRows over a real SQLite, in memory or in a file that can be closed and opened again."""

    def __init__(self, declared: type[Collection], path: Path | None) -> None:
        self._path = ":memory:" if path is None else str(path)
        self.tables = {NAME: Table(declared)}
        self._open()
        for statement in self.tables[NAME].ddl():
            self._connection.execute(statement)
        self.sequence = 0
        self.written: dict[str, int] = {}
        """The sequence of each row's last write."""

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")
        self.rows = SqlRows(_Unit(self._connection), self.tables)

    def reopen(self) -> None:
        """Close and open again; what is in memory would be lost, so it stays."""
        if self._path != ":memory:":
            self._connection.close()
            self._open()

    def merge(self, batch: list[RowDelta]) -> None:
        """Merge one batch in one transaction, in rounds of distinct rows."""
        self._connection.execute("BEGIN IMMEDIATE")
        for round_ in _rounds(batch):
            writes = []
            for delta in round_:
                self.sequence += 1
                writes.append((delta, self.sequence))
                self.written[delta.row] = self.sequence
            merged = self.rows.merge(writes)
            loaded = self.rows.load(NAME, [delta.row for delta in round_])
            for _, state in merged:
                assert as_text(state) == as_text(loaded[state.id])
        self._connection.execute("COMMIT")

    def load(self) -> dict[str, RowState]:
        """Every row as stored."""
        return self.rows.load(NAME, ROWS)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


def _rounds(batch: list[RowDelta]) -> list[list[RowDelta]]:
    rounds: list[list[RowDelta]] = []
    for delta in batch:
        if not rounds or any(delta.row == other.row for other in rounds[-1]):
            rounds.append([])
        rounds[-1].append(delta)
    return rounds


@contextmanager
def replica_of(history: History):
    """A fresh replica as the history wants it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.db" if history.is_file else None
        replica = SqlReplica(history.declared, path)
        try:
            yield replica
        finally:
            replica.close()


def reference(history: History) -> dict[str, RowState]:
    """The rows by core.row.merge_delta, in commit order."""
    return fold(history.deltas, history.declared)


def fold(deltas: list[RowDelta], declared: type[Collection]) -> dict[str, RowState]:
    """Fold deltas into rows in pure Python."""
    rows: dict[str, RowState] = {}
    for delta in deltas:
        before = rows.get(delta.row) or RowState(delta.row, delta.space)
        rows[delta.row] = merge_delta(before, delta, declared.fields)
    return rows


def as_text(state: RowState) -> str:
    """A row as JSON without its sequence: unlike ==, it tells 1 from 1.0 and from true."""
    fields = {name: state.fields[name] for name in sorted(state.fields)}
    return json.dumps([state.id, state.space, state.alive, fields], allow_nan=False)


def canonical(state: RowState) -> bytes:
    """The bytes that replicas exchange."""
    return encode_row(state.id, state.alive, state.fields)


def check(history: History) -> None:
    """Deliver a history to SQLite and compare values, metadata and bytes with the reference."""
    with replica_of(history) as replica:
        for index, batch in enumerate(history.batches):
            replica.merge(batch)
            if index in history.reopened_after:
                replica.reopen()
        found, expected = replica.load(), reference(history)
        assert found.keys() == expected.keys()
        for row, state in expected.items():
            assert as_text(found[row]) == as_text(state)
            assert canonical(found[row]) == canonical(state)
            assert found[row].sequence == replica.written[row]


def tally(history: History, seen: Tally[str]) -> None:
    """Count what a history exercises."""
    rows: dict[str, set[int]] = {}
    for delta in history.deltas:
        authors = rows.setdefault(delta.row, set())
        for name, state in delta.fields.items():
            field = history.declared.fields[name]
            seen["bound" if name == "weight" else "json"] += 1
            if state is not None and field.is_register:
                seen["conflict"] += bool(authors - {state[1]})
        seen["update"] += bool(authors)
        seen["delete"] += delta.alive is not None and not delta.alive[2]
        seen["insert"] += delta.alive is not None and delta.alive[2]
        if delta.alive is not None:
            authors.add(delta.alive[1])
        for name, state in delta.fields.items():
            if state is not None and history.declared.fields[name].is_register:
                authors.add(state[1])
    seen["several rows"] += len(rows) > 1
    seen["several batches"] += len(history.batches) > 1
    seen["duplicated"] += sum(map(len, history.batches)) > len(history.deltas)
    seen["reopened"] += history.is_file and bool(history.reopened_after)
    stamps = [delta.alive[0] for delta in history.deltas if delta.alive is not None]
    seen["tied"] += len(stamps) > len(set(stamps))
