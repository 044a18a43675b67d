"""A lean HTTP/1.1 load generator in a process of its own, so that the client costs little.

Each lane is one keep-alive connection that sends its requests in order, each after the answer to
the one before. Requests are bytes made beforehand; of an answer only status and length matter.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

import msgspec
import uvloop

from bench.child_process import MEDIA, run_python

SECONDS_MAX = 300.0


class Load(msgspec.Struct):
    """`seconds` None: every lane is sent once; else lanes are repeated until then."""

    port: int
    lanes: list[list[bytes]]
    seconds: float | None = None
    keeps_bodies: bool = False


class Loaded(msgspec.Struct):
    """From the first request to the last answer; latencies and bodies in the order of answers."""

    seconds: float
    latencies_s: list[float]
    statuses: dict[int, int]
    bodies: list[bytes]

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.seconds


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """Encode one request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
    if body:
        head += f"content-type: {MEDIA}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def run_load(load: Load) -> Loaded:
    """Run a load in its own process; raise RuntimeError if any answer is not 200."""
    answer = run_python("bench.load", msgspec.msgpack.encode(load), seconds_max=SECONDS_MAX)
    loaded = msgspec.msgpack.decode(answer, type=Loaded)
    if set(loaded.statuses) != {200}:
        raise RuntimeError(f"not every request succeeded: {loaded.statuses}")
    return loaded


class Lane(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, requests: list[bytes], loaded: Loaded) -> None:
        self._load = load
        self._requests = requests
        self._loaded = loaded
        self._next = 0
        self._buffer = b""
        self._missing = 0
        self._until = float("inf")
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the node closed the connection"))

    def start(self, now: float) -> None:
        if self._load.seconds is not None:
            self._until = now + self._load.seconds
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) < self._missing:
            return
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _content_length(self._buffer, end)
        if len(self._buffer) < end + length:
            self._missing = end + length
            return
        self._answered(end, length)

    def _answered(self, end: int, length: int) -> None:
        now = time.perf_counter()
        loaded, status = self._loaded, int(self._buffer[9:12])
        loaded.latencies_s.append(now - self._sent)
        loaded.statuses[status] = loaded.statuses.get(status, 0) + 1
        if self._load.keeps_bodies:
            loaded.bodies.append(self._buffer[end : end + length])
        self._buffer, self._missing = b"", 0
        is_over = self._next == len(self._requests) and self._load.seconds is None
        if is_over or now >= self._until or status != 200:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._send()

    def _send(self) -> None:
        if self._next == len(self._requests):
            self._next = 0
        body = self._requests[self._next]
        self._next += 1
        self._sent = time.perf_counter()
        self._transport.write(body)


def _content_length(head: bytes, end: int) -> int:
    at = head.find(b"content-length: ", 0, end)
    if at < 0:
        at = head.lower().find(b"content-length: ", 0, end)
    assert at >= 0, head[:end]
    return int(head[at + 16 : head.index(b"\r\n", at)])


async def generate(load: Load) -> Loaded:
    """Open every lane, then start them together."""
    loaded = Loaded(0.0, [], {}, [])
    loop = asyncio.get_running_loop()
    lanes: list[Lane] = []
    for requests in load.lanes:
        _, lane = await loop.create_connection(
            lambda given=requests: Lane(load, given, loaded), "127.0.0.1", load.port
        )
        lanes.append(lane)
    gc.disable()
    started = time.perf_counter()
    for lane in lanes:
        lane.start(started)
    await asyncio.gather(*(lane.done for lane in lanes))
    loaded.seconds = time.perf_counter() - started
    return loaded


def main() -> None:
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(generate(load))))


if __name__ == "__main__":
    main()
