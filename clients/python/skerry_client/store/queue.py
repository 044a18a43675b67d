"""The mutation queue: what this phone wrote and the primary has not confirmed in its rows yet.

Invariants
  Q1  counters of this installation are contiguous from 1; `device` 0 in a key means "this one"
  Q2  a payload is sent with the same bytes every time
  Q3  an entry goes only when it has a final receipt whose sequence both the cursor and what is
      replicated have reached, and the cursor's database has told that it has judged it: what has
      answered a push may have been replaced since, or have named no database. One that the cursor
      alone has reached is retained: its rows hold it, so it is not pending (no `_pending_change`),
      not waiting and not folded, and is only there to be sent again to a database that has lost it.
      So is one that was refused: the app finds it in `_rejected`, and its place keeps the counters
      whole for a node that has not heard of it
  Q4  entries of other devices (outcome `provisional`) are one set, replaced as a whole, never sent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from skerry_client.fold import FINAL, PROVISIONAL, REFUSED
from skerry_client.store.conflicts import record_conflicts
from skerry_client.store.tables import quoted
from skerry_client.store.views import decode_mutation
from sync_protocol.messages.push import WireMutation
from sync_protocol.messages.pushed import Receipt
from sync_protocol.mutations import HASH_BYTES, UNKNOWN_HASH, payload_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable

    from skerry_client.store.confirmed import Confirmed
    from skerry_client.store.views import Views
    from sync_protocol.messages.provisional import ProvisionalMutation

encode_mutation: Final = msgspec.msgpack.Encoder().encode
encode_json: Final = msgspec.json.Encoder(order="deterministic").encode
_RUN: Final = "device = 0 AND counter BETWEEN ? AND ?"
_OPEN: Final = "outcome IN ('', 'accepted')"
_FINAL: Final = "outcome IN ('merged', 'superseded', 'rejected', 'quarantined')"
_REFUSED: Final = "outcome IN ('rejected', 'quarantined')"
_SELECT: Final = (
    "SELECT counter, h, schema_version, payload, outcome, sequence, settled FROM _mutation_queue"
)


@dataclass(frozen=True, slots=True)
class Queued:
    """One queue entry: `payload` is the encoded WireMutation, `outcome` empty until a receipt."""

    counter: int
    h: int
    schema_version: int
    payload: bytes
    outcome: str
    sequence: int
    is_settled: bool = False

    @property
    def mutation(self) -> WireMutation:
        """The mutation, decoded."""
        return decode_mutation(self.payload)


class Queue:
    """Appends, judges and prunes entries; every method runs in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, confirmed: Confirmed, views: Views) -> None:
        self._connection = connection
        self._confirmed = confirmed
        self._views = views

    def append(self, mutation: WireMutation, *, schema_version: int) -> None:
        """Store a new mutation and note which rows it concerns."""
        payload = encode_mutation(mutation)
        self._connection.execute(
            "INSERT INTO _mutation_queue (device, counter, h, schema_version, payload) "
            "VALUES (0, ?, ?, ?, ?)",
            (mutation.counter, mutation.h, schema_version, payload),
        )
        self.note_changes(mutation)

    def note_changes(self, mutation: WireMutation, *, device: int = 0) -> None:
        """Index the rows that a mutation concerns."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO _pending_change (collection, id, device, counter) "
            "VALUES (?, ?, ?, ?)",
            [
                (change.collection, change.id, device, mutation.counter)
                for change in mutation.changes
            ],
        )

    def merged(self, first: int, last: int, sequence: int, *, only_accepted: bool = False) -> None:
        """Note that a run of mutations was merged, the last of them at `sequence`.

        `only_accepted`: the news did not answer a push of this phone. A copy of the phone may have
        used these counters for mutations of its own, so only what was accepted is settled by it.
        """
        which = "outcome = 'accepted'" if only_accepted else _OPEN
        if not only_accepted:
            self._forget_lost(first, last, sequence)
        self._connection.execute(
            f"UPDATE _mutation_queue SET outcome = 'merged', sequence = ? WHERE {_RUN} AND {which}",
            (sequence, first, last),
        )
        self._refold_known(first, last, sequence)

    def first_of_a_copy(self, first: int, hashes: bytes) -> int | None:
        """Return the first waiting counter whose payload is not the one that the server has.

        `hashes` are what the server knows counters `first` and following by, 8 bytes each.
        """
        last = first + len(hashes) // HASH_BYTES - 1
        for counter, payload in self._connection.execute(
            f"SELECT counter, payload FROM _mutation_queue WHERE {_RUN} AND {_OPEN} "
            "ORDER BY counter",
            (first, last),
        ):
            at = (counter - first) * HASH_BYTES
            known = hashes[at : at + HASH_BYTES]
            if known not in {UNKNOWN_HASH, payload_hash(decode_mutation(payload))}:
                return counter
        return None

    def has_waiting(self, before: int) -> bool:
        """Tell whether something below a counter has no final receipt."""
        waiting = f"SELECT 1 FROM _mutation_queue WHERE {_RUN} AND {_OPEN} LIMIT 1"
        return self._connection.execute(waiting, (1, before - 1)).fetchone() is not None

    def judge(self, receipt: Receipt, *, only_accepted: bool = False) -> None:
        """Note one receipt; a refused mutation moves to `_rejected` at once."""
        if receipt.outcome in FINAL and not only_accepted:
            self._forget_lost(receipt.counter, receipt.counter, receipt.sequence)
        entry = self._connection.execute(
            "SELECT h, schema_version, payload, outcome FROM _mutation_queue "
            "WHERE device = 0 AND counter = ?",
            (receipt.counter,),
        ).fetchone()
        if entry is None or entry[3] in FINAL or (only_accepted and entry[3] != "accepted"):
            return
        if receipt.outcome in REFUSED:
            self._reject(receipt, *entry[:3])
            return
        sequence = receipt.sequence if receipt.outcome in FINAL else 0
        self._connection.execute(
            "UPDATE _mutation_queue SET outcome = ?, sequence = ? WHERE device = 0 AND counter = ?",
            (receipt.outcome, sequence, receipt.counter),
        )
        if receipt.outcome in FINAL:
            record_conflicts(self._connection, receipt)
            self._refold_known(receipt.counter, receipt.counter, sequence)

    def settle(self, merged_through: int) -> None:
        """Note that the confirmed rows now hold every mutation up to a counter, receipt or not."""
        where = f"WHERE {_RUN} AND {_OPEN} AND settled = 0"
        for (counter,) in self._connection.execute(
            f"SELECT counter FROM _mutation_queue {where}", (1, merged_through)
        ).fetchall():
            self._dirty(0, counter, counter)
        self._connection.execute(
            f"UPDATE _mutation_queue SET settled = 1 {where}", (1, merged_through)
        )

    def prune(self, sequence: int, *, replicated: int, judged: int) -> None:
        """Drop what the rows hold at `sequence` and is replicated; retain what is not (Q3).

        `judged`: the last counter of this phone's that the rows' database has told of.
        """
        for key in self._connection.execute(
            f"SELECT device, counter FROM _mutation_queue WHERE {_FINAL} AND sequence <= ? "
            "AND (device <> 0 OR counter <= ?)",
            (min(sequence, replicated), judged),
        ).fetchall():
            self._drop(*key)
        for key in self._connection.execute(
            f"SELECT device, counter FROM _mutation_queue WHERE {_FINAL} AND settled = 0 "
            "AND sequence <= ?",
            (sequence,),
        ).fetchall():
            self._unlink(*key)
            self._connection.execute(
                "UPDATE _mutation_queue SET settled = 1 WHERE device = ? AND counter = ?", key
            )

    def rows_dropped(self) -> None:
        """Note that the confirmed rows hold nothing any more: everything here is pending again."""
        for device, counter, payload in self._connection.execute(
            "SELECT device, counter, payload FROM _mutation_queue "
            f"WHERE settled = 1 AND NOT {_REFUSED}"
        ).fetchall():
            self.note_changes(decode_mutation(payload), device=device)
            self._connection.execute(
                "UPDATE _mutation_queue SET settled = 0 WHERE device = ? AND counter = ?",
                (device, counter),
            )
            self._dirty(device, counter, counter)

    def forget_former(self) -> None:
        """Drop what was judged under earlier numbers of this phone: the rows tell of it by now.

        The sequences of those receipts may be a lost database's, which no round would come to.
        """
        for key in self._connection.execute(
            f"SELECT device, counter FROM _mutation_queue WHERE device <> 0 AND {_FINAL}"
        ).fetchall():
            self._drop(*key)

    def revive(self, *, after: int) -> None:
        """Let mutations above a counter wait again: the database that judged them has lost them.

        What the confirmed rows held they still hold (`settled`), until a round drops them.
        """
        self._reopen("counter > ?", after)

    def _forget_lost(self, first: int, last: int, sequence: int) -> None:
        """Let what a lost database judged wait again: this one says so at a lower sequence."""
        self._reopen("counter BETWEEN ? AND ? AND sequence > ?", first, last, sequence)

    def _reopen(self, which: str, *values: int) -> None:
        for counter, payload in self._connection.execute(
            f"SELECT counter, payload FROM _mutation_queue WHERE device = 0 AND {_FINAL} "
            f"AND {which}",
            values,
        ).fetchall():
            self.note_changes(decode_mutation(payload))
            # One that was refused is judged again: it shows, and is no longer told as refused.
            self._connection.execute(
                "UPDATE _mutation_queue SET settled = 0 "
                f"WHERE device = 0 AND counter = ? AND {_REFUSED}",
                (counter,),
            )
            self._connection.execute(
                "DELETE FROM _rejected WHERE device = 0 AND counter = ?", (counter,)
            )
            self._connection.execute(
                "UPDATE _mutation_queue SET outcome = '', sequence = 0 "
                "WHERE device = 0 AND counter = ?",
                (counter,),
            )
            self._dirty(0, counter, counter)

    def show_provisional(
        self,
        mutations: Iterable[ProvisionalMutation],
        *,
        own: int,
        schema_version: int,
        collections: Container[str],
    ) -> None:
        """Replace the set of other devices' mutations that nobody has judged yet (Q4)."""
        before = self._connection.execute(
            "SELECT device, counter FROM _mutation_queue WHERE outcome = 'provisional'"
        ).fetchall()
        for key in before:
            self._drop(*key)
        for shown in mutations:
            changes = [change for change in shown.changes if change.collection in collections]
            if shown.device in {0, own} or not changes:
                continue
            mutation = WireMutation(shown.counter, shown.h, changes)
            added = self._connection.execute(
                "INSERT OR IGNORE INTO _mutation_queue "
                "(device, counter, h, schema_version, payload, outcome) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    shown.device,
                    shown.counter,
                    shown.h,
                    schema_version,
                    encode_mutation(mutation),
                    PROVISIONAL,
                ),
            )
            if added.rowcount:
                self.note_changes(mutation, device=shown.device)
                self._dirty(shown.device, shown.counter, shown.counter)

    def waiting(self) -> list[Queued]:
        """Return entries without a final receipt, by counter."""
        found = self._connection.execute(f"{_SELECT} WHERE device = 0 AND {_OPEN} ORDER BY counter")
        return [Queued(*row) for row in found]

    def batch(
        self, *, after: int, mutations_max: int, bytes_max: int, is_gap: bool = False
    ) -> list[Queued]:
        """Return entries behind a counter, final or not: what the server has not, it is sent.

        All have one schema version, and no counter is left out; the first is taken whatever its
        size. From the queue's start (`after` 0) retained ones are left out: their receipts are
        final, and a server that has lost them says so, by its welcome or by naming the counter to
        go on from (`is_gap`), which is 0 when it has lost them all.
        """
        batch: list[Queued] = []
        size_bytes = 0
        for row in self._connection.execute(
            f"{_SELECT} WHERE device = 0 AND counter > ? "
            f"AND (? OR settled = 0 OR {_OPEN}) ORDER BY counter LIMIT ?",
            (after, is_gap or after > 0, mutations_max),
        ):
            entry = Queued(*row)
            size_bytes += len(entry.payload)
            if batch and (
                size_bytes > bytes_max
                or entry.schema_version != batch[0].schema_version
                or entry.counter != batch[-1].counter + 1
            ):
                break
            batch.append(entry)
        return batch

    def waiting_count(self) -> int:
        """Return how many entries have no final receipt."""
        (count,) = self._connection.execute(
            f"SELECT count(*) FROM _mutation_queue WHERE device = 0 AND {_OPEN}"
        ).fetchone()
        return count

    def unconfirmed(self) -> int:
        """Return the lowest counter without a final receipt, 0 when there is none."""
        row = self._connection.execute(
            f"SELECT min(counter) FROM _mutation_queue WHERE device = 0 AND {_OPEN}"
        ).fetchone()
        return row[0] or 0

    def _reject(self, receipt: Receipt, h: int, schema_version: int, payload: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO _rejected (device, counter, h, schema_version, payload, "
            "outcome, code, message, fields, confirmed) VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                receipt.counter,
                h,
                schema_version,
                payload,
                receipt.outcome,
                receipt.code,
                receipt.message,
                encode_json(receipt.fields).decode(),
                msgspec.msgpack.encode(self._confirmed_values(payload)),
            ),
        )
        # Its place is kept: a node that has not heard of it takes nothing behind a missing counter.
        self._unlink(0, receipt.counter)
        self._connection.execute(
            "UPDATE _mutation_queue SET outcome = ?, sequence = ?, settled = 1 "
            "WHERE device = 0 AND counter = ?",
            (receipt.outcome, receipt.sequence, receipt.counter),
        )

    def _confirmed_values(self, payload: bytes) -> list[dict[str, Any]]:
        """Return, per change, the confirmed values of the fields it wanted to write."""
        shown: list[dict[str, Any]] = []
        for change in decode_mutation(payload).changes:
            fields = self._confirmed.table(change.collection).fields
            row = self._views.confirmed(change.collection, change.id)
            names = [name for name in change.fields if name in fields]
            values = (
                {}
                if row is None
                else {name: fields[name].value(row.fields.get(name)) for name in names}
            )
            shown.append({"alive": row is not None and row.is_alive, "values": values})
        return shown

    def _drop(self, device: int, counter: int) -> None:
        self._unlink(device, counter)
        self._connection.execute(
            "DELETE FROM _mutation_queue WHERE device = ? AND counter = ?", (device, counter)
        )

    def _unlink(self, device: int, counter: int) -> None:
        """Let a mutation concern no row any more."""
        self._dirty(device, counter, counter)
        self._connection.execute(
            "DELETE FROM _pending_change WHERE device = ? AND counter = ?", (device, counter)
        )

    def _refold_known(self, first: int, last: int, sequence: int) -> None:
        """Mark rows that are confirmed beyond a receipt that has come after them (F2)."""
        found = self._connection.execute(
            f"SELECT DISTINCT collection FROM _pending_change WHERE {_RUN}", (first, last)
        ).fetchall()
        for (collection,) in found:
            ids = self._connection.execute(
                f"SELECT id FROM {quoted(collection)} WHERE _sequence >= ? AND id IN "
                f"(SELECT id FROM _pending_change WHERE {_RUN} AND collection = ?)",
                (sequence, first, last, collection),
            )
            self._confirmed.dirty[collection].update(row_id for (row_id,) in ids)

    def _dirty(self, device: int, first: int, last: int) -> None:
        for collection, row_id in self._connection.execute(
            "SELECT collection, id FROM _pending_change "
            "WHERE device = ? AND counter BETWEEN ? AND ?",
            (device, first, last),
        ).fetchall():
            self._confirmed.dirty[collection].add(row_id)
