"""The few single values a phone remembers: who it is, what time it is, how far it has read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from sync_protocol.messages.cursor import Cursor

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_encode = msgspec.msgpack.Encoder().encode
_decode_cursor = msgspec.msgpack.Decoder(Cursor).decode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class Standing:
    """What a new link has to know beside the hello.

    `replaced`: the databases that the one greeted or read last goes on from; `numbered`: that one,
    and this installation's number there (0: it has none); `floor`: how far the confirmed rows went
    that are to be read from zero again.
    """

    replaced: frozenset[str]
    numbered: tuple[str, int]
    floor: Cursor | None


class Meta:
    """Typed access to `_meta`; writes take part in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  (the accessors know)
        """Return one value."""
        row = self._connection.execute("SELECT value FROM _meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else row[0]

    def put(self, key: str, value: str | bytes | int | None) -> None:
        """Write one value; None forgets it."""
        if value is None:
            self._connection.execute("DELETE FROM _meta WHERE key = ?", (key,))
        else:
            self._connection.execute(
                "INSERT INTO _meta (key, value) VALUES (?, ?) "
                "ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    @property
    def device(self) -> int:
        """The number the server gave this installation; 0 before it has one."""
        return self.get("device", 0)

    @property
    def counter(self) -> int:
        """The last mutation counter used."""
        return self.get("counter", 0)

    @property
    def cursor(self) -> Cursor | None:
        """How far the confirmed rows go; None before the first checkpoint."""
        return self._cursor("cursor")

    @property
    def floor(self) -> Cursor | None:
        """How far rows went that are read from zero again; None when they are not."""
        return self._cursor("floor")

    @property
    def staged_cursor(self) -> Cursor | None:
        """Where the unfinished round goes on; None while no page is staged."""
        return self._cursor("staged_cursor")

    @property
    def database(self) -> str | None:
        """The server's database, as it was last named; None before the first welcome."""
        cursor = self.cursor
        return self.get("database", None if cursor is None else cursor.database)

    @property
    def replicated(self) -> int:
        """Up to which sequence that database's commits outlive its primary."""
        return self.get("replicated", 0)

    def note_replicated(self, database: str, sequence: int) -> None:
        """Note what a database has replicated: it never becomes less, but databases change."""
        known = self.replicated if database == self.database else 0
        self.put("database", database)
        self.put("replicated", max(known, sequence))

    def judged(self, database: str) -> int:
        """Return up to which counter a database itself has told that it has judged this device."""
        return self.get("judged", 0) if self.get("judged_by") == database else 0

    def note_judged(self, database: str, counter: int) -> None:
        """Note up to where a database has judged: it never becomes less, but databases change."""
        counter = max(self.judged(database), counter)
        self.put("judged_by", database)
        self.put("judged", counter)

    def told(self, database: str) -> int:
        """Return the last counter of which a database's own outcome has come, by whatever way."""
        told = self.get("told", 0) if self.get("told_by") == database else 0
        return max(told, self.judged(database))

    def note_told(self, database: str, counter: int) -> None:
        """Note that an answer named a database and its outcome of a counter."""
        counter = max(self.told(database), counter)
        self.put("told_by", database)
        self.put("told", counter)

    @property
    def standing(self) -> Standing:
        """What a new link has to know beside the hello."""
        return Standing(self.replaced, (self.database or "", self.device), self.floor)

    @property
    def replaced(self) -> frozenset[str]:
        """The databases that the one greeted or read last goes on from."""
        blob = self.get("replaced")
        return frozenset() if blob is None else frozenset(_decode_ids(blob))

    def put_replaced(self, databases: Iterable[str]) -> None:
        """Note which databases were replaced, by the word of the one that goes on from them."""
        self.put("replaced", _encode(sorted(databases)))

    def put_cursor(self, key: str, cursor: Cursor | None) -> None:
        """Write `cursor`, `staged_cursor` or `floor`."""
        self.put(key, None if cursor is None else _encode(cursor))

    def _cursor(self, key: str) -> Cursor | None:
        blob = self.get(key)
        return None if blob is None else _decode_cursor(blob)
