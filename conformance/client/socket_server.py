"""A small HTTP and WebSocket server on the loopback, whose every answer a case may choose.

It speaks HTTP/1.1 by hand, because cases cut connections at moments that no framework offers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from conformance.client.http_wire import HttpRequest, read_request, response_bytes
from conformance.client.model import Model
from conformance.client.web_socket import WebSocketPeer
from conformance.forms import decoded
from sync_protocol import limits
from sync_protocol.codec import (
    Encoding,
    Media,
    compress,
    decompress,
    encode,
    encoding_of,
    media_of,
    with_rows_in,
)
from sync_protocol.errors import ProtocolError
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.transport import STREAM_PATH, SUBPROTOCOLS, SYNC_PATH

TOKEN: Final = "conformance-token"  # noqa: S105  (invented, for the loopback)
STATUS: Final = {
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "too-large": 413,
    "unsupported-media": 415,
    "rate-limited": 429,
    "unavailable": 503,
    "overloaded": 503,
    "cloned-device": 409,
    "counter-gap": 409,
    "cursor-unknown": 409,
}
"""As in docs/ERRORS.md; every other fault of these cases is a 400."""


class Cut:
    """No answer; `taken`: though the server has done its part. Unless `is_open`, the link ends."""

    def __init__(self, *, taken: bool = False, is_open: bool = False) -> None:
        self.taken = taken
        self.is_open = is_open


CUT: Final = Cut()
LOST: Final = Cut(taken=True)
SILENCE: Final = Cut(is_open=True)
"""For streams: the answer comes later, or never."""
Answer = ServerMessage | Cut
Chooser = Callable[[Any], Answer | bytes | None]
"""Chooses an answer for a message; None leaves it to the model. Bytes are sent as they are."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the client's: `request` is its kind, `at` the monotonic time in seconds."""

    request: str
    message: ClientMessage
    via: str
    at: float


