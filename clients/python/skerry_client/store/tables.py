"""One table per collection: its SQL, and how field states become plain columns.

A table holds the VIEW in plain columns, for apps to query, beside the CONFIRMED row's bytes:

  _space, _sequence   the row's space; the primary's sequence of its confirmed state (0: none)
  _alive              1 when the view is alive (queries of apps usually say `WHERE _alive`)
  _state              the canonical confirmed row exactly as received, NULL when never confirmed
  _hash               its digest, only where a lens changed the row's form on its way here
  _pending            1 when mutations that are not confirmed concern the row: the phone's own, or
                      provisional ones of others
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from core.crdt.field import Field, Register, State
from skerry_client.fold import Fields

SqlValue = str | int | float | bytes | bytearray | None
SYSTEM_COLUMNS: Final = ("_space", "_sequence", "_alive", "_state", "_hash", "_pending")
ROWS_PER_STATEMENT: Final = 100
"""Rows per INSERT: binding dominates beyond it, and statements stay small enough to be cached."""
VARIABLES_MAX: Final = 32_766
"""SQLite's default limit of variables in one statement."""

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_to_json = msgspec.json.Encoder(order="deterministic").encode


class Table:
    """The generated SQL of one collection, and the conversion of its states."""

    def __init__(self, name: str, fields: Fields) -> None:
        self.name = name
        self.fields = fields
        self.columns = tuple(fields)
        self.readers = tuple((field, _reader(spec)) for field, spec in fields.items())
        names = ["id", *SYSTEM_COLUMNS, *(quoted(column) for column in self.columns)]
        self.width = len(names)
        self.names = ", ".join(names)
        self._insert = f"INSERT INTO {quoted(name)} ({self.names}) VALUES "
        self._update = " ON CONFLICT(id) DO UPDATE SET " + ", ".join(
            f"{column} = excluded.{column}" for column in names[1:]
        )
        self.rows_per_statement = min(ROWS_PER_STATEMENT, VARIABLES_MAX // self.width)
        self.upsert = self._insert_of(1) + self._update
        self._many = self._insert_of(self.rows_per_statement)
        self.select = (
            f"SELECT id, _space, _sequence, _alive, _state, _hash, _pending FROM {quoted(name)} "
        )

    def statements(self, *, insert: bool) -> tuple[str, str]:
        """Return the statements that write many rows and one; with `insert` all must be new."""
        if insert:
            return self._many, self._insert_of(1)
        return self._many + self._update, self.upsert

    def _insert_of(self, rows: int) -> str:
        places = "(" + ", ".join("?" * self.width) + ")"
        return self._insert + ", ".join([places] * rows)

    def values(self, states: Mapping[str, State]) -> list[SqlValue]:
        """Return the view columns of a row.

        A state that this version of the app cannot read (an unknown label) shows the default.
        """
        try:
            return [read(states.get(name)) for name, read in self.readers]
        except (LookupError, TypeError, ValueError):
            return [_careful(read, states.get(name)) for name, read in self.readers]

    def create(self) -> list[str]:
        """Return the statements that create the table and the two small indexes sync needs."""
        return [self.create_bare(), *self.create_indexes()]

    def create_indexes(self) -> list[str]:
        """Return the statements that create the indexes."""
        title = quoted(self.name)
        return [
            f"CREATE INDEX {quoted(self.name + '__pending')} ON {title} (id) WHERE _pending = 1",
            f"CREATE INDEX {quoted(self.name + '__dead')} ON {title} (_sequence) WHERE _alive = 0",
        ]

    def create_bare(self) -> str:
        """Return the statement that creates the table alone."""
        columns = "".join(f", {quoted(column)}" for column in self.columns)
        return f"""
            CREATE TABLE {quoted(self.name)} (
                id TEXT PRIMARY KEY NOT NULL, _space TEXT NOT NULL, _sequence INTEGER NOT NULL,
                _alive INTEGER NOT NULL, _state BLOB, _hash BLOB, _pending INTEGER NOT NULL{columns}
            )
            """

    def add_column(self, column: str) -> str:
        """Return the statement that adds the column of a newly declared field."""
        return f"ALTER TABLE {quoted(self.name)} ADD COLUMN {quoted(column)}"


def quoted(name: str) -> str:
    """Quote a validated name, since `order` or `group` are fine names for fields."""
    return f'"{name}"'


def storable(value: Any) -> SqlValue:  # noqa: ANN401  (whatever a field shows)
    """Turn a field's value into what its column holds: scalars as they are, the rest as JSON."""
    return value if type(value) in _PLAIN else _to_json(value).decode()


def _reader(field: Field[Any]) -> Callable[[State], SqlValue]:
    default = storable(field.value(None))
    value = field.value

    def read(state: State) -> SqlValue:
        return default if state is None else storable(value(state))

    def read_register(state: State) -> SqlValue:
        if state is None:
            return default
        written = state[2]
        if written is True or written is False:
            return int(written)  # sqlite3 binds it faster.
        return written if type(written) in _PLAIN else storable(value(state))

    return read_register if type(field).value is Register.value else read  # pyright: ignore[reportUnknownMemberType]


def _careful(read: Callable[[State], SqlValue], state: State) -> SqlValue:
    try:
        return read(state)
    except (LookupError, TypeError, ValueError):
        return read(None)
