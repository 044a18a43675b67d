"""Compare ASGI servers under Skerry's own endpoints, with services that cost nothing.

`python -m bench.asgi_servers` starts each server in a process of its own and loads it from this
one: (a) pushes of 1 KB on 32 connections, (b) 500 streams that each receive 20 pokes a second.
The table is kept in docs/adr/0001-asgi-server.md.
"""

import argparse
import asyncio
import base64
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import structlog
import uvloop

from core import Access, App, Collection, Lww
from core.ids import PersonId, TenantId
from edge.app import build_gate
from edge.services.session import DeviceSession
from edge.services.tokens import mint
from edge.settings import Settings
from edge.storage.key_files import KeyFiles
from edge.workers.serve import listening_socket, make_server
from sync_protocol.codec import encode
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome

SERVERS = ("uvicorn", "uvicorn-websockets", "granian")
CONNECTIONS, POST_SECONDS = 32, 4
STREAMS, POKES_PER_SECOND, FAN_SECONDS = 500, 20, 5
POKE_BYTES = 400


class Subscription:
    """Pokes at a fixed rate once every stream is there; the same object for all."""

    def __init__(self, live: "Live") -> None:
        self.live = live
        self.queue: asyncio.Queue[Poke] = asyncio.Queue()
        live.subscriptions.append(self)
        if len(live.subscriptions) == STREAMS:
            live.task = asyncio.create_task(live.tell())

    def __aiter__(self) -> AsyncIterator[Poke]:
        return self

    async def __anext__(self) -> Poke:
        return await self.queue.get()

    def close(self) -> None:
        self.live.subscriptions.remove(self)


class Live:
    def __init__(self) -> None:
        self.subscriptions: list[Subscription] = []
        self.task: asyncio.Task[None] | None = None

    async def subscribe(self, *_: object) -> Subscription:
        return Subscription(self)

    async def tell(self) -> None:
        await asyncio.sleep(1)
        rows = [msgspec.Raw(msgspec.msgpack.encode("x" * POKE_BYTES))]
        loop = asyncio.get_running_loop()
        due, cpu = loop.time(), time.process_time()
        for sequence in range(1, FAN_SECONDS * POKES_PER_SECOND + 1):
            poke = Poke(sequence - 1, sequence, spaces=rows)
            for subscription in self.subscriptions:
                subscription.queue.put_nowait(poke)
            due += 1 / POKES_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
        print(f"cpu {time.process_time() - cpu:.3f}", flush=True)


def stub_node() -> Any:
    app = App("bench", version=1, spaces={"region": ("member",)})

    class Note(Collection, space="region"):
        text = Lww(str)
        access = Access(read=("member",), edit=("member",))

    app.add(Note)

    async def hello(*_: object) -> Welcome:
        return Welcome(
            protocol=1, device=2, database="d", sequence=0, schema_version=1,
            fingerprint="f", clock=1, resume="current",
        )  # fmt: skip

    async def session(principal: Any, device: Any, version: int) -> DeviceSession:
        return DeviceSession(principal, device, version)

    async def push(_session: object, _push: object, mutations: list[Any]) -> Pushed:
        count = len(mutations)
        return Pushed(merged_through=count, sequence=count, merged=[(1, count, count)])

    async def pull(*_: object) -> Page:
        return Page(cursor=Cursor("d", 0), more=False, checkpoint=Checkpoint(0, {}))

    tenant = SimpleNamespace(
        devices=SimpleNamespace(hello=hello, session=session),
        ingest=SimpleNamespace(push=push),
        pulls=SimpleNamespace(pull=pull),
        live=Live(),
    )

    async def find(_tenant: object) -> Any:
        return tenant

    async def nothing() -> None:
        return None

    return SimpleNamespace(
        app=app, open=nothing, close=nothing, is_ready=True, tenant=find, why_not_ready=nothing
    )


def serve(server: str, port: int, data: Path) -> None:
    """Run one server in this process."""
    settings = Settings(data=data, port=port, streams_per_person_max=1_000, log_level="error")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    gate = build_gate(stub_node(), settings)
    if server == "granian":
        module: Any = import_module("granian.server.embed")  # compared, not required
        interface = module.Interfaces.ASGI
        embedded: Any = module.Server(gate, address="127.0.0.1", port=port, interface=interface)
        uvloop.run(embedded.serve())
        return
    configured = make_server(gate, settings)
    if server == "uvicorn-websockets":
        configured.config.ws = "websockets"
    configured.run(sockets=[listening_socket(settings)])


