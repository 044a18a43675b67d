"""The store: one SQLite file per phone. Everything that changes it is one transaction here.

Invariants: Q1-Q4 (queue), S1-S3 (confirmed rows), F1-F3 (fold), and
  T1  a method that raises has changed nothing
  T2  after each transaction, view == fold(confirmed, queue)
  T3  methods may be called from any thread; one lock orders them
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from core.clock import HybridClock, saturated
from skerry_client.store.clone import become_new, revive_lost
from skerry_client.store.collector import collector_paused
from skerry_client.store.confirmed import Confirmed, bucket_digests, space_digests
from skerry_client.store.conflicts import (
    LostConflict,
    Rejected,
    conflicts,
    dismiss_conflict,
    dismiss_rejected,
    rejected,
)
from skerry_client.store.database import open_writer, transaction
from skerry_client.store.meta import Meta, Standing
from skerry_client.store.migration import mark_all_dirty, migrate
from skerry_client.store.queue import Queue, Queued
from skerry_client.store.reader import Reader
from skerry_client.store.rounds import Applied, Rounds, forget_cursor
from skerry_client.store.tables import Table
from skerry_client.store.views import Views
from sync_protocol.messages.push import WireChange, WireMutation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from core.row import RowState
    from core.schema.app import App
    from sync_protocol.messages.cursor import Cursor
    from sync_protocol.messages.page import Page
    from sync_protocol.messages.poke import Poke
    from sync_protocol.messages.provisional import ProvisionalMutation
    from sync_protocol.messages.pushed import Pushed, Receipt
    from sync_protocol.messages.repaired import Repaired
    from sync_protocol.messages.welcome import Welcome

CACHED_VIEWS_MAX: Final = 1_000
"""Rows whose folded view is kept, so that the thousandth edit of a row costs what the first did."""


class Store:
    """Confirmed rows, mutation queue and views of one phone.

    `entropy` returns that many random bytes; `on_change` hears, after each commit and outside the
    lock, which collections it touched.
    """

    def __init__(self, path: Path, app: App, *, entropy: Callable[[int], bytes]) -> None:
        self.app = app
        self.lock = threading.RLock()
        self.on_change: Callable[[frozenset[str]], None] = _ignore
        self._entropy = entropy
        self._tables = {
            name: Table(name, declared.fields) for name, declared in app.collections.items()
        }
        self._connection = open_writer(path)
        self._cache: dict[tuple[str, str], RowState] = {}
        self._meta = Meta(self._connection)
        self._views = Views(self._connection, app, self._tables)
        self._fresh()
        self._clock = HybridClock()
        with self._write():
            if migrate(
                self._connection, app, meta=self._meta, confirmed=self._confirmed,
                tables=self._tables,
            ):  # fmt: skip
                for name in app.collections:
                    mark_all_dirty(self._connection, self._confirmed, name)
            if self._meta.get("installation") is None:
                self._meta.put("installation", entropy(16).hex())
        self._clock.last = self._meta.get("clock", 0)
        self.reader = Reader(path, app, self._tables)

    def close(self) -> None:
        """Close the file; whatever was committed is safe already."""
        with self.lock:
            self.reader.close()
            self._connection.close()

    # --- who and where -----------------------------------------------------------------------

    @property
    def installation(self) -> str:
        """This installation's own random id."""
        return self._read("installation", "")

    @property
    def device(self) -> int:
        """The number the server gave this installation; 0 before it has one."""
        return self._read("device", 0)

    @property
    def counter(self) -> int:
        """The last mutation counter used."""
        return self._read("counter", 0)

    @property
    def cursor(self) -> Cursor | None:
        """How far the confirmed rows go."""
        with self.lock:
            return self._meta.cursor

    @property
    def standing(self) -> Standing:
        """What a new link has to know beside the hello."""
        with self.lock:
            return self._meta.standing

    @property
    def pull_cursor(self) -> Cursor | None:
        """Where the next pull goes on: behind the last staged page, or at the cursor."""
        with self.lock:
            return self._meta.staged_cursor or self._meta.cursor

    def clock(self, now_unix_ms: int) -> int:
        """Return what the hybrid clock shows now, without using the value up."""
        with self.lock:
            return max(self._clock.last, saturated(now_unix_ms))

    def greet(self, welcome: Welcome) -> None:
        """Become the device that the server knows; what its database has lost waits again.

        A database that gives this installation another number and has merged nothing of it has
        never heard of it: then everything in the queue is numbered from 1, as that device's.
        """
        with self._write():
            database, device = self._meta.database, self._meta.device
            if not welcome.stale:  # else it may be an earlier database than the one read before
                self._meta.note_replicated(welcome.database, welcome.replicated)
                self._meta.note_judged(welcome.database, welcome.merged_through)
                self._meta.put_replaced(welcome.replaced)
                self._rounds.note_outcomes(welcome.database)
                if self._meta.get("former") is not None:
                    self._meta.put("former", welcome.sequence)
            is_other_database = database not in {None, welcome.database}
            if is_other_database and not welcome.stale and self._meta.cursor is None:
                self._confirmed.forget_sequences()  # see `forget_cursor`
            is_renamed = device not in {0, welcome.device}
            if is_renamed and is_other_database:
                self._queue.revive(after=0)
            elif not is_renamed and not welcome.stale:
                self._queue.revive(after=welcome.merged_through)
            if is_renamed and not welcome.merged_through:
                self._renumber(self._meta.get("installation"), is_settled=is_other_database)
            if self._meta.device != welcome.device:
                self._meta.put("device", welcome.device)
                self._confirmed.mark_pending()

    # --- the app's writes --------------------------------------------------------------------

    def view(self, collection: str, row_id: str) -> RowState | None:
        """Return the folded view of one row, dead ones too; the caller holds the lock."""
        key = (collection, row_id)
        if key not in self._cache:
            found = self._views.load(collection, row_id, n=self._meta.device)
            if found is None:
                return None
            if len(self._cache) >= CACHED_VIEWS_MAX:
                self._cache.clear()
            self._cache[key] = found
        return self._cache[key]

    def commit(
        self,
        changes: Sequence[WireChange],
        *,
        now_unix_ms: int,
        fold: Callable[[WireMutation, int], Mapping[tuple[str, str], RowState]],
    ) -> WireMutation:
        """Append one mutation; `fold` makes the new views of it and the device number."""
        before = self._clock.last
        try:
            with self._write(frozenset(change.collection for change in changes)):
                for change in changes:
                    self._clock.observe(max([change.seen, *change.base.values()]))
                counter = self._meta.counter + 1
                h = self._clock.tick(now_unix_ms)
                mutation = WireMutation(counter=counter, h=h, changes=list(changes))
                self._queue.append(mutation, schema_version=self.app.version)
                self._meta.put("counter", counter)
                self._meta.put("clock", h)
                views = fold(mutation, self._meta.device)
                for (collection, _), view in views.items():
                    self._views.write_pending(self._tables[collection], view)
        except BaseException:
            self._clock.last = before
            raise
        if len(self._cache) + len(views) > CACHED_VIEWS_MAX:
            self._cache.clear()
        self._cache.update(views)
        return mutation

    # --- what the server says ----------------------------------------------------------------

    def record(self, pushed: Pushed) -> None:
        """Note the receipts of a push."""
        self.record_receipts(
            pushed.merged, pushed.receipts, replicated=pushed.replicated, database=pushed.database
        )

    def record_receipts(
        self, merged: Iterable[tuple[int, int, int]], receipts: Iterable[Receipt], *,
        replicated: int = 0, database: str = "",
    ) -> None:  # fmt: skip
        """Note runs (first counter, last, sequence) and receipts, the final ones of `database`."""
        with self._write():
            self._rounds.record_receipts(merged, receipts, database)
            self._rounds.prune(replicated)

    def note_replicated(self, sequence: int) -> None:
        """Note up to where commits outlive the primary, and drop what is safe by that."""
        with self._write():
            self._rounds.prune(sequence)

    def show_provisional(self, mutations: Sequence[ProvisionalMutation]) -> None:
        """Replace the set of other devices' mutations that nobody has judged yet."""
        with self._write():
            self._rounds.show_provisional(mutations)

    def stage(self, page: Page) -> int:
        """Keep a page of an unfinished round; return its number of rows."""
        with collector_paused(), self._write():
            return self._rounds.stage(page)

    def unstage(self) -> None:
        """Drop the pages of an unfinished round."""
        with self._write():
            self._rounds.unstage()

    def finish(self, page: Page) -> Applied:
        """Apply a whole round: the staged pages and this one, which has the checkpoint."""
        with collector_paused(), self._write():
            applied = self._rounds.finish(page)
            self._refold()
            self._confirmed.drop_dead(self._meta.get("horizon", 0))
            return applied

    def poke(self, poke: Poke) -> Applied:
        """Apply a poke that goes on exactly where the cursor stands."""
        with self._write():
            return self._rounds.poke(poke)

    def repair(self, repaired: Repaired) -> Applied:
        """Replace the damaged buckets of a space."""
        with self._write():
            return self._rounds.repair(repaired)

    def reset(self) -> None:
        """Drop all confirmed rows and start again from zero; the queue is kept and folded again."""
        with self._write():
            self._rounds.unstage()
            self._confirmed.drop_all()
            self._queue.rows_dropped()
            self._meta.put("cursor", None)

    def reset_read(self) -> None:
        """Read from zero again; the confirmed rows stay until the new round replaces them."""
        with self._write():
            self._rounds.unstage()
            forget_cursor(self._meta, self._confirmed)

    def become_new(self, database: str = "", merged_through: int = 0) -> None:
        """Take a new identity: the file is a copy, or `database` lacks what it has dropped."""
        with self._write():
            is_lost = revive_lost(self._meta, self._queue, database, merged_through)
            self._renumber(self._entropy(16).hex(), is_settled=is_lost)

    # --- what the sync and the app may ask ----------------------------------------------------

    def waiting(self) -> list[Queued]:
        """Return mutations without a final receipt, by counter."""
        with self.lock:
            return self._queue.waiting()

    def batch(
        self, *, after: int, mutations_max: int, bytes_max: int, is_gap: bool = False
    ) -> list[Queued]:
        """Return what to push next: one schema version, contiguous from `after` on, bounded."""
        with self.lock:
            bounds = {"mutations_max": mutations_max, "bytes_max": bytes_max}
            return self._queue.batch(after=after, is_gap=is_gap, **bounds)

    def waiting_count(self) -> int:
        """Return how many mutations have no final receipt."""
        with self.lock:
            return self._queue.waiting_count()

    def unconfirmed(self) -> int:
        """Return the lowest counter without a final receipt, 0 when there is none."""
        with self.lock:
            return self._queue.unconfirmed()

    def digests(self) -> dict[str, bytes]:
        """Return the digest of the confirmed rows per space."""
        with self.lock:
            return space_digests(self._connection)

    def bucket_digests(self, space: str) -> dict[str, list[bytes]]:
        """Return a space's digests by collection and bucket."""
        with self.lock:
            return bucket_digests(self._connection, space)

    def spaces(self) -> dict[str, tuple[str, str]]:
        """Return the spaces of this phone: kind and role."""
        with self.lock:
            found = self._connection.execute("SELECT space, kind, role FROM _space")
            return {space: (kind, role) for space, kind, role in found}

    def rejected(self) -> list[Rejected]:
        """Return the refused mutations that nobody has dismissed."""
        with self.lock:
            return rejected(self._connection)

    def dismiss_rejected(self, counter: int) -> None:
        """Forget a refused mutation."""
        with self._write():
            dismiss_rejected(self._connection, counter)

    def conflicts(self) -> list[LostConflict]:
        """Return the conflicts that nobody has dismissed."""
        with self.lock:
            return conflicts(self._connection)

    def dismiss_conflict(self, number: int) -> None:
        """Forget a conflict."""
        with self._write():
            dismiss_conflict(self._connection, number)

    # --- transactions ------------------------------------------------------------------------

    @contextmanager
    def _write(self, touched: frozenset[str] = frozenset()) -> Generator[None]:
        with self.lock:
            try:
                with transaction(self._connection):
                    yield
                    self._refold()
                    self._confirmed.flush()
                    touched |= self._confirmed.touched
            finally:
                self._fresh()
        if touched:
            self.on_change(touched)

    def _renumber(self, installation: str, *, is_settled: bool = False) -> None:
        become_new(
            self._connection, self.app, meta=self._meta, queue=self._queue,
            confirmed=self._confirmed, installation=installation, keeps_settled=is_settled,
        )  # fmt: skip
        self._confirmed.mark_pending()

    def _fresh(self) -> None:
        self._confirmed = Confirmed(self._connection, self._tables)
        self._queue = Queue(self._connection, self._confirmed, self._views)
        self._rounds = Rounds(
            self._connection,
            self.app,
            meta=self._meta,
            confirmed=self._confirmed,
            queue=self._queue,
        )

    def _refold(self) -> None:
        """Bring the views in line again (T2)."""
        if not self._confirmed.touched and not self._confirmed.dirty:
            return
        self._cache.clear()
        device = self._meta.device
        for collection, ids in self._confirmed.dirty.items():
            self._views.refold(collection, ids, n=device)
            self._confirmed.touched.add(collection)
        self._confirmed.dirty.clear()

    def _read(self, key: str, default: Any) -> Any:  # noqa: ANN401  (the accessors know)
        with self.lock:
            return self._meta.get(key, default)


def _ignore(_touched: frozenset[str]) -> None:
    """Nobody listens."""
