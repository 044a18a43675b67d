"""Answers as bytes: in the media type and compression that the request asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Response

from edge.controllers.endpoints import AnyRequest
from sync_protocol.codec import Encoding, Media, compress, encode, with_rows_in

if TYPE_CHECKING:
    from sync_protocol.messages.union import ServerMessage

COMPRESSED_FROM_BYTES: Final = 1_024
"""Smaller answers fit into one packet anyway."""
INLINE_BYTES_MAX: Final = 64 * 1024
"""Compressing this much takes 0.2 ms, about what a thread hop costs; more is done in a thread."""


def answer_media(request: AnyRequest, default: Media) -> Media:
    """Return the media type that Accept names, else `default` (the request's own)."""
    for offer in request.headers.get("accept", "").split(","):
        name = offer.partition(";")[0].strip().lower()
        if name in (Media.JSON, Media.MSGPACK):
            return Media(name)
    return default


def accepted_encoding(request: AnyRequest) -> Encoding:
    """Return the best compression that Accept-Encoding admits."""
    header = request.headers.get("accept-encoding")
    if not header:
        return Encoding.IDENTITY
    admitted: set[str] = set()
    for offer in header.lower().split(","):
        name, _, parameter = offer.partition(";")
        if parameter.replace(" ", "").rstrip("0.") not in ("q=", "q"):
            admitted.add(name.strip())
    for encoding in (Encoding.ZSTD, Encoding.GZIP):
        if encoding in admitted:
            return encoding
    return Encoding.IDENTITY


async def message_answer(
    request: AnyRequest, message: ServerMessage, media: Media
) -> Response[bytes]:
    """Encode a protocol message."""
    if media is Media.JSON:
        message = with_rows_in(message, media)
    return await bytes_answer(request, encode(message, media), media)


async def json_answer(
    request: AnyRequest,
    document: Any,  # noqa: ANN401  (a struct, or plain JSON)
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Encode the answer of a REST endpoint."""
    body = msgspec.json.encode(document)
    return await bytes_answer(request, body, Media.JSON, status=status, headers=headers)


async def bytes_answer(
    request: AnyRequest,
    body: bytes,
    media: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Answer with `body`, compressed when that is worth it."""
    headers = {"cache-control": "no-store", "vary": "accept, accept-encoding", **(headers or {})}
    if len(body) >= COMPRESSED_FROM_BYTES:
        encoding = accepted_encoding(request)
        if encoding is not Encoding.IDENTITY:
            headers["content-encoding"] = encoding
            if len(body) <= INLINE_BYTES_MAX:
                body = compress(body, encoding)
            else:
                body = await asyncio.to_thread(compress, body, encoding)
    return Response(body, media_type=media, status_code=status, headers=headers)
