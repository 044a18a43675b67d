"""The tables of the vault; the tenant comes first in the primary key of what tenants own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.repositories.formats import bring_to_format

if TYPE_CHECKING:
    from edge.ports.sql import SqlWriter

FORMAT: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS vt_meta (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vt_secret (
    tenant TEXT NOT NULL, credential TEXT NOT NULL, secret TEXT NOT NULL,
    PRIMARY KEY (tenant, credential)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vt_flow (
    tenant TEXT NOT NULL, id TEXT NOT NULL, purpose TEXT NOT NULL, person TEXT NOT NULL,
    subject TEXT NOT NULL, code BLOB NOT NULL, secret TEXT NOT NULL, attempts INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL, PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vt_flow__subject ON vt_flow (tenant, purpose, subject);
CREATE INDEX IF NOT EXISTS vt_flow__person ON vt_flow (tenant, person);
CREATE INDEX IF NOT EXISTS vt_flow__expires ON vt_flow (expires_ms);
CREATE TABLE IF NOT EXISTS vt_join (
    hash BLOB NOT NULL PRIMARY KEY, node TEXT NOT NULL, region TEXT NOT NULL, keys TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
"""Statements end with a semicolon; none holds one inside."""


def migrate(writer: SqlWriter, *, new_database_id: str) -> None:
    """Bring a vault to this program's format, in one transaction.

    Raises DeclarationError when it belongs to a newer program; nothing is changed then.
    """
    bring_to_format(
        writer,
        _SCHEMA.split(";"),
        meta="vt_meta",
        known_format=FORMAT,
        new_database_id=new_database_id,
    )
