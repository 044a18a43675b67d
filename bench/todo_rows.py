"""To-do rows and edits of them: seeded, so that every run measures the same data."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from core.clock import HybridClock, saturated
from core.ids import new_row_id
from sync_protocol.codec import encode
from sync_protocol.messages.push import Push, WireChange, WireMutation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLLECTION = "todo"
SPACE = "household-0"
FIELDS = ("title", "note", "priority", "done")
FIRST_MS = 1_760_000_000_000
"""When the first row was made; ids carry their time."""
EVERY_MS = 40
_VERBS = ("Buy", "Call", "Fix", "Paint", "Clean", "Return", "Order", "Plan", "Water", "Book")
_THINGS = ("milk", "the plumber", "the bike", "shelves", "the roof", "tickets", "plants", "dinner")
_NOTES = ("", "before noon", "ask Eva first", "not urgent", "see the list on the fridge")
_encode = msgspec.msgpack.Encoder().encode


class Row(NamedTuple):
    """A row to be inserted."""

    id: str
    space: str
    fields: dict[str, Any]
    made_ms: int


class Edit(NamedTuple):
    """One field written by one device at one moment."""

    row: str
    field: str
    value: str | int | bool
    h: int
    n: int


def todo_rows(
    count: int,
    *,
    first: int = 0,
    rows_per_space: int | None = None,
    made_within_ms: int | None = None,
) -> Iterator[Row]:
    """Yield rows number `first` and following; all in SPACE unless `rows_per_space` is given.

    They are made one after the other, or at random moments within `made_within_ms`: then their ids
    lie between those of rows made in the same time.
    """
    for number in range(first, first + count):
        draw = random.Random(number)
        space = SPACE if rows_per_space is None else f"household-{number // rows_per_space}"
        made_ms = FIRST_MS + EVERY_MS * number + draw.randrange(EVERY_MS)
        if made_within_ms is not None:
            made_ms = FIRST_MS + draw.randrange(made_within_ms)
        row_id = new_row_id(now_ms=made_ms, entropy=draw.randbytes(10))
        fields = {name: field_value(name, draw) for name in FIELDS}
        yield Row(row_id, space, fields, made_ms)


def field_value(name: str, draw: random.Random) -> str | int | bool:
    if name == "title":
        return f"{draw.choice(_VERBS)} {draw.choice(_THINGS)} {draw.randrange(1_000)}"
    if name == "note":
        return draw.choice(_NOTES)
    return draw.randrange(9) if name == "priority" else draw.random() < 0.3


@dataclass(slots=True)
class Device:
    """A phone's side of pushing: its numbers, its clock, and what it has seen of each field.

    `seen` is the clock value of each row's fields as first read; it knows its own writes since.
    """

    n: int
    token: str
    seen: Mapping[str, int]
    counter: int = 0
    clock: HybridClock = field(default_factory=HybridClock)
    own: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def edit(self, row: str, draw: random.Random, *, now_ms: int) -> tuple[Edit, bytes]:
        """Write one field of a row; return the edit and its mutation, encoded."""
        name = draw.choice(FIELDS)
        value, h = field_value(name, draw), self.clock.tick(now_ms)
        base = self.own.get((row, name)) or self.seen[row]
        self.own[row, name] = h
        change = WireChange(collection=COLLECTION, id=row, fields={name: value}, base={name: base})
        return Edit(row, name, value, h, self.n), self._mutation(change, h)

    def insert(self, row: Row, *, now_ms: int) -> bytes:
        """Return the mutation that inserts a row, encoded."""
        change = WireChange(
            collection=COLLECTION, id=row.id, op="insert", space=row.space, fields=row.fields
        )
        h = self.clock.tick(now_ms)
        self.own.update(((row.id, name), h) for name in row.fields)
        return self._mutation(change, h)

    def push(self, mutations: Sequence[bytes], *, now_ms: int) -> bytes:
        """Return the body of one push that is sent at about `now_ms`."""
        return encode(
            Push(
                device=self.n,
                clock=saturated(now_ms),
                schema_version=1,
                mutations=[msgspec.Raw(mutation) for mutation in mutations],
            )
        )

    def _mutation(self, change: WireChange, h: int) -> bytes:
        self.counter += 1
        return _encode(WireMutation(counter=self.counter, h=h, changes=[change]))
