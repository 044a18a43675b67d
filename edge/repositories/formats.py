"""The format of a database that has no schema but the program's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.ports.sql import SqlWriter


def bring_to_format(
    writer: SqlWriter,
    statements: Iterable[str],
    *,
    meta: str,
    known_format: int,
    new_database_id: str,
) -> None:
    """Run `CREATE .. IF NOT EXISTS` statements and note the format, in the caller's transaction.

    `meta` names the table (among those created) that holds `format` and `database`. Raises
    DeclarationError when the database belongs to a newer program; nothing is changed then.
    """
    for statement in statements:
        writer.run(statement)
    found = writer.one(f"SELECT value FROM {meta} WHERE key = 'format'")
    if found is not None and int(found[0]) > known_format:
        raise DeclarationError(
            f"the database has format {found[0]}; this program knows up to {known_format}"
        )
    keep = f"INSERT INTO {meta} (key, value) VALUES (?, ?) ON CONFLICT (key) DO "
    writer.run(f"{keep} NOTHING", ("database", new_database_id))
    writer.run(f"{keep} UPDATE SET value = excluded.value", ("format", str(known_format)))
