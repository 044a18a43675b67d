"""Mutations inside a push: decoded one by one, so that a bad one never takes others with it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec

from core.ids import INTEGER_MAX
from sync_protocol.errors import MalformedMessage
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.rows import FAILURES, check_value

REASON_CHARACTERS_MAX: Final = 200
HASH_BYTES: Final = 8
"""Of `payload_hash`."""
UNKNOWN_HASH: Final = bytes(HASH_BYTES)
"""In a page: the server no longer knows by what hash it took a mutation."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A mutation that could not be read; its receipt is `quarantined`.

    `counter` is the one it names, else the one after the mutation before it; None means that
    nothing before it tells (the server then takes the device's next one). `content` is what
    `payload_hash` hashes, so that a repeat is recognised.
    """

    counter: int | None
    reason: str
    content: bytes = b""


class _Numbered(msgspec.Struct):
    """The one field of a malformed mutation that is still of use."""

    counter: Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]


_DECODE: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(WireMutation).decode,
    Media.JSON: msgspec.json.Decoder(WireMutation).decode,
}
_DECODE_NUMBERED: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(_Numbered).decode,
    Media.JSON: msgspec.json.Decoder(_Numbered).decode,
}
_DECODE_ANY: Final = {
    Media.MSGPACK: msgspec.msgpack.Decoder(Any).decode,
    Media.JSON: msgspec.json.Decoder(Any).decode,
}
_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


def decode_mutations(push: Push, media: Media) -> list[WireMutation | Malformed]:
    """Decode a push's mutations, in order; `media` is that of the message they came in.

    Payloads are plain JSON within the limits afterwards; their meaning is for the field types.
    """
    decode = _DECODE[media]
    decoded: list[WireMutation | Malformed] = []
    expected: int | None = None
    for raw in push.mutations:
        try:
            mutation = decode(raw)
            for change in mutation.changes:
                for payload in change.fields.values():
                    if type(payload) is not bool and payload is not None:
                        check_value(payload, depth=5)
        except (*FAILURES, MalformedMessage) as error:
            mutation = _malformed(raw, media, expected=expected, error=error)
        decoded.append(mutation)
        if mutation.counter is not None:
            expected = mutation.counter + 1 if mutation.counter < INTEGER_MAX else None
    return decoded


def payload_hash(mutation: WireMutation | Malformed) -> bytes:
    """Return 8 bytes of BLAKE2b over the mutation in canonical MessagePack.

    Canonical: maps sorted by key, smallest forms, fields at their defaults left out. It is the same
    whichever media type carried the mutation, and is what a repeat is recognised by.
    """
    content = mutation.content if isinstance(mutation, Malformed) else _canonical(mutation)
    return blake2b(content, digest_size=HASH_BYTES).digest()


def _malformed(
    raw: msgspec.Raw, media: Media, *, expected: int | None, error: Exception
) -> Malformed:
    try:
        counter = _DECODE_NUMBERED[media](raw).counter
    except FAILURES:
        counter = expected
    try:
        content = _canonical(_DECODE_ANY[media](raw))
    except (*FAILURES, TypeError):
        content = bytes(raw)
    return Malformed(counter, f"{error!s:.{REASON_CHARACTERS_MAX}}", content)
