"""Query strings of lists of rows, down to the statement that SQLite runs."""

from __future__ import annotations

import json
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Final

from core.ids import is_id
from edge.dto.row_query import FILTERS_MAX, LIMIT_MAX, SORT_FIELDS_MAX, row_query
from edge.errors import InvalidQuery
from edge.repositories.search import search_statement
from edge.repositories.sql.table import Table
from edge.services.rows import _checked
from tests.fuzz.plain import require_plain
from tests.fuzz.target import Target
from tests.laws.sql_histories import collection_of_all

MESSAGE_BYTES_MAX: Final = 800


@cache
def _world() -> tuple[Any, Table, sqlite3.Connection]:
    declared = collection_of_all()
    table = Table(declared)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in table.ddl():
        connection.execute(statement)
    return declared, table, connection


def run(query: bytes) -> None:
    """A query string for a collection with a field of every kind.

    Invariant: every mistake is named, within bounds; what is accepted is bounded, and becomes a
    statement that SQLite runs.
    Errors: InvalidQuery.
    """
    declared, table, connection = _world()
    checked: Any = None
    refusal = ""
    try:
        asked = row_query(declared, query)
        checked = _checked(declared, asked)
    except InvalidQuery as error:
        refusal = error.message
    else:
        assert len(asked.where) <= FILTERS_MAX
        assert len(asked.sort) <= SORT_FIELDS_MAX
        assert 1 <= asked.limit <= LIMIT_MAX
        assert asked.space is None or is_id(asked.space)
        require_plain([each.value for each in asked.where], is_stored=True)
    if checked is None:
        assert 0 < len(refusal.encode()) <= MESSAGE_BYTES_MAX
        return
    statement, parameters = search_statement(table, replace(checked, spaces=("home",)))
    connection.execute(statement, parameters).fetchall()


def _after(*values: Any) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def seeds() -> Iterator[bytes]:
    """Each field with each operator, sorts, and positions."""
    declared = _world()[0]
    for name in declared.fields:
        for operator in ("eq", "ne", "lt", "in", "contains"):
            for value in ("1", "a", "true", "draft,sent", "1.5"):
                yield f"{name}.{operator}={value}".encode()
        for after in (_after(1, "r"), _after(None, "r"), _after("a", "r"), _after(2**70, "r")):
            yield f"sort=-{name}&after={after}".encode()
    yield b"space=home&limit=50&sort=lww,-max&lww=a%20b&min.ge=-1e3"
    yield f"after={_after('r')}".encode()
    yield b"a=%ff&b=%00"


TARGETS = (Target("queries", run, seeds, bytes_max=1_400),)
