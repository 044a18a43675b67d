"""A network between processes of one machine, whose weather can be changed while it is used.

Every node is called through a door of its own; who calls is found out from the kernel, by the
process that owns the other end. So any two machines of a fleet can be parted, and no others:

    with Network(pids=lambda: {"edge-ams": [4711]}) as network:
        port = network.door("primary", target_port)
        network.change("edge-ams", "primary", mode=Mode.SWALLOW)  # this way only
        network.heal()
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 16 * 1024
CHUNKS_UNDER_WAY = 64
"""1 MiB on its way through one connection in one direction: then the sender has to wait."""
STALL_S = 0.2
"""How long an application waits for a lost segment: the least retransmission time-out of Linux."""
HOLD_POLL_S = 0.01
WHO_TRIES = 5
WHO_DELAY_S = 0.03
"""A process that has just been started may call before it is known whose it is."""
START_SECONDS_MAX = 5


class Mode(Enum):
    """What becomes of packets in one direction."""

    PASS = "pass"
    HOLD = "hold"
    """They are lost, and TCP sends them again: nothing arrives until the mode changes."""
    SWALLOW = "swallow"
    """They are lost for good, without FIN or RST: connections that lose something stay half-open
    for ever, even after the mode has changed."""
    CUT = "cut"
    """Connections are reset at once, and new ones too."""


@dataclass
class Counts:
    """What has happened in one direction."""

    connections: int = 0
    bytes: int = 0
    swallowed_bytes: int = 0
    stalls: int = 0
    resets: int = 0


@dataclass
class Weather:
    """One direction between two machines, and what has happened there.

    `stall` is the probability that a segment has to be sent again (STALL_S).
    """

    mode: Mode = Mode.PASS
    delay_ms: float = 0
    jitter_ms: float = 0
    stall: float = 0
    bytes_per_s: float = 0
    counts: Counts = field(default_factory=Counts)


CLEAR = Weather()
_END, _RESET = b"", None


class Network:
    """The doors of some machines; runs its event loop in a thread of its own.

    `pids` returns the processes of each machine by name; callers that are none of them are "".
    """

    def __init__(self, *, pids, seed=0):
        self._pids = pids
        self._random = random.Random(seed)
        self._weathers = defaultdict(Weather)
        self._connections = set()
        self._servers = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._ask(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS_MAX)
        self._loop.close()

    def door(self, name, target_port, *, port=0):
        """Open a way to a machine's port; return the port to call instead."""

        async def accept(reader, writer):
            await _Connection(self, name, target_port, reader, writer).run()

        async def listen():
            server = await asyncio.start_server(accept, LOOPBACK, port, limit=CHUNK_BYTES)
            self._servers.append(server)
            return server.sockets[0].getsockname()[1]

        return self._ask(listen())

    def weather(self, source, target):
        """Return the weather of packets from one machine to another."""
        return self._weathers[source, target]

    def change(self, source, target, *, both=False, **changes):
        """Change the weather of packets from one machine to another, or both ways."""
        for way in ((source, target), (target, source))[: 1 + both]:
            weather = self._weathers[way]
            for name, value in changes.items():
                assert hasattr(weather, name), name
                setattr(weather, name, value)
        if changes.get("mode") is Mode.CUT:
            self._ask(self._reset({source, target}))

    def heal(self):
        """Make all weather clear; half-open connections stay what they are."""
        for weather in list(self._weathers.values()):
            for name in ("mode", "delay_ms", "jitter_ms", "stall", "bytes_per_s"):
                setattr(weather, name, getattr(CLEAR, name))

    def counts(self):
        """Return what has happened, by (source, target)."""
        return {way: replace(weather.counts) for way, weather in list(self._weathers.items())}

    def _ask(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_SECONDS_MAX)

    async def _reset(self, ends):
        for connection in tuple(self._connections):
            if {connection.caller, connection.callee} == ends:
                connection.reset()

    async def _close(self):
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.reset()
            connection.task.cancel()
        tasks = [connection.task for connection in self._connections]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _who(self, port):
        for _ in range(WHO_TRIES):
            inode = _inode_of(port)
            found = next(
                (n for n, pids in self._pids().items() if any(_owns(p, inode) for p in pids)), ""
            )
            if found or inode is None:
                return found
            await asyncio.sleep(WHO_DELAY_S)
        return ""


