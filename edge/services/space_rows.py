"""Feed rows as the wire carries them: grouped by space and collection, lowered for older apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sync_protocol.digest import row_digest, to_bytes
from sync_protocol.messages.page import Rows
from sync_protocol.rows import decode_row, encode_row
from sync_protocol.space_rows import encode_space_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.schema.app import App
    from edge.ports.records import FeedRow


def to_space_rows(
    rows: Iterable[FeedRow], app: App, *, schema_version: int
) -> dict[str, msgspec.Raw]:
    """Return one encoded SpaceRows per space, rows in the order given."""
    grouped: dict[str, dict[str, Rows]] = {}
    for row in rows:
        collections = grouped.setdefault(row.space, {})
        group = collections.get(row.collection)
        if group is None:
            group = collections[row.collection] = Rows([], [])
        group.sequences.append(row.sequence)
        group.rows.append(msgspec.Raw(row.row))
    if schema_version < app.version:
        for collections in grouped.values():
            for collection, group in collections.items():
                _lower(app, collection, group, schema_version)
    return {space: encode_space_rows(space, collections) for space, collections in grouped.items()}


def _lower(app: App, collection: str, group: Rows, schema_version: int) -> None:
    """Translate rows down to an older schema, keeping the digests of their present form."""
    lenses = app.lenses_from(collection, schema_version)
    if not lenses:
        return
    group.hashes = [to_bytes(row_digest(bytes(row))) for row in group.rows]
    lowered: list[msgspec.Raw] = []
    for row in group.rows:
        row_id, alive, states = decode_row(row)
        for lens in reversed(lenses):
            states = lens.lower_states(states)
        lowered.append(msgspec.Raw(encode_row(row_id, alive, states)))
    group.rows = lowered
