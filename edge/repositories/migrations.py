"""The database's own tables, and how an older database becomes a present one.

Additive schema changes of the app (a new collection, a new field) are applied at every start and
write no rows. `FORMAT` counts changes of the system tables; old databases stay as test fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import DeclarationError
from edge.repositories.meta import SqlMeta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.schema.app import App
    from edge.ports.sql import SqlWriter
    from edge.repositories.sql.table import Table

FORMAT: Final = 1

_SYSTEM_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sk_meta (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sk_device (
    n INTEGER NOT NULL PRIMARY KEY, person TEXT NOT NULL, installation TEXT NOT NULL,
    counter INTEGER NOT NULL, effective INTEGER NOT NULL, acknowledged INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL, UNIQUE (person, installation)
) STRICT;
CREATE TABLE IF NOT EXISTS sk_merged_run (
    n INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
    sequence INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (n, last)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sk_receipt (
    n INTEGER NOT NULL, counter INTEGER NOT NULL, outcome TEXT NOT NULL,
    sequence INTEGER NOT NULL, h INTEGER NOT NULL, hash BLOB NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (n, counter)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sk_quarantine (
    n INTEGER NOT NULL, counter INTEGER NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (n, counter)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sk_member (
    person TEXT NOT NULL, space TEXT NOT NULL, kind TEXT NOT NULL, role TEXT,
    sequence INTEGER NOT NULL, PRIMARY KEY (person, space)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sk_member__changed ON sk_member (person, sequence);
CREATE INDEX IF NOT EXISTS sk_member__space ON sk_member (space);
CREATE INDEX IF NOT EXISTS sk_member__sequence ON sk_member (sequence);
CREATE TABLE IF NOT EXISTS sk_space (
    space TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, sequence INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sk_space__sequence ON sk_space (sequence);
CREATE TABLE IF NOT EXISTS sk_founder (
    space TEXT NOT NULL PRIMARY KEY, person TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sk_founder__person ON sk_founder (person);
CREATE TABLE IF NOT EXISTS sk_invitation (
    id TEXT NOT NULL PRIMARY KEY, code_sha256 BLOB NOT NULL UNIQUE, space TEXT NOT NULL,
    role TEXT NOT NULL, inviter TEXT NOT NULL, is_by_admin INTEGER NOT NULL, email TEXT,
    uses INTEGER NOT NULL, used INTEGER NOT NULL, sequence INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sk_invitation__space ON sk_invitation (space, expires_ms);
CREATE INDEX IF NOT EXISTS sk_invitation__expires ON sk_invitation (expires_ms);
CREATE TABLE IF NOT EXISTS sk_digest (
    space TEXT NOT NULL, collection TEXT NOT NULL, bucket INTEGER NOT NULL,
    digest BLOB NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (space, collection, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sk_conflict (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL,
    collection TEXT NOT NULL, row TEXT NOT NULL, space TEXT NOT NULL, field TEXT NOT NULL,
    winner TEXT NOT NULL, loser TEXT NOT NULL, at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sk_conflict__space ON sk_conflict (space, id);
CREATE TABLE IF NOT EXISTS sk_primary_change (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL,
    collection TEXT NOT NULL, row TEXT NOT NULL, reason TEXT NOT NULL,
    cause_n INTEGER NOT NULL, cause_counter INTEGER NOT NULL, at_ms INTEGER NOT NULL
) STRICT
"""
"""Statements end with a semicolon; none holds one inside."""


def migrate(writer: SqlWriter, app: App, tables: Iterable[Table], *, new_database_id: str) -> None:
    """Bring one database to this program's format and this app's schema, in one transaction.

    Raises DeclarationError when the app's change is not additive, or when the database belongs to
    another app or to a newer program; nothing is changed then.
    """
    for statement in _SYSTEM_SCHEMA.split(";"):
        writer.run(statement)
    meta = SqlMeta(writer)
    found_format = meta.get("format")
    if found_format is not None and found_format > FORMAT:
        raise DeclarationError(
            f"the database has format {found_format}; this program knows up to {FORMAT}"
        )
    if meta.get("database") is None:
        meta.set("database", new_database_id)
        meta.set("sequence", 0)
        meta.set("clock", 0)
        meta.set("horizon", 0)
    _require_additive(meta.get("schema"), app.describe())
    for table in tables:
        present = [row[1] for row in writer.all(f"PRAGMA table_info({table.name})")]
        for statement in table.added_columns(present) if present else table.ddl():
            writer.run(statement)
    meta.set("format", FORMAT)
    meta.set("schema", app.describe())


def _require_additive(old: dict[str, Any] | None, new: dict[str, Any]) -> None:
    """Refuse what stored rows could not follow: another app, a field whose type changed."""
    if old is None:
        return
    if old["app"] != new["app"]:
        raise DeclarationError(f"the database belongs to the app {old['app']!r}")
    if old["version"] > new["version"]:
        raise DeclarationError(
            f"the database has seen schema version {old['version']}; "
            f"the app declares {new['version']}"
        )
    for name, collection in old["collections"].items():
        declared = new["collections"].get(name)
        if declared is None:
            continue
        for field, spec in collection["fields"].items():
            present = declared["fields"].get(field)
            if present is not None and _storage_of(present) != _storage_of(spec):
                raise DeclarationError(
                    f"{name}.{field} was {spec['kind']} and is now {present['kind']}: give the new "
                    "form a new name, and a lens from the old one"
                )


def _storage_of(spec: dict[str, Any]) -> tuple[Any, Any]:
    return spec["kind"], spec.get("scalar")
