"""Units of work that keep a record of what they write, to be carried out once more elsewhere.

Invariants
  R1  the record holds every statement that changed something, in order, and nothing that was undone
  R2  carried out on an equal database, the record leaves an equal database: statements know no
      clock, no randomness, and no row numbers but their own
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edge.errors import ConstraintViolated

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.ports.sql import SqlRow

ROWS_PER_STATEMENT_MAX: Final = 500
"""Rows of one multi-row INSERT: enough that parsing costs little."""
PARAMETERS_MAX: Final = 30_000
"""Below SQLite's limit of 32,766 parameters in a statement."""
_READING: Final = ("SELECT", "PRAGMA", "EXPLAIN")
_SCHEMA: Final = ("CREATE", "DROP", "ALTER")
_VALUES = re.compile(r"\bVALUES\s*(\((?:\s*\?\s*,?)+\))")
_SAVEPOINT = re.compile(r"(SAVEPOINT|RELEASE|ROLLBACK TO) (\w+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its parameters; it returns no rows."""

    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(slots=True)
class Record:
    """What a unit has written so far.

    `rows` counts the rows that its statements changed; `has_schema`: some changed the schema, whose
    rows SQLite does not count.
    """

    statements: list[Statement] = field(default_factory=list[Statement])
    rows: int = 0
    has_schema: bool = False
    _marks: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])

    def add(self, sql: str, parameters: Sequence[Any], rows: int) -> None:
        """Keep a statement that was carried out."""
        self.statements.append(Statement(_without_returning(sql), tuple(parameters)))
        self.rows += max(rows, 0)
        self.has_schema = self.has_schema or sql.lstrip()[:6].upper().startswith(_SCHEMA)

    def add_many(self, sql: str, rows: list[tuple[Any, ...]], changed: int) -> None:
        """Keep a statement that was carried out once per row, several rows to a statement."""
        self.rows += max(changed, 0)
        match = _VALUES.search(sql)
        if match is None or "RETURNING" in sql:
            self.statements += [Statement(_without_returning(sql), row) for row in rows]
            return
        width = max(1, len(rows[0]))
        step = max(1, min(ROWS_PER_STATEMENT_MAX, PARAMETERS_MAX // width))
        head, one, tail = sql[: match.start(1)], match[1], sql[match.end(1) :]
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            together = head + ", ".join([one] * len(chunk)) + tail
            self.statements.append(Statement(together, tuple(v for row in chunk for v in row)))

    def nested(self, step: str, name: str) -> None:
        """Follow a savepoint, so that what is rolled back leaves no trace (R1)."""
        if step == "SAVEPOINT":
            self._marks.append((name, len(self.statements), self.rows))
            return
        while self._marks[-1][0] != name:
            self._marks.pop()
        if step == "RELEASE":
            self._marks.pop()
        else:
            _, kept, self.rows = self._marks[-1]
            del self.statements[kept:]


class RecordingUnit:
    """An SqlWriter on one connection that keeps a record; lives in the connection's thread."""

    __slots__ = ("_connection", "record")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.record = Record()

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        """Return every row; rows of a writing statement are those it returns."""
        try:
            rows = self._connection.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error
        if not _reads(sql):
            self.record.add(sql, parameters, len(rows))
        return rows

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row; a writing statement is carried out to its end."""
        if not _reads(sql):
            rows = self.all(sql, parameters)
            return rows[0] if rows else None
        return self._connection.execute(sql, parameters).fetchone()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute one statement."""
        try:
            changed = self._connection.execute(sql, parameters).rowcount
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error
        savepoint = _SAVEPOINT.fullmatch(sql.strip())
        if savepoint is not None:
            self.record.nested(savepoint[1], savepoint[2])
        elif sql.strip() and not _reads(sql):
            self.record.add(sql, parameters, changed)
        return changed

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute one statement per row of parameters."""
        given = [tuple(row) for row in rows]
        if not given:
            return
        try:
            changed = self._connection.executemany(sql, given).rowcount
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error
        self.record.add_many(sql, given, changed)


def _reads(sql: str) -> bool:
    return sql.lstrip()[:8].upper().startswith(_READING)


@lru_cache(maxsize=512)
def _without_returning(sql: str) -> str:
    """Leave out what a statement returns: nobody reads it the second time."""
    head, found, _ = sql.rpartition(" RETURNING ")
    return head if found else sql
