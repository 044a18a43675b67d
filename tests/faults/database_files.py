"""Whether copies of a database hold the same, row by row; read while they are served."""

import json
import sqlite3
from collections import Counter
from pathlib import Path

from sync_protocol.digest import from_bytes, to_bytes

LEFT_OUT = frozenset({"sk_fence"})
"""The fence of a replica that was cut off may be of an older epoch."""
MEMBER = ("space", "person", "kind", "role", "s")
SHOWN_MAX = 5
BUSY_S = 2.0


def contents(path):
    """Return rows by table of an SQLite file, in one snapshot; None when it cannot be read."""
    if not Path(path).exists():
        return None
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        connection.execute("BEGIN")
        names = [
            name
            for _, name, kind, *_ in connection.execute("PRAGMA table_list").fetchall()
            if kind == "table"
            and not name.startswith(("sqlite_", "libsql_", "_"))
            and name not in LEFT_OUT
        ]
        return {name: _rows(connection, name) for name in sorted(names)}
    except sqlite3.DatabaseError:
        return None
    finally:
        connection.close()


def _rows(connection, name):
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
    chosen = ", ".join(f'"{column}"' for column in columns)
    return {
        repr(row): dict(zip(columns, row, strict=True))
        for row in connection.execute(f'SELECT {chosen} FROM "{name}"')
    }


def differences(copies):
    """Compare contents by name of the copy with the first; return complaints."""
    found = []
    names = list(copies)
    first = copies[names[0]]
    for name in names[1:]:
        other = copies[name]
        if first is None or other is None:
            found.append(f"D {name if other is None else names[0]} cannot be read")
            continue
        for table in sorted(first.keys() | other.keys()):
            one, two = first.get(table, {}), other.get(table, {})
            only_one = [one[key] for key in one.keys() - two.keys()]
            only_two = [two[key] for key in two.keys() - one.keys()]
            if only_one or only_two:
                found.append(
                    f"D {table}: {len(only_one)} rows only in {names[0]}, {len(only_two)} only in "
                    f"{name}: {_shown(only_one)} | {_shown(only_two)}"
                )
    return found


def digests(path):
    """Return the sum of each space's digests in a tenant's file, in hexadecimal."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        sums = Counter()
        for space, digest in connection.execute("SELECT space, digest FROM sk_digest"):
            sums[space] += from_bytes(digest)
        return {space: to_bytes(total).hex() for space, total in sums.items()}
    finally:
        connection.close()


def members(path):
    """Return who was ever put into a space of a tenant's file: dicts of space, person, kind, role,
    s (the sequence of the change) and database, as histories tell memberships.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        (database,) = connection.execute(
            "SELECT value FROM sk_meta WHERE key = 'database'"
        ).fetchone()
        return [
            {**dict(zip(MEMBER, row, strict=True)), "database": json.loads(database)}
            for row in connection.execute(
                "SELECT space, person, kind, role, sequence FROM sk_member"
            )
        ]
    finally:
        connection.close()


def outbox_size(path):
    """Return how many mutations wait in an edge's outbox; 0 without one."""
    if not Path(path).exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        return connection.execute("SELECT count(*) FROM ob_entry").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def _shown(rows):
    texts = [str({name: _short(value) for name, value in row.items()}) for row in rows[:SHOWN_MAX]]
    return ", ".join(texts) or "-"


def _short(value):
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
