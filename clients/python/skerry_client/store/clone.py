"""A cloned or restored phone becomes a new installation; nothing it wrote is lost.

Entries with a final receipt stay under the old device number until they may go (Q3). All others are
numbered again from 1 and will be sent as the new device's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry_client.dots import Renumbering, kinds_of
from skerry_client.store.queue import encode_mutation
from skerry_client.store.views import decode_mutation

if TYPE_CHECKING:
    import sqlite3

    from core.schema.app import App
    from skerry_client.store.confirmed import Confirmed
    from skerry_client.store.meta import Meta
    from skerry_client.store.queue import Queue

_BY_DEVICE = ("_mutation_queue", "_pending_change", "_rejected", "_conflict")


def become_new(
    connection: sqlite3.Connection, app: App, *, meta: Meta, queue: Queue, confirmed: Confirmed,
    installation: str, keeps_settled: bool = False,
) -> None:  # fmt: skip
    """Take a new identity inside the caller's transaction; `confirmed.dirty` is filled.

    `keeps_settled`: what the confirmed rows hold stays held, for they are a lost database's; else
    they hold what another copy of the phone has sent, and this one's own is still to come.
    """
    old_device = meta.device
    waiting = queue.waiting()
    renumbering = Renumbering(old_device, tuple(entry.counter for entry in waiting))
    for entry in waiting:
        connection.execute(
            "DELETE FROM _mutation_queue WHERE device = 0 AND counter = ?", (entry.counter,)
        )
        for collection, row_id in connection.execute(
            "SELECT collection, id FROM _pending_change WHERE device = 0 AND counter = ?",
            (entry.counter,),
        ).fetchall():
            confirmed.dirty[collection].add(row_id)
        connection.execute(
            "DELETE FROM _pending_change WHERE device = 0 AND counter = ?", (entry.counter,)
        )
    for table in _BY_DEVICE:
        connection.execute(
            f"UPDATE OR REPLACE {table} SET device = ? WHERE device = 0", (old_device,)
        )
    for counter, entry in enumerate(waiting, 1):
        kinds = kinds_of(app, entry.schema_version)
        mutation = renumbering.mutation(entry.mutation, kinds)
        assert mutation.counter == counter
        queue.append(mutation, schema_version=entry.schema_version)
        if keeps_settled and entry.is_settled:
            connection.execute(
                "UPDATE _mutation_queue SET settled = 1 WHERE device = 0 AND counter = ?",
                (counter,),
            )
    _rewrite_rejected(connection, app, renumbering)
    meta.put("installation", installation)
    meta.put("device", None)
    meta.put("counter", len(waiting))
    meta.put("judged_by", None)
    meta.put("told_by", None)
    meta.put("former", 0)  # the next welcome says up to where rows tell of what is left behind


def revive_lost(meta: Meta, queue: Queue, database: str, merged_through: int) -> bool:
    """Let what another database has judged, and this one has not, wait again.

    Tell whether the confirmed rows are another one's too. No `database`: nothing is lost.
    """
    if not database:
        return False
    if database != meta.database:
        queue.revive(after=max(merged_through, meta.told(database)))
    return meta.cursor is not None and meta.cursor.database != database


def _rewrite_rejected(connection: sqlite3.Connection, app: App, renumbering: Renumbering) -> None:
    """Let refused mutations name earlier writes rightly, for the day they are tried again."""
    for counter, version, payload in connection.execute(
        "SELECT counter, schema_version, payload FROM _rejected WHERE device = ?",
        (renumbering.old_device,),
    ).fetchall():
        mutation = decode_mutation(payload)
        kinds = kinds_of(app, version)
        mutation.changes = [renumbering.change(change, kinds) for change in mutation.changes]
        connection.execute(
            "UPDATE _rejected SET payload = ? WHERE device = ? AND counter = ?",
            (encode_mutation(mutation), renumbering.old_device, counter),
        )
