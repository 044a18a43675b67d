"""What the app may show of outcomes: conflicts that were lost, and mutations that were refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from skerry_client.store.views import decode_mutation
from sync_protocol.messages.push import WireChange
from sync_protocol.messages.pushed import Receipt, Side

if TYPE_CHECKING:
    import sqlite3

CONFLICTS_MAX: Final = 10_000
"""Conflicts kept on a phone; the server keeps its own log, for longer."""
_decode_sides = msgspec.msgpack.Decoder(tuple[Side, Side]).decode


@dataclass(frozen=True, slots=True)
class LostConflict:
    """A field in which a write that had not seen this phone's won over it, when it was merged.

    What is overtaken later is in the server's conflict log (GET /v1/conflicts).
    """

    number: int
    counter: int
    collection: str
    id: str
    field: str
    winner: Side
    loser: Side


@dataclass(frozen=True, slots=True)
class RefusedChange:
    """One change of a refused mutation: what was wanted, and what the server has instead."""

    wanted: WireChange
    is_alive: bool
    confirmed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A mutation that the primary refused, with everything needed to show it and to try again."""

    counter: int
    outcome: str
    code: str
    message: str
    fields: tuple[str, ...]
    changes: tuple[RefusedChange, ...]
    schema_version: int

    @property
    def mutation_changes(self) -> list[WireChange]:
        """The changes as they were sent."""
        return [change.wanted for change in self.changes]


def record_conflicts(connection: sqlite3.Connection, receipt: Receipt) -> None:
    """Keep the conflicts of a receipt; the oldest make room."""
    if not receipt.conflicts:
        return
    connection.executemany(
        "INSERT OR IGNORE INTO _conflict (device, counter, collection, id, field, sides) "
        "VALUES (0, ?, ?, ?, ?, ?)",
        [
            (
                receipt.counter,
                conflict.collection,
                conflict.id,
                conflict.field,
                msgspec.msgpack.encode((conflict.winner, conflict.loser)),
            )
            for conflict in receipt.conflicts
        ],
    )
    connection.execute(
        "DELETE FROM _conflict WHERE number <= (SELECT max(number) FROM _conflict) - ?",
        (CONFLICTS_MAX,),
    )


def conflicts(connection: sqlite3.Connection) -> list[LostConflict]:
    """Return the conflicts kept, oldest first."""
    found = connection.execute(
        "SELECT number, counter, collection, id, field, sides FROM _conflict ORDER BY number"
    )
    return [
        LostConflict(number, counter, collection, row_id, field, *_decode_sides(sides))
        for number, counter, collection, row_id, field, sides in found
    ]


def dismiss_conflict(connection: sqlite3.Connection, number: int) -> None:
    """Forget one conflict: a person has seen it."""
    connection.execute("DELETE FROM _conflict WHERE number = ?", (number,))


def rejected(connection: sqlite3.Connection) -> list[Rejected]:
    """Return the refused mutations kept, in the order they were made."""
    found = connection.execute(
        "SELECT counter, outcome, code, message, fields, payload, confirmed, schema_version "
        "FROM _rejected ORDER BY h"
    )
    return [_rejected(row) for row in found]


def dismiss_rejected(connection: sqlite3.Connection, counter: int) -> None:
    """Forget a refused mutation; of two with one counter (after a clone) the older one."""
    connection.execute(
        "DELETE FROM _rejected WHERE (device, counter) = "
        "(SELECT device, counter FROM _rejected WHERE counter = ? ORDER BY h LIMIT 1)",
        (counter,),
    )


def _rejected(row: tuple[Any, ...]) -> Rejected:
    counter, outcome, code, message, fields, payload, confirmed, schema_version = row
    mutation = decode_mutation(payload)
    seen: list[dict[str, Any]] = msgspec.msgpack.decode(confirmed)
    return Rejected(
        counter=counter,
        outcome=outcome,
        code=code,
        message=message,
        fields=tuple(json.loads(fields)),
        changes=tuple(
            RefusedChange(wanted, before["alive"], before["values"])
            for wanted, before in zip(mutation.changes, seen, strict=True)
        ),
        schema_version=schema_version,
    )