class PostClient(asyncio.Protocol):
    """One keep-alive connection that posts the same request again and again."""

    def __init__(self, request: bytes, latencies: list[float], until: float) -> None:
        self.request, self.latencies, self.until = request, latencies, until
        self.buffer, self.sent = b"", 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.post()

    def post(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        assert head.startswith(b"HTTP/1.1 200"), self.buffer
        self.buffer = body[length:]
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        if now < self.until:
            self.post()
        elif not self.done.done():
            self.transport.close()
            self.done.set_result(None)


async def post_load(port: int, token: str) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in ms."""
    text = "x" * 60
    changes = [WireChange(collection="note", id="n1", fields={"text": text})]
    mutations = [
        msgspec.Raw(msgspec.msgpack.encode(WireMutation(counter=n, h=n, changes=changes)))
        for n in range(1, 9)
    ]
    body = encode(Push(device=2, clock=1, schema_version=1, mutations=mutations))
    head = (
        f"POST /v1/sync/push HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/msgpack\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    latencies: list[float] = []
    until = time.perf_counter() + POST_SECONDS
    loop = asyncio.get_running_loop()
    clients = [
        (
            await loop.create_connection(
                lambda: PostClient(head.encode() + body, latencies, until), "127.0.0.1", port
            )
        )[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(client.done for client in clients))
    return len(latencies) / POST_SECONDS, sorted(latencies)[len(latencies) * 99 // 100] * 1_000


def masked(payload: bytes) -> bytes:
    """Frame a message; the mask of zeros leaves the payload as it is."""
    if len(payload) < 126:
        return struct.pack("!BB4x", 0x82, 0x80 | len(payload)) + payload
    return struct.pack("!BBH4x", 0x82, 0xFE, len(payload)) + payload


async def stream_client(port: int, token: str) -> int:
    """Greet, pull, then count the bytes of pokes until they stop."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /v1/sync/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
        f"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-key: {key}\r\n"
        "sec-websocket-version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head, head
    hello = Hello(
        protocol=1, app="bench", schema_version=1, fingerprint="f", installation="i", clock=1
    )
    for message in (hello, Pull(device=2, schema_version=1)):
        writer.write(masked(encode(message)))
        length = (await reader.readexactly(2))[1]
        await reader.readexactly(length)
    received = 0
    try:
        while True:
            data = await asyncio.wait_for(reader.read(65_536), 4)
            if not data:
                break
            received += len(data)
    except TimeoutError:
        pass
    writer.close()
    return received


async def fan_out(port: int, token: str) -> float:
    """Return the share of pokes that arrived."""
    rows = [msgspec.Raw(msgspec.msgpack.encode("x" * POKE_BYTES))]
    size = len(encode(Poke(99, 100, spaces=rows))) + 4
    clients: list[asyncio.Task[int]] = []
    for _ in range(STREAMS):
        clients.append(asyncio.create_task(stream_client(port, token)))
        await asyncio.sleep(0.004)
    received = sum(await asyncio.gather(*clients))
    return received / (size * STREAMS * FAN_SECONDS * POKES_PER_SECOND)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1_024


class Measured(NamedTuple):
    """One run of one server."""

    pushes_per_second: float
    p99_ms: float
    fan_out_cpu: float
    delivered: float
    resident_mib: float


def measure(server: str, port: int) -> Measured:
    """Start a server and load it."""
    with tempfile.TemporaryDirectory() as folder:
        key = KeyFiles(Path(folder) / "keys").development_key()
        token = mint(
            key, tenant=TenantId("main"), person=PersonId("ada"), lifetime_s=3_600,
            now_unix_s=int(time.time()),
        )  # fmt: skip
        command = [sys.executable, "-m", "bench.asgi_servers", "--serve", server]
        process = subprocess.Popen(
            [*command, "--port", str(port), "--data", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            uvloop.run(wait_for(port))
            per_second, p99_ms = uvloop.run(post_load(port, token))
            delivered = uvloop.run(fan_out(port, token))
            reported = next(line for line in process.stdout if line.startswith("cpu "))
            cpu = float(reported.split()[1]) / FAN_SECONDS
            return Measured(per_second, p99_ms, cpu, delivered, resident_mib(process.pid))
        finally:
            process.kill()
            process.wait()


def best(runs: list[Measured]) -> Measured:
    """Return the best of each figure: what else the machine does only ever makes it worse."""
    return Measured(
        max(run.pushes_per_second for run in runs),
        min(run.p99_ms for run in runs),
        min(run.fan_out_cpu for run in runs),
        min(run.delivered for run in runs),
        min(run.resident_mib for run in runs),
    )


async def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", default=list(SERVERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve")
    parser.add_argument("--port", type=int, default=8_911)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port, options.data)
        return
    runs: dict[str, list[Measured]] = {server: [] for server in options.servers}
    if find_spec("granian") is None and runs.pop("granian", None) is not None:
        print("granian is not installed: it is left out")
    for turn in range(options.rounds):
        for offset, server in enumerate(runs):
            runs[server].append(measure(server, options.port + 10 * turn + offset))
    print("| server | pushes/s | p99 ms | CPU of fan-out | pokes delivered | RSS MiB |")
    print("|---|---|---|---|---|---|")
    for server, measured in runs.items():
        rate, p99_ms, cpu, delivered, resident = best(measured)
        print(
            f"| {server} | {rate:,.0f} | {p99_ms:.1f} | {cpu:.0%} | {delivered:.0%} "
            f"| {resident:.0f} |"
        )


if __name__ == "__main__":
    main()