@dataclass(slots=True)
class SocketServer:
    """Answers with the model, unless a case has an answer waiting for this kind of request."""

    model: Model
    heard: list[Heard] = field(default_factory=list[Heard])
    violations: list[str] = field(default_factory=list[str])
    """What no client of this protocol does."""
    always: dict[str, Chooser] = field(default_factory=dict[str, Chooser])
    """What is asked for every answer of a kind that no queued one is there for."""
    has_streams: bool = False
    token: str = TOKEN
    _instead: dict[str, deque[Answer | Chooser | bytes]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _server: asyncio.Server | None = None
    _peers: set[asyncio.Task[None]] = field(default_factory=set)  # pyright: ignore[reportUnknownVariableType]
    _streams: list[WebSocketPeer] = field(default_factory=list[WebSocketPeer])

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        """Where clients find it."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._peers:
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    def instead(self, request: str, *answers: Answer | Chooser | bytes) -> None:
        """Give these answers to the next requests of a kind, one each, instead of the model's."""
        self._instead[request].extend(answers)

    def asked(self, request: str) -> list[Heard]:
        """Return what was heard of one kind, in order."""
        return [heard for heard in self.heard if heard.request == request]

    def forget(self) -> None:
        """Begin the record of what was heard anew."""
        self.heard.clear()

    async def send(self, message: ServerMessage) -> None:
        """Send a message to every stream that is up."""
        for peer in self._streams:
            await peer.send(message)

    @property
    def stream_count(self) -> int:
        """How many streams are up."""
        return len(self._streams)

    def cut_streams(self) -> None:
        """End every stream without a word."""
        for peer in self._streams:
            peer.abort()

    # --- answering ---------------------------------------------------------------------------

    def answer(self, message: ClientMessage, via: str) -> Answer | bytes:
        """Take note of a message and choose its answer."""
        request = str(message.__struct_config__.tag)
        self.heard.append(Heard(request, message, via, time.monotonic()))
        waiting = self._instead[request]
        chosen = waiting.popleft() if waiting else self.always.get(request)
        if callable(chosen):
            chosen = chosen(message)
        if isinstance(chosen, Cut) and chosen.taken:
            self.model.answer(message)
        return self.model.answer(message) if chosen is None else chosen

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        try:
            while (request := await read_request(reader)) is not None:
                if request.headers.get("upgrade", "").lower() == "websocket":
                    await self._stream(request, reader, writer)
                    return
                answer = self._http(request)
                if answer is None:
                    writer.transport.abort()
                    return
                writer.write(answer)
                await writer.drain()
        except ValueError as problem:
            self.violations.append(f"not HTTP/1.1: {problem}")
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # The server is closing. asyncio's own callback would log a task that ends cancelled.
            pass
        finally:
            self._peers.discard(task)
            with suppress(OSError):
                writer.close()

    def _http(self, request: HttpRequest) -> bytes | None:
        """Answer one POST; None cuts the connection."""
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _problem(401, "unauthenticated", "This token is not taken here.", fault=None)
        try:
            media = media_of(request.headers.get("content-type"))
            encoding = encoding_of(request.headers.get("content-encoding"))
            body = decompress(request.body, encoding, limits.MESSAGE_BYTES_MAX)
            message = decoded(body, media, side="client")
        except ProtocolError as problem:
            self.violations.append(f"{request.method} {request.path}: {problem.message}")
            return _problem(400, problem.kind.value, problem.message, fault=None)
        kind = str(message.__struct_config__.tag)
        if (request.method, request.path) != ("POST", f"{SYNC_PATH}/{kind}"):
            self.violations.append(f"a {kind} came to {request.method} {request.path}")
        answer = self.answer(message, "http")  # pyright: ignore[reportArgumentType]  (a client's)
        if isinstance(answer, Cut):
            return None
        if isinstance(answer, Fault):
            return _problem(
                STATUS.get(answer.fault.value, 400),
                answer.fault.value,
                answer.message,
                fault=answer,
            )
        accepted = request.headers.get("accept", media.value).partition(",")[0].strip()
        wanted = Media.JSON if accepted == Media.JSON.value else Media.MSGPACK
        if isinstance(answer, bytes):
            return response_bytes(200, answer, {"content-type": Media.MSGPACK.value})
        return _packed(encode(with_rows_in(answer, wanted), wanted), wanted, request)

    async def _stream(
        self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not self.has_streams or request.path != STREAM_PATH:
            writer.write(response_bytes(404, b"", {}))
            await writer.drain()
            return
        peer = WebSocketPeer(reader, writer, tuple(SUBPROTOCOLS))
        offered = request.headers.get("authorization") == f"Bearer {self.token}"
        if not (offered or f"bearer.{self.token}" in request.raw.decode("latin-1")):
            self.violations.append("a stream was opened without the token")
            writer.write(response_bytes(401, b"", {}))
            await writer.drain()
            return
        await peer.accept(request.raw)
        self._streams.append(peer)
        try:
            async for message in peer.messages(self.violations):
                answer = self.answer(message, "stream")
                if isinstance(answer, Cut):
                    if answer.is_open:
                        continue
                    peer.abort()
                    return
                if isinstance(answer, Fault):
                    kind = str(message.__struct_config__.tag)
                    answer = msgspec.structs.replace(answer, answers=answer.answers or kind)
                await peer.send(answer)
        finally:
            self._streams.remove(peer)


def _packed(body: bytes, media: Media, request: HttpRequest) -> bytes:
    """Return the answer, compressed as the client admits."""
    headers = {"content-type": media.value}
    admitted = request.headers.get("accept-encoding", "").lower()
    for encoding in (Encoding.ZSTD, Encoding.GZIP):
        if encoding.value in admitted:
            headers["content-encoding"] = encoding.value
            return response_bytes(200, compress(body, encoding), headers)
    return response_bytes(200, body, headers)


def _problem(status: int, kind: str, message: str, *, fault: Fault | None) -> bytes:
    """Return a problem document (RFC 9457) whose members mean what they mean in a fault."""
    document: dict[str, object] = {
        "title": kind,
        "detail": message,
        "status": status,
        "fault": kind,
    }
    for name in ("retry_after_ms", "merged_through"):
        value = None if fault is None else getattr(fault, name)
        if value is not None:
            document[name] = value
    body = json.dumps(document).encode()
    return response_bytes(status, body, {"content-type": "application/problem+json"})
