"""Records what a node's database holds, from its file, and what its primary has judged.

The recorder is a tool: it may read the file through the product's own codec. The checker may not.
"""

import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

from edge.repositories.sql.table import Table

_META = "SELECT key, value FROM sk_meta WHERE key IN ('database', 'sequence', 'horizon', 'lineage')"
_DEVICES = "SELECT n, person, installation, counter, effective FROM sk_device ORDER BY n"
_RECEIPTS = "SELECT n, counter, outcome, sequence, h, detail FROM sk_receipt ORDER BY n, counter"
_RUNS = "SELECT n, first, last, sequence FROM sk_merged_run ORDER BY n, last"
_MEMBERS = "SELECT person, space, kind, role, sequence FROM sk_member"
_OWN = "SELECT sequence, collection, row, reason, cause_n, cause_counter FROM sk_primary_change"


class ServerRecorder:
    """One node's name in the history, and the tenant's database file it reads.

    `app` is what the node declares.
    """

    def __init__(self, history, node, path, app, *, now_ms):
        self.node = node
        self._file = _File(path)
        self._history = history
        self._now_ms = now_ms
        self._tables = {name: Table(declared) for name, declared in app.collections.items()}
        self._seen: tuple | None = None  # (database, sequence, horizon)
        self._ids = set()
        self._migrated: tuple | None = None
        self._members = {}

    def move(self, path):
        """Read another file from now on."""
        self._file.close()
        self._file = _File(path)

    def close(self):
        """Let the file go; the next look opens it again."""
        self._file.close()

    def look(self, *, role="primary", epoch=0, full=False):
        """Tell what has changed in the file since the last look; nothing if nothing has."""
        found = self._read(full=full)
        if found is not None:
            self._tell("server", role=role, epoch=epoch, **found)

    def arrived(self):
        """Tell how far a replica has come, and nothing of what it holds."""
        with self._file as connection:
            meta = _meta(connection)
        if "database" in meta:
            self._tell("arrived", database=meta["database"], s=meta["sequence"])

    def outcomes(self):
        """Tell the ledger: every device, and every outcome that the database keeps."""
        with self._file as connection:
            receipts = [
                [n, counter, outcome, sequence, h, json.loads(detail).get("code", "")]
                for n, counter, outcome, sequence, h, detail in connection.execute(_RECEIPTS)
            ]
            self._tell(
                "outcomes",
                database=_meta(connection).get("database"),
                devices=[list(row) for row in connection.execute(_DEVICES)],
                receipts=receipts,
                runs=[list(row) for row in connection.execute(_RUNS)],
                own=[list(row) for row in connection.execute(_OWN)],
            )

    def tap(self, ingest):
        """Tell each mutation's effective clock value and sequence as an in-process primary commits.

        Optional: without it the checker derives what it can from the rows.
        """
        seen = _SeenItems(ingest._scheduler)
        run = ingest._run
        ingest._scheduler = seen

        async def run_told(pushes):
            result = await run(pushes)
            with self._file as connection:
                database = _meta(connection).get("database")
            for item in seen.items:
                self._tell(
                    "judged",
                    database=database,
                    n=item.n,
                    c=item.counter,
                    h=item.mutation.h,
                    s=item.sequence,
                    o=_outcome(item.verdict),
                )
            return result

        ingest._run = run_told

    def _tell(self, event, **facts):
        self._history.add({"e": event, "t": self._now_ms(), "node": self.node, **facts})

    def _read(self, *, full):
        with self._file as connection:
            meta = _meta(connection)
            if "database" not in meta or not self._is_migrated(connection):
                return None
            seen = (meta["database"], meta["sequence"], meta["horizon"])
            before, self._seen = self._seen, seen
            if before == seen and not full:
                return None
            after = -1
            if not full and before is not None and (seen[0], seen[2]) == (before[0], before[2]):
                after = before[1] if seen[1] >= before[1] else -1
            is_whole = after < 0
            rows = [
                told
                for name, table in self._tables.items()
                for told in _rows(connection, name, table, after)
            ]
            ids = {(row[0], row[1]) for row in rows}
            gone = [list(key) for key in sorted(self._ids - ids)] if is_whole else []
            self._ids = ids if is_whole else self._ids | ids
            members = {(row[0], row[1]): list(row) for row in connection.execute(_MEMBERS)}
            known = {} if is_whole else self._members
            changed = [row for key, row in members.items() if known.get(key) != row]
            self._members = members
        return {
            "database": seen[0],
            "s": seen[1],
            "horizon": seen[2],
            "full": is_whole,
            "rows": rows,
            "gone": gone,
            "members": changed,
            "lineage": meta.get("lineage") or [],
        }

    def _is_migrated(self, connection):
        """Tell whether the file has every column that the app declares.

        SQLite takes the quoted name of a column that is not there for a text.
        """
        if self._migrated == self._file.identity:
            return True
        for table in self._tables.values():
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            if not found.issuperset(table.column_names):
                return False
        self._migrated = self._file.identity
        return True


class _SeenItems:
    """A scheduler that keeps the items of the last commit it was asked for."""

    def __init__(self, inner):
        self._inner = inner
        self.items = []

    def waves(self, items):
        self.items = list(items)
        return self._inner.waves(self.items)


class _File:
    """A database file on one connection that can only read, opened again when it was replaced."""

    def __init__(self, path):
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self.identity: tuple | None = None

    def __enter__(self):
        found = self.path.stat()
        identity = (self.path, found.st_dev, found.st_ino)
        if self._connection is None or identity != self.identity:
            self.close()
            address = f"file:{quote(str(self.path))}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None)
            self.identity = identity
        self._connection.execute("BEGIN")
        return self._connection

    def __exit__(self, *_):
        assert self._connection is not None
        self._connection.execute("ROLLBACK")

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _meta(connection):
    try:
        found = connection.execute(_META)
        return {key: json.loads(value) for key, value in found}
    except sqlite3.OperationalError:
        return {}  # Nothing has been replicated yet.


def _rows(connection, name, table, after):
    columns = ", ".join(f'"{column}"' for column in table.column_names)
    for row in connection.execute(
        f"SELECT {columns} FROM {table.name} WHERE sequence > ?", (after,)
    ):
        state = table.decode(row)
        yield [name, state.id, state.space, list(state.alive), state.fields, state.sequence]


def _outcome(verdict):
    if verdict.rejection is not None:
        return "rejected"
    return "superseded" if verdict.is_superseded else "merged"
