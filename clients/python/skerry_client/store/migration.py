"""Opening a file with another version of the app than the one that wrote it.

Tables and columns are added; nothing is dropped, so an older version of the app finds its columns
again and newer fields survive in the confirmed bytes. Where a lens stands between the two versions
the rows are raised for display, and the next round reads everything anew: a lens may lose detail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.ids import is_name
from skerry_client.errors import WrongDatabase
from skerry_client.store.confirmed import decode, stored_digest
from skerry_client.store.rounds import forget_cursor, unstage
from skerry_client.store.tables import Table, quoted
from sync_protocol.digest import to_bytes
from sync_protocol.fingerprint import fingerprint
from sync_protocol.rows import encode_row

if TYPE_CHECKING:
    import sqlite3

    from core.schema.app import App
    from core.schema.lens import Lens
    from skerry_client.store.confirmed import Confirmed
    from skerry_client.store.meta import Meta

ROWS_AT_ONCE = 1_000


def migrate(
    connection: sqlite3.Connection, app: App, *, meta: Meta, confirmed: Confirmed,
    tables: dict[str, Table],
) -> bool:  # fmt: skip
    """Bring the file to the app's declaration; tell whether views must be written again."""
    found = meta.get("app", app.name)
    if found != app.name:
        raise WrongDatabase(found=found, expected=app.name)
    now = fingerprint(app)
    if meta.get("fingerprint") == now:
        _know_undeclared(connection, tables)
        return False
    # Rows that are kept aside have the columns of the version before: their round starts again.
    unstage(connection, meta)
    before = meta.get("schema_version", app.version)
    for table in tables.values():
        _create_or_extend(connection, table)
    _know_undeclared(connection, tables)
    if before > app.version or _raise_rows(connection, app, tables=tables, before=before):
        forget_cursor(meta, confirmed)
    meta.put("app", app.name)
    meta.put("schema_version", app.version)
    meta.put("fingerprint", now)
    return True


def mark_all_dirty(connection: sqlite3.Connection, confirmed: Confirmed, name: str) -> None:
    """Ask for the view of every row of a table to be written again."""
    confirmed.dirty[name].update(
        row_id for (row_id,) in connection.execute(f"SELECT id FROM {quoted(name)}")
    )


def _create_or_extend(connection: sqlite3.Connection, table: Table) -> None:
    columns = {
        name
        for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table.name,))
    }
    if not columns:
        for statement in table.create():
            connection.execute(statement)
        return
    for column in table.columns:
        if column not in columns:
            connection.execute(table.add_column(column))


def _know_undeclared(connection: sqlite3.Connection, tables: dict[str, Table]) -> None:
    """Find the tables of collections that only a newer version of the app declares."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    for (name,) in found.fetchall():
        if is_name(name) and name not in tables and not name.startswith("sqlite_"):
            tables[name] = Table(name, {})


def _raise_rows(
    connection: sqlite3.Connection, app: App, *, tables: dict[str, Table], before: int
) -> bool:
    """Raise confirmed rows of an earlier version; tell whether a lens stands in between."""
    lenses = {name: app.lenses_from(name, before) for name in app.collections}
    for name, steps in lenses.items():
        if steps:
            _raise_table(connection, tables[name], steps)
    return any(lenses.values())


def _raise_table(connection: sqlite3.Connection, table: Table, lenses: list[Lens]) -> None:
    """Rewrite confirmed rows in the new form; their digests stay those of the server's rows."""
    after = ""
    while rows := connection.execute(
        table.select + "WHERE id > ? AND _state IS NOT NULL ORDER BY id LIMIT ?",
        (after, ROWS_AT_ONCE),
    ).fetchall():
        connection.executemany(
            f"UPDATE {quoted(table.name)} SET _state = ?, _hash = ? WHERE id = ?",
            [(_raised(row, lenses), to_bytes(stored_digest(row)), row[0]) for row in rows],
        )
        after = rows[-1][0]


def _raised(row: tuple[Any, ...], lenses: list[Lens]) -> bytes:
    row_id, alive, states = decode(row[4])
    for lens in lenses:
        states = {lens.renamed.get(name, name): state for name, state in states.items()}
        states = {
            name: [*state[:-1], lens.up[name](state[-1])] if name in lens.up else state
            for name, state in states.items()
        }
    return encode_row(row_id, alive, states)
