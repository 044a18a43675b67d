"""SpaceRows: rows of one space, encoded once for all receivers, in either media type.

Servers hold SpaceRows as MessagePack, whose `rows` are the canonical rows themselves; a JSON
message needs them as JSON, and only then are they opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sync_protocol.errors import MalformedMessage
from sync_protocol.media import Media
from sync_protocol.messages.base import Digest, Part, Sequence
from sync_protocol.messages.page import Page, Rows, SpaceRows
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ServerMessage
from sync_protocol.rows import FAILURES, decode_row, decode_row_json, encode_row


class _OpenRows(Part):
    """Rows whose rows are values, not bytes."""

    sequences: list[Sequence]
    rows: list[Any]
    hashes: list[Digest] = []


class _OpenSpaceRows(Part):
    """SpaceRows whose rows are values, not bytes."""

    space: str
    collections: dict[str, _OpenRows]


_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_DECODE: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(SpaceRows).decode,
    Media.JSON: msgspec.json.Decoder(SpaceRows).decode,
}


def encode_space_rows(space: str, collections: Mapping[str, Rows]) -> msgspec.Raw:
    """Encode canonical rows by collection, as MessagePack."""
    return msgspec.Raw(_encode(SpaceRows(space, dict(collections))))


def decode_space_rows(raw: bytes | msgspec.Raw, media: Media = Media.MSGPACK) -> SpaceRows:
    """Decode SpaceRows; each row stays a slice of `raw`, uncopied, in the message's media type."""
    try:
        decoded = _DECODE[media](raw)
    except FAILURES as error:
        raise MalformedMessage(f"not rows of a space: {error!s:.200}") from error
    for name, rows in decoded.collections.items():
        if len(rows.rows) != len(rows.sequences) or len(rows.hashes) not in {0, len(rows.rows)}:
            raise MalformedMessage(f"columns of {name!r:.60} differ in length")
    return decoded


def space_rows_to_json(raw: bytes | msgspec.Raw) -> msgspec.Raw:
    """Rewrite MessagePack SpaceRows as JSON, for a JSON message."""
    held = decode_space_rows(raw)
    opened = {
        name: _OpenRows(rows.sequences, [decode_row(row) for row in rows.rows], rows.hashes)
        for name, rows in held.collections.items()
    }
    return msgspec.Raw(_encode_json(_OpenSpaceRows(held.space, opened)))


def space_rows_from_json(raw: bytes | msgspec.Raw) -> msgspec.Raw:
    """Rewrite JSON SpaceRows as MessagePack with canonical rows, so that digests can be summed."""
    held = decode_space_rows(raw, Media.JSON)
    for rows in held.collections.values():
        rows.rows = [msgspec.Raw(encode_row(*decode_row_json(row))) for row in rows.rows]
    return msgspec.Raw(_encode(held))


def with_rows_in(message: ServerMessage, media: Media) -> ServerMessage:
    """Return the message with its rows, held as MessagePack, rewritten for `media`."""
    if media is Media.MSGPACK:
        return message
    if isinstance(message, Page | Poke) and message.spaces:
        spaces = [space_rows_to_json(space) for space in message.spaces]
        return msgspec.structs.replace(message, spaces=spaces)
    if isinstance(message, Repaired):
        return msgspec.structs.replace(message, rows=space_rows_to_json(message.rows))
    return message


def with_rows_from(message: ServerMessage, media: Media) -> ServerMessage:
    """Return a message received in `media` with its rows rewritten as MessagePack."""
    if media is Media.MSGPACK:
        return message
    if isinstance(message, Page | Poke) and message.spaces:
        spaces = [space_rows_from_json(space) for space in message.spaces]
        return msgspec.structs.replace(message, spaces=spaces)
    if isinstance(message, Repaired):
        return msgspec.structs.replace(message, rows=space_rows_from_json(message.rows))
    return message
