"""The tables of the control database.

Triggers count every changed row in `ct_number`, whoever changes it: nodes that read a copy of the
file see by one number that something is new. The numbers of audit entries and revocations come from
`ct_number` too, so that none is given twice when the last ones have been trimmed.

Invariants
  C1  the tenant is the first column of the primary key of every table that tenants own rows of
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.repositories.formats import bring_to_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.ports.sql import SqlWriter

FORMAT: Final = 1

FOLLOWED: Final = ("ct_tenant", "ct_key", "ct_revocation", "ct_node", "ct_primary")
"""What every process knows by heart: `version` counts changes of these tables alone, so that a
refresh or an audit entry makes nobody read all keys and tenants again."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ct_meta (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ct_number (
    name TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO ct_number (name, last) VALUES ('change', 0), ('audit', 0), ('revocation', 0)
    ON CONFLICT (name) DO NOTHING;
CREATE TABLE IF NOT EXISTS ct_tenant (
    tenant TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, regions TEXT NOT NULL,
    settings TEXT NOT NULL, created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ct_account (
    tenant TEXT NOT NULL, person TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    name TEXT NOT NULL, scopes TEXT NOT NULL, created_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ct_credential (
    tenant TEXT NOT NULL, id TEXT NOT NULL, person TEXT NOT NULL, kind TEXT NOT NULL,
    subject TEXT NOT NULL, public BLOB NOT NULL, label TEXT NOT NULL, counter INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS ct_credential__subject ON ct_credential (tenant, kind, subject);
CREATE INDEX IF NOT EXISTS ct_credential__kind ON ct_credential (tenant, kind, id);
CREATE INDEX IF NOT EXISTS ct_credential__person ON ct_credential (tenant, person);
CREATE TABLE IF NOT EXISTS ct_device (
    tenant TEXT NOT NULL, id TEXT NOT NULL, person TEXT NOT NULL, public BLOB NOT NULL,
    name TEXT NOT NULL, created_ms INTEGER NOT NULL, PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ct_device__person ON ct_device (tenant, person);
CREATE TABLE IF NOT EXISTS ct_session (
    tenant TEXT NOT NULL, id TEXT NOT NULL, person TEXT NOT NULL, device TEXT NOT NULL,
    state TEXT NOT NULL, generation INTEGER NOT NULL, current BLOB NOT NULL,
    previous BLOB NOT NULL, salt BLOB NOT NULL, created_ms INTEGER NOT NULL,
    refreshed_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, proved_s INTEGER NOT NULL,
    methods TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ct_session__person ON ct_session (tenant, person);
CREATE INDEX IF NOT EXISTS ct_session__expires ON ct_session (expires_ms);
CREATE INDEX IF NOT EXISTS ct_session__ended ON ct_session (refreshed_ms) WHERE state = 'ended';
CREATE TABLE IF NOT EXISTS ct_key (
    kid TEXT NOT NULL PRIMARY KEY, node TEXT NOT NULL, state TEXT NOT NULL, public BLOB NOT NULL,
    authority TEXT NOT NULL, created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ct_revocation (
    tenant TEXT NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    at_s INTEGER NOT NULL, until_s INTEGER NOT NULL, PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS ct_revocation__id ON ct_revocation (id);
CREATE TABLE IF NOT EXISTS ct_audit (
    tenant TEXT NOT NULL, id INTEGER NOT NULL, at_ms INTEGER NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, subject TEXT NOT NULL, address TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ct_audit__subject ON ct_audit (tenant, subject, id);
CREATE INDEX IF NOT EXISTS ct_audit__actor ON ct_audit (tenant, actor, id);
CREATE INDEX IF NOT EXISTS ct_audit__at ON ct_audit (at_ms);
CREATE TABLE IF NOT EXISTS ct_node (
    node TEXT NOT NULL PRIMARY KEY, region TEXT NOT NULL, url TEXT NOT NULL,
    grpc_url TEXT NOT NULL, state TEXT NOT NULL, joined_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ct_primary (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, node TEXT NOT NULL,
    url TEXT NOT NULL, grpc_url TEXT NOT NULL
) STRICT
"""
"""Statements end with a semicolon; none holds one inside. The primary key (tenant, id) of ct_audit
is the order in which a tenant's entries are listed."""


def migrate(writer: SqlWriter, *, new_database_id: str) -> None:
    """Bring a control database to this program's format, in one transaction.

    Raises DeclarationError when it belongs to a newer program; nothing is changed then.
    """
    bring_to_format(
        writer,
        [*_SCHEMA.split(";"), *_triggers()],
        meta="ct_meta",
        known_format=FORMAT,
        new_database_id=new_database_id,
    )


def next_number(sql: SqlWriter, name: str) -> int:
    """Return the next of a row of numbers: `audit` or `revocation`."""
    row = sql.one("UPDATE ct_number SET last = last + 1 WHERE name = ? RETURNING last", (name,))
    assert row is not None, "the migration makes every row of ct_number"
    return row[0]


def _triggers() -> Iterator[str]:
    for table in FOLLOWED:
        for event in ("INSERT", "UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER IF NOT EXISTS {table}__{event.lower()} AFTER {event} ON {table} "
                "BEGIN UPDATE ct_number SET last = last + 1 WHERE name = 'change'; END"
            )
