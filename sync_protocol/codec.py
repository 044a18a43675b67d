"""Messages to bytes and back, in both media types; everything hostile ends in a ProtocolError.

Raw parts (`rows`, `spaces`, `mutations`) hold bytes of the message's own media type: use
`with_rows_in` before encoding rows as JSON, and `decode_mutations` with the push's media type.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sync_protocol import limits
from sync_protocol.compression import compress, decompress
from sync_protocol.errors import MalformedMessage, MessageTooLarge, ProtocolError, UnknownMessage
from sync_protocol.media import Encoding, Media, encoding_of, media_of
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.mutations import Malformed, decode_mutations, payload_hash
from sync_protocol.rows import FAILURES, check_value
from sync_protocol.space_rows import (
    decode_space_rows,
    encode_space_rows,
    space_rows_from_json,
    space_rows_to_json,
    with_rows_from,
    with_rows_in,
)

__all__ = [
    "Encoding",
    "Malformed",
    "Media",
    "compress",
    "decode_client",
    "decode_mutations",
    "decode_server",
    "decode_space_rows",
    "decompress",
    "encode",
    "encode_space_rows",
    "encoding_of",
    "media_of",
    "payload_hash",
    "space_rows_from_json",
    "space_rows_to_json",
    "with_rows_from",
    "with_rows_in",
]


class _Kind(msgspec.Struct):
    """Just enough of a message to name it."""

    kind: str


_ENCODE: Final = {
    Media.MSGPACK: msgspec.msgpack.Encoder().encode,
    Media.JSON: msgspec.json.Encoder().encode,
}
_DECODE_CLIENT: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(ClientMessage).decode,
    Media.JSON: msgspec.json.Decoder(ClientMessage).decode,
}
_DECODE_SERVER: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(ServerMessage).decode,
    Media.JSON: msgspec.json.Decoder(ServerMessage).decode,
}
_DECODE_KIND: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(_Kind).decode,
    Media.JSON: msgspec.json.Decoder(_Kind).decode,
}
CLIENT_KINDS: Final = frozenset({"hello", "push", "pull", "repair"})
SERVER_KINDS: Final = frozenset(
    {"welcome", "pushed", "page", "repaired", "poke", "provisional", "fault"}
)


def encode(message: ClientMessage | ServerMessage, media: Media = Media.MSGPACK) -> bytes:
    """Encode one message; raw parts are copied in as they are."""
    return _ENCODE[media](message)


def decode_client(
    body: bytes, media: Media = Media.MSGPACK, *, bytes_max: int = limits.MESSAGE_BYTES_MAX
) -> ClientMessage:
    """Decode what a device sent; raise MessageTooLarge, UnknownMessage or MalformedMessage."""
    if len(body) > bytes_max:
        raise MessageTooLarge(bytes_max=bytes_max)
    try:
        return _DECODE_CLIENT[media](body)
    except FAILURES as error:
        raise _explained(body, media, CLIENT_KINDS, error) from error


def decode_server(
    body: bytes, media: Media = Media.MSGPACK, *, bytes_max: int = limits.ANSWER_BYTES_MAX
) -> ServerMessage:
    """Decode what a server sent; raise MessageTooLarge, UnknownMessage or MalformedMessage."""
    if len(body) > bytes_max:
        raise MessageTooLarge(bytes_max=bytes_max)
    try:
        message = _DECODE_SERVER[media](body)
    except FAILURES as error:
        raise _explained(body, media, SERVER_KINDS, error) from error
    if isinstance(message, Pushed | Page):
        _check_receipts(message.receipts)
    if isinstance(message, Page | Poke):
        _check_provisional(message.provisional or [])
    elif isinstance(message, Provisional):
        _check_provisional(message.mutations)
    return message


def _check_receipts(receipts: list[Receipt]) -> None:
    for receipt in receipts:
        for conflict in receipt.conflicts:
            check_value(conflict.winner.value, depth=6)
            check_value(conflict.loser.value, depth=6)


def _check_provisional(mutations: list[ProvisionalMutation]) -> None:
    for mutation in mutations:
        for change in mutation.changes:
            for payload in change.fields.values():
                check_value(payload, depth=6)


def _explained(body: bytes, media: Media, known: frozenset[str], error: Exception) -> ProtocolError:
    """Tell an unknown kind from a known one that is malformed."""
    try:
        kind: Any = _DECODE_KIND[media](body).kind
    except FAILURES:
        return MalformedMessage(f"not a message: {error!s:.200}")
    if kind not in known:
        return UnknownMessage(name=kind)
    return MalformedMessage(f"not a {kind} message: {error!s:.200}")
