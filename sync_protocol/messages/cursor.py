"""cursor: how far a device has read. Devices keep it and send it back unchanged."""

from __future__ import annotations

from sync_protocol.messages.base import Part, Sequence


class Backfill(Part):
    """The unfinished part of a round: spaces gained in (cursor.sequence, until] are being read.

    Rows of those spaces are sent in (sequence, collection) order from `after` on.
    """

    until: Sequence
    after: Sequence


class Cursor(Part):
    """All of the device's spaces are read up to `sequence` of the database `database`."""

    database: str
    sequence: Sequence
    backfill: Backfill | None = None
