"""Rounds: pages are kept aside and applied at once, at the page that carries the checkpoint.

Rows of collections that have no confirmed rows yet, or none that outlast the round, are kept in
tables (see `filling`); the rest of a page is kept as it came.

A phone that is killed in the middle of a bootstrap goes on after the last page it kept. No mutation
is ever half visible, because the whole round is one local transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from skerry_client.fold import FINAL
from skerry_client.store.confirmed import space_digests
from skerry_client.store.filling import Filling, clear
from sync_protocol.codec import decode_space_rows, encode_space_rows
from sync_protocol.digest import ZERO
from sync_protocol.messages.page import Page
from sync_protocol.mutations import HASH_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from core.schema.app import App
    from skerry_client.store.confirmed import Confirmed
    from skerry_client.store.meta import Meta
    from skerry_client.store.queue import Queue
    from sync_protocol.messages.cursor import Cursor
    from sync_protocol.messages.page import Rows
    from sync_protocol.messages.poke import Poke
    from sync_protocol.messages.provisional import ProvisionalMutation
    from sync_protocol.messages.pushed import Receipt
    from sync_protocol.messages.repaired import Repaired

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Page).decode


@dataclass(frozen=True, slots=True)
class Applied:
    """What a round, a poke or a repair has done: rows stored, and spaces whose digest is wrong."""

    rows: int
    mismatched: tuple[str, ...]


class Rounds:
    """Applies what the server sends; every method runs in the caller's transaction."""

    def __init__(
        self, connection: sqlite3.Connection, app: App, *, meta: Meta, confirmed: Confirmed,
        queue: Queue,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._app = app
        self._meta = meta
        self._confirmed = confirmed
        self._queue = queue
        self._filling = Filling(connection, confirmed)

    def stage(self, page: Page) -> int:
        """Keep a page of an unfinished round; return how many rows it holds."""
        if page.reset:
            self.unstage()
            self._meta.put("staged_reset", 1)
        rest, rows, kept = self._fill(page, self._is_fillable)
        self._connection.execute("INSERT INTO _staged_page (blob) VALUES (?)", (_encode(rest),))
        self._meta.put_cursor("staged_cursor", page.cursor)
        return rows + kept

    def unstage(self) -> None:
        """Drop the pages of an unfinished round; it starts again from the cursor."""
        unstage(self._connection, self._meta)

    def finish(self, page: Page) -> Applied:
        """Apply the staged pages and this last one, and verify the checkpoint's digests."""
        if self._meta.cursor is None and not page.reset:
            self._drop_all()  # A round from zero is a snapshot of everything.
        rows = horizon = merged_through = 0
        if page.reset:
            self.unstage()
        self._note_replaced(page)
        if page.cursor.database != self._rows_of:
            self._compare(None)
            self._revive_lost(page)
        last, _, _ = self._fill(page, self._filling.has)
        for staged in chain(self._staged(), (last,)):
            self._drop(staged)
            if staged is last:
                rows += self._filling.move()
            through = self._own_through(staged)
            self._judge(staged, through)
            rows += self._apply_spaces(staged.spaces)
            horizon = max(horizon, staged.horizon)
            merged_through = max(merged_through, through)
        self.unstage()
        former = self._meta.get("former", 0)
        if page.cursor.database == self._meta.database and 0 < former <= page.cursor.sequence:
            self._queue.forget_former()
            self._meta.put("former", None)
        self._meta.note_replicated(page.cursor.database, page.replicated)
        self._queue.settle(merged_through)
        self._meta.note_judged(page.cursor.database, merged_through)
        self._prune(page.cursor)
        self.show_provisional(page.provisional)
        self._meta.put_cursor("cursor", page.cursor)
        self._meta.put("floor", None)
        self._meta.put("horizon", max(horizon, self._meta.get("horizon", 0)))
        return self._verified(rows, {} if page.checkpoint is None else page.checkpoint.digests)

    def poke(self, poke: Poke) -> Applied:
        """Apply the rows of a poke that begins at or before the cursor and ends after it."""
        cursor = self._meta.cursor
        assert cursor is not None
        assert poke.since <= cursor.sequence < poke.sequence
        self.unstage()
        rows = self._apply_spaces(poke.spaces)
        self._meta.note_replicated(cursor.database, poke.replicated)
        if poke.merged_through <= self._meta.counter:  # else a copy of the phone has come further
            self._queue.settle(poke.merged_through)
        self._meta.note_judged(cursor.database, poke.merged_through)
        moved = msgspec.structs.replace(cursor, sequence=poke.sequence)
        self._prune(moved)
        if poke.provisional is not None:
            self.show_provisional(poke.provisional)
        self._meta.put_cursor("cursor", moved)
        return self._verified(rows, poke.digests)

    def show_provisional(self, mutations: Iterable[ProvisionalMutation]) -> None:
        """Replace the set of other devices' mutations that nobody has judged yet."""
        self._queue.show_provisional(
            mutations,
            own=self._meta.device,
            schema_version=self._app.version,
            collections=self._app.collections,
        )

    def note_outcomes(self, database: str) -> None:
        """Note whose final outcomes follow, "" when there are none.

        A node that was behind may tell of a database that this phone has not read, and that may not
        go on from the one it has: sequences of the two say nothing about one another. What the one
        has judged shows until its rows are here, or the other one speaks again.
        """
        if database == self._rows_of:
            self._compare(None)
        elif database not in {"", self._meta.database}:
            self._compare(database)

    def record_receipts(
        self, merged: Iterable[tuple[int, int, int]], receipts: Iterable[Receipt], database: str
    ) -> None:
        """Note outcomes that answer a push, and whose the final ones are ("": there are none)."""
        through = 0
        self.note_outcomes(database)
        for first, last, sequence in merged:
            self._queue.merged(first, last, sequence)
            through = max(through, last)
        for receipt in receipts:
            self._queue.judge(receipt)
            if receipt.outcome in FINAL:
                through = max(through, receipt.counter)
        if database and through:
            self._meta.note_told(database, through)

    def prune(self, replicated: int) -> None:
        """Drop or retain what has its receipt (Q3); `replicated` is news of the same database."""
        if self._meta.get("unread") is not None:
            return
        cursor, database = self._meta.cursor, self._meta.database
        if replicated and database is not None:
            self._meta.note_replicated(database, replicated)
        if cursor is not None:
            self._prune(cursor)

    def repair(self, repaired: Repaired) -> Applied:
        """Replace the damaged buckets of one space by what the server has in them."""
        for damaged in repaired.damaged:
            self._confirmed.drop_bucket(
                repaired.space, damaged.collection, damaged.bucket, repaired.sequence
            )
        rows = self._apply_spaces([repaired.rows])
        self._confirmed.flush()
        for collection in {damaged.collection for damaged in repaired.damaged}:
            self._confirmed.sum_again(repaired.space, collection)
        return self._verified(rows, {repaired.space: repaired.digest})

    def _is_fillable(self, collection: str) -> bool:
        """Tell whether a collection has no confirmed rows, or none that outlast the round."""
        is_from_zero = self._meta.cursor is None or bool(self._meta.get("staged_reset"))
        return is_from_zero or not self._confirmed.has_rows(collection)

    def _fill(self, page: Page, takes: Callable[[str], bool]) -> tuple[Page, int, int]:
        """Keep the rows of some collections in tables; return the rest and both numbers of rows."""
        for space in page.lost:
            self._filling.drop_space(space)
        rest: list[msgspec.Raw] = []
        rest_count = kept_count = 0
        for raw in page.spaces:
            part = decode_space_rows(raw)
            others: dict[str, Rows] = {}
            for collection, rows in part.collections.items():
                if takes(collection):
                    self._filling.keep(part.space, collection, rows)
                    kept_count += len(rows.sequences)
                else:
                    others[collection] = rows
                    rest_count += len(rows.sequences)
            if len(others) == len(part.collections):
                rest.append(raw)
            elif others:
                rest.append(msgspec.Raw(encode_space_rows(part.space, others)))
        return msgspec.structs.replace(page, spaces=rest), rest_count, kept_count

    def _drop(self, page: Page) -> None:
        """Drop what the page says is gone, and learn of spaces that were gained."""
        if page.reset:
            self._drop_all()
        for space in (*page.lost, *self._spaces_of_another_role(page)):
            self._confirmed.drop_space(space)
        self._connection.executemany(
            "INSERT INTO _space (space, kind, role) VALUES (?, ?, ?) "
            "ON CONFLICT(space) DO UPDATE SET kind = excluded.kind, role = excluded.role",
            [(gained.space, gained.kind, gained.role) for gained in page.gained],
        )

    def _drop_all(self) -> None:
        self._confirmed.drop_all()
        self._queue.rows_dropped()

    def _spaces_of_another_role(self, page: Page) -> list[str]:
        """Return spaces that are held and come from zero again: the new role may read less."""
        roles = dict(self._connection.execute("SELECT space, role FROM _space").fetchall())
        return [g.space for g in page.gained if roles.get(g.space, g.role) != g.role]

    def _own_through(self, page: Page) -> int:
        """Return up to which counter a page tells of this phone's own mutations.

        A copy of the phone may have used the same counters. What is behind that waits on: it is
        pushed over the next link, and the answer tells that this installation was cloned.
        """
        first = page.merged_through - len(page.hashes) // HASH_BYTES + 1
        other = self._queue.first_of_a_copy(first, page.hashes)
        if other is not None:
            return other - 1
        # What was written while this page was on its way has no hash in it. It may be in the rows
        # already, unless a copy has come further than this phone ever did.
        is_a_copys = page.merged_through > self._meta.counter and self._queue.has_waiting(first)
        return 0 if is_a_copys else page.merged_through

    def _judge(self, page: Page, through: int) -> None:
        """Note the outcomes of this phone's mutations up to a counter."""
        for first, last, sequence in page.merged:
            self._queue.merged(first, min(last, through), sequence, only_accepted=True)
        for receipt in page.receipts:
            if receipt.counter <= through:
                self._queue.judge(receipt, only_accepted=True)

    def _note_replaced(self, last: Page) -> None:
        """Note that the round's database goes on from the one that the cursor was of."""
        cursor, is_reset = self._meta.cursor, last.reset or self._meta.get("staged_reset")
        if cursor is not None and not is_reset and cursor.database != last.cursor.database:
            self._meta.put_replaced(self._meta.replaced | {cursor.database})

    def _revive_lost(self, page: Page) -> None:
        """Let wait again what another database than the round's has judged, and that one has not.

        A node that was behind may have greeted this phone, and has told nothing of it.
        """
        told = self._meta.told(page.cursor.database)
        self._queue.revive(after=max(page.merged_through, told))

    @property
    def _rows_of(self) -> str | None:
        """The database whose sequences the confirmed rows have."""
        cursor = self._meta.cursor
        return self._meta.database if cursor is None else cursor.database

    def _compare(self, unread: str | None) -> None:
        """Compare receipts with rows or, while they are those of a database not read, do not."""
        if self._meta.get("unread") != unread:
            self._meta.put("unread", unread)
            self._confirmed.mark_pending()

    def _prune(self, cursor: Cursor) -> None:
        meta = self._meta
        if meta.get("unread") is not None:
            return
        judged = meta.judged(cursor.database)
        self._queue.prune(cursor.sequence, replicated=meta.replicated, judged=judged)

    def _apply_spaces(self, spaces: Iterable[msgspec.Raw]) -> int:
        count = 0
        for raw in spaces:
            part = decode_space_rows(raw)
            for collection, rows in part.collections.items():
                self._confirmed.apply(part.space, collection, rows)
                count += len(rows.sequences)
        return count

    def _staged(self) -> Iterable[Page]:
        positions = self._connection.execute("SELECT position FROM _staged_page ORDER BY position")
        for (position,) in positions.fetchall():
            (blob,) = self._connection.execute(
                "SELECT blob FROM _staged_page WHERE position = ?", (position,)
            ).fetchone()
            yield _decode(blob)

    def _verified(self, rows: int, expected: Mapping[str, bytes]) -> Applied:
        self._confirmed.flush()
        wrong = self._wrong(expected)
        for space in wrong:
            # The sums themselves may be what is damaged: a repair must start from the rows.
            self._confirmed.sum_space_again(space)
        return Applied(rows, self._wrong(expected) if wrong else ())

    def _wrong(self, expected: Mapping[str, bytes]) -> tuple[str, ...]:
        have = space_digests(self._connection)
        return tuple(
            sorted(space for space, digest in expected.items() if have.get(space, ZERO) != digest)
        )


def forget_cursor(meta: Meta, confirmed: Confirmed) -> None:
    """Read from zero again; the confirmed rows stay until the new round replaces them.

    From then on their sequences are of the database that was named last: of another one they would
    say nothing about receipts (F2).
    """
    if (cursor := meta.cursor) and cursor.database != meta.database:
        confirmed.forget_sequences()
    if cursor is not None:
        meta.put_cursor("floor", cursor)
    meta.put("cursor", None)


def unstage(connection: sqlite3.Connection, meta: Meta) -> None:
    """Drop all that is kept of an unfinished round."""
    connection.execute("DELETE FROM _staged_page")
    clear(connection)
    meta.put("staged_cursor", None)
    meta.put("staged_reset", None)
