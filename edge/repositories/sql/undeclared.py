"""Fields that a newer program has added to a replica's tables: an older edge hands them on.

Digests are of whole rows. An edge that left out what it does not know would give its devices rows
that match no digest, and that no later round would complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from core.crdt.registry import FIELD_TYPES
from edge.repositories.sql.columns import columns_of
from edge.repositories.sql.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.crdt.field import Field
    from edge.repositories.sql.columns import Columns


@dataclass(frozen=True, slots=True)
class _Undeclared:
    """What columns have to know of a field to be read."""

    name: str
    kind: str
    scalar_name: str


def with_undeclared(tables: Mapping[str, Table], schema: Mapping[str, Any]) -> dict[str, Table]:
    """Return tables that also read what a database's schema declares and this program does not.

    Kinds that this program has not got are left out.
    """
    return {
        name: _extended(table, schema["collections"].get(name)) for name, table in tables.items()
    }


def _extended(table: Table, described: Mapping[str, Any] | None) -> Table:
    fields: dict[str, dict[str, Any]] = {} if described is None else described["fields"]
    undeclared = [
        _columns(name, spec)
        for name, spec in fields.items()
        if name not in table.columns and spec["kind"] in FIELD_TYPES
    ]
    return Table(table.declared, undeclared) if undeclared else table


def _columns(name: str, spec: Mapping[str, Any]) -> Columns:
    kind: str = spec["kind"]
    scalar: str = spec.get("scalar") or getattr(FIELD_TYPES[kind], "scalar_name", "text")
    return columns_of(cast("Field[Any]", _Undeclared(name, kind, scalar)))
