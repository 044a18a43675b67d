"""HTTP/1.1 requests read from a socket, and answers as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 32 * 1024
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Four times what a message may have: a client that sends more is told so, not cut off."""
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names are in lower case, `raw` is its head as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read the next request of a connection; None at its end. Raise ValueError for other bytes."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial.strip():
            raise ValueError("a head that does not end") from ended
        return None
    except asyncio.LimitOverrunError as problem:
        raise ValueError("a head that is too long") from problem
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    if version != "HTTP/1.1" or len(raw) > HEAD_BYTES_MAX:
        raise ValueError(f"{version!r} is not spoken here")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await _body(reader, headers)
    return HttpRequest(method, target.partition("?")[0], headers, body, raw)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunked(reader)
    size_bytes = int(headers.get("content-length", "0"))
    if size_bytes > BODY_BYTES_MAX:
        raise ValueError("a body that is too long")
    return await reader.readexactly(size_bytes)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) <= BODY_BYTES_MAX:
        size_bytes = int((await reader.readline()).partition(b";")[0], 16)
        chunk = await reader.readexactly(size_bytes + 2)
        if size_bytes == 0:
            return body
        body += chunk[:-2]
    raise ValueError("a body that is too long")


def response_bytes(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return an answer with its length."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
