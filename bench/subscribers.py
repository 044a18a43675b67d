"""The subscribers of the fan-out measurement: lean WebSocket clients, all in one process.

Standard input has two lines: `{port, tokens}`, and after `ready` the list of (sequence, moment of
sending); then one line tells what arrived. Moments are CLOCK_MONOTONIC, which processes share.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import struct
import sys
import time
from typing import Any

import msgspec
import uvloop

from bench.figure import percentile
from bench.todo_app import app
from core.clock import saturated
from sync_protocol.codec import decode_server, encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION

GREETED_AT_ONCE = 16
GREET_SECONDS_MAX = 30.0
LAST_POKE_SECONDS_MAX = 5.0


class _PokeHead(msgspec.Struct, tag="poke", tag_field="kind"):
    """What is looked at in a poke."""

    since: int
    sequence: int
    pull: bool = False


class _Kind(msgspec.Struct):
    """What a message is."""

    kind: str


_decode_kind = msgspec.msgpack.Decoder(_Kind).decode


class Stream(asyncio.Protocol):
    """One stream: hello, pull until there is no more, then pokes with the moment they came."""

    def __init__(self, token: str, installation: str) -> None:
        self._token = token
        self._installation = installation
        self._buffer = b""
        self._is_upgraded = False
        self._device = 0
        self.position = 0
        """The sequence at which the pokes begin."""
        self.pokes: list[tuple[float, bytes]] = []
        self.live: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /v1/sync/stream HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {self._token}\r\nupgrade: websocket\r\n"
            f"connection: Upgrade\r\nsec-websocket-key: {key}\r\n"
            "sec-websocket-version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.live.done():
            self.live.set_exception(exc or ConnectionError("the stream was closed"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_upgraded:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            assert b" 101 " in head, head
            self._is_upgraded, self._buffer = True, rest
            self._send(self._hello())
        at = 0
        while (end := _frame_end(self._buffer, at)) is not None:
            opcode, start = self._buffer[at] & 15, _payload_start(self._buffer, at)
            if opcode == 2:
                self._received(now, self._buffer[start:end])
            elif opcode == 9:
                self._transport.write(_masked(0x8A, self._buffer[start:end]))
            at = end
        self._buffer = self._buffer[at:]

    def _received(self, now: float, frame: bytes) -> None:
        if self.live.done():
            if _decode_kind(frame).kind == "poke":  # an edge also sends provisional sets
                self.pokes.append((now, frame))
            return
        message = decode_server(frame)
        if isinstance(message, Page) and not message.more:
            self.position = message.cursor.sequence
            self.live.set_result(None)
            return
        if isinstance(message, Welcome):
            self._device = message.device
        cursor = message.cursor if isinstance(message, Page) else None
        assert isinstance(message, Welcome | Page), message
        self._send(encode(Pull(device=self._device, schema_version=1, cursor=cursor)))

    def _send(self, message: bytes) -> None:
        self._transport.write(_masked(0x82, message))

    def _hello(self) -> bytes:
        return encode(
            Hello(
                protocol=PROTOCOL_VERSION,
                app=app.name,
                schema_version=app.version,
                fingerprint=fingerprint(app),
                installation=self._installation,
                clock=saturated(time.time_ns() // 1_000_000),
            )
        )


def _masked(first: int, payload: bytes) -> bytes:
    """Frame a client's message (RFC 6455 5.2); a mask of zeros leaves the payload as it is."""
    if len(payload) < 126:
        return struct.pack("!BB4x", first, 0x80 | len(payload)) + payload
    return struct.pack("!BBH4x", first, 0xFE, len(payload)) + payload


def _payload_start(data: bytes, at: int) -> int:
    return at + {126: 4, 127: 10}.get(data[at + 1], 2)


def _frame_end(data: bytes, at: int) -> int | None:
    """Return where the frame at `at` ends, or None while it is not complete."""
    if len(data) < at + 2 or len(data) < (start := _payload_start(data, at)):
        return None
    short = data[at + 1]
    length = short if short < 126 else int.from_bytes(data[at + 2 : start], "big")
    return start + length if len(data) >= start + length else None


async def subscribe(port: int, tokens: list[str]) -> list[Stream]:
    """Open all streams, a few at once, and bring each to where its pokes begin."""
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(GREETED_AT_ONCE)

    async def one(number: int, token: str) -> Stream:
        async with turns:
            _, stream = await loop.create_connection(
                lambda: Stream(token, f"subscriber-{number}"), "127.0.0.1", port
            )
            await asyncio.wait_for(stream.live, GREET_SECONDS_MAX)
        return stream

    return await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens)))


async def wait_for_last(streams: list[Stream], last: int) -> None:
    """Wait until every stream has heard of the last change, but not for ever."""
    deadline = time.monotonic() + LAST_POKE_SECONDS_MAX
    waiting = streams
    while waiting and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        waiting = [s for s in waiting if not s.pokes or _head(s.pokes[-1][1]).sequence < last]


def _head(frame: bytes) -> _PokeHead:
    return msgspec.msgpack.decode(frame, type=_PokeHead)


def summary(streams: list[Stream], sent: list[tuple[int, float]]) -> dict[str, float]:
    """Count each stream's changes and how long they took; a gap between pokes is a loss."""
    latencies_ms: list[float] = []
    pulls = lost = 0
    for stream in streams:
        position, arrivals = stream.position, dict[int, float]()
        for at, frame in stream.pokes:
            poke = _head(frame)
            if poke.since == poke.sequence and not poke.pull:
                continue  # it tells of no change
            pulls += poke.pull
            if poke.since == position and not poke.pull:
                arrivals.update(dict.fromkeys(range(poke.since + 1, poke.sequence + 1), at))
            position = poke.sequence
        for sequence, moment in sent:
            if sequence in arrivals:
                latencies_ms.append((arrivals[sequence] - moment) * 1_000)
            else:
                lost += 1
    return {
        "p50_ms": percentile(latencies_ms, 0.5),
        "p99_ms": percentile(latencies_ms, 0.99),
        "max_ms": max(latencies_ms),
        "received": len(latencies_ms),
        "pulls": pulls,
        "lost": lost,
    }


async def main() -> None:
    """Subscribe, collect, tell."""
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    streams = await subscribe(given["port"], given["tokens"])
    await asyncio.sleep(0.2)
    gc.disable()
    print("ready", flush=True)
    sent: list[tuple[int, float]] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await wait_for_last(streams, max(sequence for sequence, _ in sent))
    print(json.dumps(summary(streams, sent)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
