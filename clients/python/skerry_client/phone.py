"""Skerry on a phone: local reads and writes that never wait for the network, sync beside them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from core.ids import RowId, new_row_id
from core.schema.collection import Collection
from skerry_client.errors import TransactionOpen, UnknownField
from skerry_client.store import Store
from skerry_client.syncing import Status, Syncing
from skerry_client.transaction import Transaction
from skerry_client.watching import Watching

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from types import TracebackType

    import httpx

    from core.schema.app import App
    from skerry_client.link import TokenSource
    from skerry_client.store.conflicts import LostConflict, Rejected
    from skerry_client.store.queue import Queued
    from skerry_client.tracing import Traceparent
    from sync_protocol.messages.push import WireChange

C = TypeVar("C", bound=Collection)


class Skerry:
    """One phone's database and its sync.

    `path` is the file; `url` the server's address (None: local only); `token` a bearer token or a
    function that gets one. With `background` a stream is kept up while inside `async with`.
    `now_unix_ms` and `entropy` are the wall clock and the source of random bytes. `traceparent` is
    asked for the trace of every request and stream (skerry_client.tracing); None names none.
    """

    def __init__(
        self,
        path: str | Path,
        app: App,
        *,
        url: str | None = None,
        token: TokenSource = "",
        background: bool = True,
        now_unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        entropy: Callable[[int], bytes] = os.urandom,
        http_transport: httpx.AsyncBaseTransport | None = None,
        traceparent: Traceparent | None = None,
    ) -> None:
        self.app = app
        self._now_unix_ms = now_unix_ms
        self._entropy = entropy
        self._background = background
        self._transaction: Transaction | None = None
        self._watching = Watching()
        self.store = Store(Path(path), app, entropy=entropy)
        self.store.on_change = self._watching.announce
        self._syncing = Syncing(
            self.store,
            url=url,
            token=token,
            now_unix_ms=now_unix_ms,
            jitter=lambda: int.from_bytes(entropy(4), "big") / 2**32,
            http_transport=http_transport,
            traceparent=traceparent,
        )

    async def __aenter__(self) -> Self:
        if self._background:
            await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop syncing and close the file; whatever was written is safe already."""
        await self._syncing.close()
        self.store.close()

    # --- writing -----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """Collect changes that stand or fall together; an exception inside stores nothing."""
        with self.store.lock:
            if self._transaction is not None:
                raise TransactionOpen
            self._transaction = transaction = Transaction(
                self.store, now_unix_ms=self._now_unix_ms, new_id=self._new_id
            )
            try:
                yield transaction
                mutation = transaction.commit()
            finally:
                self._transaction = None
        if mutation is not None:
            self._syncing.queue_changed()

    def insert(
        self,
        collection: type[Collection],
        /,
        *,
        space: str,
        id: str | None = None,  # noqa: A002  (a row's id is called id everywhere)
        **fields: object,
    ) -> RowId:
        """Add a row to a space and return its id."""
        with self.transaction() as transaction:
            return transaction.insert(collection, space=space, id=id, **fields)

    def edit(self, collection: type[Collection], row_id: str, /, **fields: object) -> None:
        """Write fields of a living row: plain values or operations."""
        with self.transaction() as transaction:
            transaction.edit(collection, row_id, **fields)

    def delete(self, collection: type[Collection], row_id: str, /) -> None:
        """Delete a living row."""
        with self.transaction() as transaction:
            transaction.delete(collection, row_id)

    def restore(self, collection: type[Collection], row_id: str, /) -> None:
        """Bring a deleted row back, with everything that was merged meanwhile."""
        with self.transaction() as transaction:
            transaction.restore(collection, row_id)

    # --- reading -----------------------------------------------------------------------------

    def get(self, collection: type[C], row_id: str, /) -> C | None:
        """Return a living row as the person sees it, own and provisional changes included."""
        state = self.store.reader.get(collection.collection_name, row_id)
        return collection(state) if state is not None and state.is_alive else None

    def is_provisional(self, collection: type[Collection], row_id: str, /) -> bool:
        """Tell whether a row shows what others have written and nobody has judged yet.

        While the primary is away, phones of one region see each other's writes like that: they may
        still be refused. The row's column `_pending` is 1 then, as for the phone's own writes.
        """
        return self.store.reader.is_provisional(collection.collection_name, row_id)

    def rows(
        self,
        collection: type[C],
        /,
        *,
        where: str | Mapping[str, Any] = "",
        params: Sequence[Any] = (),
        order: str = "id",
        limit: int | None = None,
    ) -> list[C]:
        """Return living rows; `where` is an SQL condition on the columns, or values they equal."""
        reader = self.store.reader
        if not isinstance(where, str):
            for name in where:
                if name not in collection.fields and name not in ("id", "_space"):
                    raise UnknownField(collection=collection.collection_name, field=name)
            where, params = reader.equal_to(where)
        name = collection.collection_name
        found = reader.rows(name, where=where, arguments=params, order=order, limit=limit)
        return [collection(state) for state in found]

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Run a SELECT over the collections' tables; anything but reading is refused."""
        return self.store.reader.query(sql, params)

    def live(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()
    ) -> AsyncGenerator[list[sqlite3.Row]]:
        """Yield a query's rows now, and again whenever a collection it reads has changed."""
        return self._watching.live(self.store.reader, sql, params)

    def listen(self, callback: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        """Call back with the names of collections that have changed; returns what ends it."""
        return self._watching.listen(callback)

    # --- outcomes ----------------------------------------------------------------------------

    def pending(self) -> list[Queued]:
        """Return the mutations without a final outcome, in the order they were made."""
        return self.store.waiting()

    def rejected(self) -> list[Rejected]:
        """Return the mutations the server refused, with what was wanted and what it has instead."""
        return self.store.rejected()

    def conflicts(self) -> list[LostConflict]:
        """Return the conflicts this phone's writes were part of, with both values."""
        return self.store.conflicts()

    def restore_rejected(self, counter: int) -> None:
        """Try a refused mutation again, as a new one made in sight of the present rows."""
        refused = next((item for item in self.rejected() if item.counter == counter), None)
        if refused is None:
            raise LookupError(counter)
        with self.transaction() as transaction:
            transaction.replay(
                self._raised(change.wanted, refused.schema_version) for change in refused.changes
            )
        self.store.dismiss_rejected(counter)

    def dismiss_rejected(self, counter: int) -> None:
        """Forget a refused mutation: the person has seen it."""
        self.store.dismiss_rejected(counter)

    def dismiss_conflict(self, number: int) -> None:
        """Forget a conflict: the person has seen it."""
        self.store.dismiss_conflict(number)

    # --- syncing -----------------------------------------------------------------------------

    async def sync(self) -> Status:
        """Do one full round: push all, pull all. Trouble shows in the status it returns."""
        if self._transaction is not None:
            raise TransactionOpen
        self._watching.join_loop()
        return await self._syncing.sync()

    async def connect(self) -> None:
        """Keep a stream up in the background; without one, rounds over HTTP."""
        self._watching.join_loop()
        self._syncing.connect()

    def on_progress(self, callback: Callable[[int, int], None]) -> None:
        """Call back with (rows done, rows in total) while a round is read."""
        self._syncing.on_progress(callback)

    def digests(self) -> dict[str, str]:
        """Return the digest of the confirmed rows per space, in hexadecimal."""
        return {space: digest.hex() for space, digest in self.store.digests().items()}

    def spaces(self) -> dict[str, tuple[str, str]]:
        """Return the spaces the person is a member of: kind and role."""
        return self.store.spaces()

    @property
    def status(self) -> Status:
        """What the app may show about syncing."""
        return self._syncing.status

    @property
    def is_stale(self) -> bool:
        """Whether the node that answered last is behind what this phone has seen elsewhere."""
        return self._syncing.status.is_stale

    def _new_id(self) -> RowId:
        return new_row_id(now_ms=max(self._now_unix_ms(), 0), entropy=self._entropy(10))

    def _raised(self, change: WireChange, schema_version: int) -> WireChange:
        for lens in self.app.lenses_from(change.collection, schema_version):
            change.fields = lens.raise_payloads(change.fields)
        return change
