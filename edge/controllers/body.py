"""Request bodies: read within a bound and a time, decompressed within a bound, decoded strictly."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import msgspec
from litestar.types import Receive

from edge.controllers.endpoints import AnyRequest
from sync_protocol import limits
from sync_protocol.codec import Encoding, Media, decompress, encoding_of, media_of
from sync_protocol.errors import MalformedMessage, MessageTooLarge, UnsupportedMedia

T = TypeVar("T")

LENGTH_DIGITS_MAX: Final = 20
"""Digits of 64 bits, which no body has; Python refuses to read a number of more than 4,300."""

BODY_SECONDS_MAX: Final = 60
"""4 MiB over a slow mobile link; a body that trickles longer only holds memory."""
INLINE_BYTES_MAX: Final = 256 * 1024
"""Compressed bodies up to this are unpacked on the event loop (1 ms), larger ones beside it."""


async def read_body(request: AnyRequest, *, bytes_max: int = limits.MESSAGE_BYTES_MAX) -> bytes:
    """Return the body, decompressed; raise MessageTooLarge as soon as that is certain."""
    encoding = encoding_of(request.headers.get("content-encoding"))
    declared = request.headers.get("content-length")
    if declared is not None and not _is_within(declared, bytes_max):
        raise MessageTooLarge(bytes_max=bytes_max)
    body = await read_body_raw(request.receive, bytes_max=bytes_max)
    if encoding is Encoding.IDENTITY:
        return body
    if len(body) <= INLINE_BYTES_MAX:
        return decompress(body, encoding, bytes_max)
    return await asyncio.to_thread(decompress, body, encoding, bytes_max)


def _is_within(declared: str, bytes_max: int) -> bool:
    """Tell whether a declared length is a number up to the bound, without reading a huge one."""
    return (
        declared.isdecimal() and len(declared) <= LENGTH_DIGITS_MAX and int(declared) <= bytes_max
    )


async def read_body_raw(receive: Receive, *, bytes_max: int) -> bytes:
    """Return a body as it was sent, compressed or not, within the same bounds."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _received(receive, bytes_max)
    except TimeoutError:
        raise MalformedMessage(f"the body took longer than {BODY_SECONDS_MAX} s") from None


async def _received(receive: Receive, bytes_max: int) -> bytes:
    event: Any = await receive()
    first: bytes = event.get("body", b"")
    if event["type"] == "http.request" and not event.get("more_body"):
        if len(first) > bytes_max:
            raise MessageTooLarge(bytes_max=bytes_max)
        return first
    pieces = bytearray(first)
    while True:
        if event["type"] == "http.disconnect":
            raise MalformedMessage("the connection ended inside the body")
        if len(pieces) > bytes_max:
            raise MessageTooLarge(bytes_max=bytes_max)
        if not event.get("more_body"):
            return bytes(pieces)
        event = await receive()
        pieces += event.get("body", b"")


def request_media(request: AnyRequest) -> Media:
    """Return the media type of a body of a REST endpoint, which always says what it is."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise UnsupportedMedia("a content type is needed")
    return media_of(content_type)


async def read_json(request: AnyRequest, kind: type[T], *, bytes_max: int) -> T:
    """Read a JSON body of a REST endpoint as `kind`."""
    if request_media(request) is not Media.JSON:
        raise UnsupportedMedia("this endpoint takes application/json")
    body = await read_body(request, bytes_max=bytes_max)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise MalformedMessage(f"{error!s:.200}") from None
    except (RecursionError, UnicodeError):
        raise MalformedMessage("the body is not JSON that can be read") from None
