"""A real node for a measurement: `skerry serve bench/todo_app.py`, or its services in-process.

Everything lies in a temporary folder and listens on loopback; the process is stopped by its id.
"""

from __future__ import annotations

import asyncio
import http.client
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.child_process import MEDIA, ROOT, child_environment
from bench.todo_app import app
from bench.todo_rows import COLLECTION, SPACE
from core.clock import pack, saturated
from core.ids import PersonId, TenantId
from edge.app import build_node
from edge.observability import Metrics
from edge.services.session import DeviceSession, Principal
from edge.services.tokens import mint
from edge.settings import Settings
from edge.storage.key_files import KeyFiles
from sync_protocol.codec import decode_server, encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.welcome import Welcome
from sync_protocol.mutations import Malformed
from sync_protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable

    from bench.todo_rows import Row
    from edge.services.node import Tenant

TENANT = TenantId("main")
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 60.0
SEEDER = "seeder"
SEEDING_PHONES, ROWS_PER_COMMIT = 5, 5_000


@contextmanager
def data_folder() -> Generator[Path]:
    """Make a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        yield Path(folder)


def database_of(data: Path) -> Path:
    return data / "tenants" / f"{TENANT}.db"


@asynccontextmanager
async def services(data: Path) -> AsyncGenerator[Tenant]:
    """Open the services on a folder no process serves: to prepare it, or to measure inside."""
    node = build_node(app, Settings(data=data, tenants=(TENANT,)), Metrics())
    await node.open()
    try:
        yield await node.tenant(TENANT)
    finally:
        await node.close()


async def add_members(tenant: Tenant, people: Iterable[str], *, space: str = SPACE) -> None:
    for person in people:
        await tenant.members.set(space, "household", person, "member")


async def add_rows(tenant: Tenant, rows: Iterable[Row]) -> None:
    """Insert rows by the node's own write path, a mutation each, as phones that were offline do.

    Every row keeps the time at which it was made, so that versions differ as those of an app do.
    """
    phones = [await _seeding_phone(tenant, number) for number in range(SEEDING_PHONES)]
    spaces: set[str] = set()
    source = iter(rows)
    while chunk := list(islice(source, ROWS_PER_COMMIT)):
        new_spaces = {row.space for row in chunk} - spaces
        for space in sorted(new_spaces):
            await add_members(tenant, [SEEDER], space=space)
        spaces |= new_spaces
        shares = [chunk[number :: len(phones)] for number in range(len(phones))]
        await asyncio.gather(*map(_seed, [tenant] * len(phones), phones, shares))


async def _seeding_phone(tenant: Tenant, number: int) -> tuple[DeviceSession, list[int]]:
    """Return a phone of the person who seeds, and the counter it has reached."""
    principal = Principal(TENANT, PersonId(SEEDER), frozenset(), int(time.time()) + 3_600)
    welcome = await tenant.devices.hello(principal, hello_of(f"seeding-{number}"))
    session = await tenant.devices.session(principal, welcome.device, 1)
    return session, [welcome.merged_through]


async def _seed(tenant: Tenant, phone: tuple[DeviceSession, list[int]], rows: list[Row]) -> None:
    session, reached = phone
    mutations: list[WireMutation | Malformed] = []
    for row in rows:
        reached[0] += 1
        change = WireChange(
            collection=COLLECTION, id=row.id, op="insert", space=row.space, fields=row.fields
        )
        h = pack(unix_ms=row.made_ms, counter=session.device)
        mutations.append(WireMutation(counter=reached[0], h=h, changes=[change]))
    push = Push(device=session.device, clock=saturated(now_ms()), schema_version=1, mutations=[])
    pushed = await tenant.ingest.push(session, push, mutations)
    if pushed.receipts:
        raise RuntimeError(f"a row was not taken: {pushed.receipts[0]}")


UNMET_LIMITS = ",".join(
    f"{kind}.{of}=1000000/1s"
    for kind in ("push", "pull", "stream", "request")
    for of in ("account", "device", "address")
)
"""Limits are counted, and no measurement meets them."""


class NodeProcess:
    """A served folder; `start_seconds` is the time from starting it to its first answer.

    `limits` overrides limits as SKERRY_LIMITS does.
    """

    def __init__(self, data: Path, *, workers: int = 1, limits: str = UNMET_LIMITS) -> None:
        self.data = data
        self._workers = workers
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "edge.cli", "serve", str(ROOT / "bench" / "todo_app.py")]
        options = ["--port", "0", "--data", str(self.data), "--workers", str(self._workers)]
        with (self.data / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options, "--log-level", "warning"],
                cwd=ROOT,
                env={**child_environment(), "SKERRY_LIMITS": self._limits},
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_ready(started)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the node is not running"
        return self._process.pid

    def token(self, person: str, *, is_admin: bool = False) -> str:
        return mint(
            KeyFiles(self.data / "keys").development_key(),
            tenant=TENANT,
            person=PersonId(person),
            is_admin=is_admin,
            lifetime_s=6 * 3_600,
            now_unix_s=int(time.time()),
        )

    def request(self, method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
        """Send one request on a connection of its own; raise RuntimeError unless it succeeds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        try:
            headers = {"authorization": f"Bearer {token}", "content-type": MEDIA}
            connection.request(method, path, body, headers if token else {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def hello(self, person: str, installation: str = "phone") -> Welcome:
        """Introduce a device and return what the node says to it."""
        answer = self.request(
            "POST", "/v1/sync/hello", self.token(person), encode(hello_of(installation))
        )
        welcome = decode_server(answer)
        assert isinstance(welcome, Welcome), "hello is answered with welcome"
        return welcome

    def resident_mib(self, *, peak: bool = False) -> float:
        """Return the resident memory of the process and its workers, in MiB."""
        return sum(_status_mib(pid, "VmHWM:" if peak else "VmRSS:") for pid in self.pids())

    def reset_peak(self) -> None:
        """Let the peak count from now on (proc(5), clear_refs)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def _wait_until_ready(self, started: float) -> None:
        assert self._process is not None
        lock = self.data / "node.lock"
        answers, answers_wanted = 0, 1 if self._workers == 1 else 8 * self._workers
        while answers < answers_wanted:
            if self._process.poll() is not None or time.monotonic() > started + READY_SECONDS_MAX:
                raise RuntimeError(f"the node did not start: {(self.data / 'log').read_text()}")
            address = lock.read_text().strip() if lock.exists() else ""
            try:
                self.port = int(address.rpartition(":")[2] or 0)
                self.request("GET", "/health/ready")
                answers += 1
            except (OSError, ValueError, RuntimeError, http.client.HTTPException):
                answers = 0
                time.sleep(0.005)
            else:
                self.start_seconds = self.start_seconds or time.monotonic() - started

    def _stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def hello_of(installation: str) -> Hello:
    return Hello(
        protocol=PROTOCOL_VERSION,
        app=app.name,
        schema_version=app.version,
        fingerprint=fingerprint(app),
        installation=installation,
        clock=saturated(now_ms()),
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _status_mib(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(name)[2].split()[0]) / 1_024
