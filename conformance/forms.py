"""Messages in both forms: as the codecs hold them, and as they stand in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from sync_protocol import codec
from sync_protocol.codec import Media
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.push import Push
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.space_rows import decode_space_rows, with_rows_from


def in_json(message: ClientMessage | ServerMessage) -> Any:  # noqa: ANN401  (a message's JSON)
    """Return a message, whose raw parts are MessagePack, as it stands in JSON."""
    if isinstance(message, Push):
        raws = [
            msgspec.Raw(msgspec.json.encode(msgspec.msgpack.decode(raw)))
            for raw in message.mutations
        ]
        message = msgspec.structs.replace(message, mutations=raws)
    if not isinstance(message, ClientMessage):
        message = codec.with_rows_in(message, Media.JSON)
    return msgspec.json.decode(codec.encode(message, Media.JSON))


def as_msgpack(message: ClientMessage | ServerMessage) -> ClientMessage | ServerMessage:
    """Return a message that was decoded from JSON with its raw parts as MessagePack."""
    if isinstance(message, Push):
        raws = [
            msgspec.Raw(msgspec.msgpack.encode(msgspec.json.decode(raw)))
            for raw in message.mutations
        ]
        return msgspec.structs.replace(message, mutations=raws)
    if isinstance(message, ClientMessage):
        return message
    return with_rows_from(message, Media.JSON)


def decoded(body: bytes, media: Media, *, side: str) -> ClientMessage | ServerMessage:
    """Decode what one side (`client` or `server`) says, with raw parts as MessagePack."""
    decode = codec.decode_client if side == "client" else codec.decode_server
    message = decode(body, media)
    return as_msgpack(message) if media is Media.JSON else message


def row_bytes(message: ClientMessage | ServerMessage) -> list[str]:
    """Return the rows inside a message, in hexadecimal: the bytes that digests are made of."""
    if isinstance(message, Page | Poke):
        spaces = message.spaces
    else:
        spaces = [message.rows] if isinstance(message, Repaired) else []
    return [
        bytes(row).hex()
        for space in map(decode_space_rows, spaces)
        for rows in space.collections.values()
        for row in rows.rows
    ]