class _Connection:
    """One connection: two ways, each a reader, a queue of chunks with due times, and a writer."""

    def __init__(self, network, callee, target_port, reader, writer):
        self.caller, self.callee = "", callee
        self.task = asyncio.current_task()
        self._network = network
        self._target_port = target_port
        self._near = (reader, writer)
        self._far = None
        self._is_dead = False

    async def run(self):
        network = self._network
        network._connections.add(self)
        try:
            self.caller = await network._who(self._near[1].get_extra_info("peername")[1])
            there = network._weathers[self.caller, self.callee]
            back = network._weathers[self.callee, self.caller]
            there.counts.connections += 1
            if Mode.CUT in {there.mode, back.mode}:
                there.counts.resets += 1
                return
            await _held(there, back)
            if there.mode is Mode.SWALLOW:
                self._is_dead = True
                await self._swallow(self._near[0], there)
                return
            self._far = await asyncio.open_connection(
                LOOPBACK, self._target_port, limit=CHUNK_BYTES
            )
            ways = (
                self._carry(self._near, self._far, there),
                self._carry(self._far, self._near, back),
            )
            await asyncio.gather(*ways)
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens, or the network is closed: both ends are reset below
        finally:
            self.reset()
            network._connections.discard(self)

    def reset(self):
        """Reset both ends."""
        for end in (self._near, self._far):
            if end is not None:
                _abort(end[1])

    async def _carry(self, source, target, weather):
        chunks = asyncio.Queue(CHUNKS_UNDER_WAY)
        delivering = asyncio.create_task(self._deliver(chunks, target[1], source[1], weather))
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while not delivering.done():
                try:
                    chunk = await source[0].read(CHUNK_BYTES)
                except ConnectionError:
                    chunk = _RESET
                now = loop.time()
                due = max(due, now + self._lateness(weather))
                if weather.bytes_per_s and chunk:
                    due = max(due, now) + len(chunk) / weather.bytes_per_s
                await chunks.put((due, chunk))
                if not chunk:
                    break
            await delivering
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    def _lateness(self, weather):
        late_ms = weather.delay_ms
        if weather.jitter_ms:
            late_ms += self._network._random.uniform(0, weather.jitter_ms)
        if weather.stall and self._network._random.random() < weather.stall:
            weather.counts.stalls += 1
            return late_ms / 1_000 + STALL_S
        return late_ms / 1_000

    async def _deliver(self, chunks, writer, source, weather):
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await _held(weather)
            self._is_dead = self._is_dead or weather.mode is Mode.SWALLOW
            if self._is_dead:
                weather.counts.swallowed_bytes += len(chunk or b"")
                if not chunk:
                    source.close()  # this end is gone; the other one is not told
                    return
                continue
            try:
                if chunk is _RESET:
                    _abort(writer)
                    return
                if chunk == _END:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                weather.counts.bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
            except ConnectionError:
                _abort(source)
                return

    async def _swallow(self, reader, weather):
        while chunk := await reader.read(CHUNK_BYTES):
            weather.counts.swallowed_bytes += len(chunk)


async def _held(*weathers):
    """Wait while one of them holds everything back."""
    while any(weather.mode is Mode.HOLD for weather in weathers):  # noqa: ASYNC110  (a thread sets it)
        await asyncio.sleep(HOLD_POLL_S)


def _abort(writer):
    """Close a connection with RST, which asyncio does only when it happens to have unread bytes."""
    wire = writer.get_extra_info("socket")
    if wire is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _inode_of(port):
    """Return the inode of the socket of this machine that is bound to a loopback port."""
    wanted = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == wanted and words[3] == "01":
            return words[9]
    return None


def _owns(pid, inode):
    wanted = f"socket:[{inode}]"
    try:
        found = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in found:
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) == wanted:
                return True
    return False
