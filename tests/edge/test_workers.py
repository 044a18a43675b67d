"""Several processes on one port: one of them writes, all of them read, crashes are survived."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from core.ids import PersonId, TenantId
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.workers.fleet_dev import free_ports
from sync_protocol.codec import decode_server, encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION
from tests.edge.controllers.fakes import app

MODULE = Path(__file__).parent / "controllers" / "fakes.py"
ROOT = Path(__file__).parents[2]
ROWS = "/v1/rows/airfield"


class Processes:
    def __init__(self, data: Path, workers: int) -> None:
        (self.port,) = free_ports(1)
        self.data = data
        command = [sys.executable, "-m", "edge.cli", "serve", str(MODULE), "--data", str(data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--workers", str(workers)],
            cwd=ROOT,
            stderr=(data / "log").open("w"),
        )

    def bearer(self, **claims: bool) -> dict[str, str]:
        token = mint(
            KeyFiles(self.data / "keys").development_key(),
            tenant=TenantId("main"),
            person=PersonId("ada"),
            lifetime_s=600,
            now_unix_s=int(time.time()),
            **claims,
        )
        return {"authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, **options) -> httpx.Response:
        """Send on a new connection, so that any worker may take it."""
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", **options)

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def wait_until_ready(self, *, workers: int) -> None:
        deadline = time.monotonic() + 20
        ready = 0
        while ready < 8 * workers:
            assert time.monotonic() < deadline, (self.data / "log").read_text()
            try:
                ready += self.request("GET", "/health/ready").status_code == 200
            except httpx.HTTPError:
                ready = 0
                time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path, workers=3)
    started.wait_until_ready(workers=3)
    member = "/v1/spaces/north/members/ada"
    answer = started.request(
        "PUT", member, json={"role": "surveyor"}, headers=started.bearer(is_admin=True)
    )
    assert answer.status_code == 200, answer.text
    yield started
    if started.process.poll() is None:
        assert started.stop() == 0, (tmp_path / "log").read_text()


def test_a_write_through_any_worker_is_read_through_every_other(processes):
    for number in range(30):
        row = {"space": "north", "id": f"a{number}", "fields": {"name": f"Field {number}"}}
        made = processes.request("POST", ROWS, json=row, headers=processes.bearer())
        assert made.status_code == 201, made.text
        read = processes.request("GET", f"{ROWS}/a{number}", headers=processes.bearer())
        assert read.json()["values"]["name"] == f"Field {number}"
    sock = processes.data / "writer.sock"
    assert sock.stat().st_mode & 0o777 == 0o600


def test_a_forwarded_request_is_refused_as_it_would_be_directly(processes):
    for _ in range(12):
        row = {"space": "north", "fields": {"name": 7}}
        answer = processes.request("POST", ROWS, json=row, headers=processes.bearer())
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong-type")
        answer = processes.request("POST", ROWS, json=row)
        assert answer.status_code == 401
        answer = processes.request("POST", "/nowhere", headers=processes.bearer())
        assert answer.json()["fault"] == "not-found"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(processes.data / "writer.sock"))) as c:
        assert c.post("http://writer/v1/sync/hello").status_code == 401


def test_crashed_workers_come_back(processes):
    before = processes.children()
    assert len(before) == 3
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    time.sleep(1.5)
    processes.wait_until_ready(workers=3)
    assert len(processes.children()) == 3
    assert not set(before) & set(processes.children())
    row = {"space": "north", "id": "after", "fields": {"name": "x"}}
    answer = processes.request("POST", ROWS, json=row, headers=processes.bearer())
    assert answer.status_code == 201


async def test_streams_live_on_every_worker(processes):
    hello = Hello(
        protocol=PROTOCOL_VERSION,
        app=app.name,
        schema_version=app.version,
        fingerprint=fingerprint(app),
        installation="phone-1",
        clock=0,
    )
    streams = []
    for _ in range(9):
        socket_ = await connect(
            f"ws://127.0.0.1:{processes.port}/v1/sync/stream",
            additional_headers=processes.bearer(),
        )
        await socket_.send(encode(hello))
        welcome = decode_server(await socket_.recv(decode=False))
        assert isinstance(welcome, Welcome)
        push = Push(device=welcome.device, clock=1, schema_version=1, mutations=[])
        await socket_.send(encode(push))
        assert isinstance(decode_server(await socket_.recv(decode=False)), Pushed)
        await socket_.send(encode(Pull(device=welcome.device, schema_version=1)))
        assert isinstance(decode_server(await socket_.recv(decode=False)), Page)
        streams.append(socket_)
    row = {"space": "north", "id": "told", "fields": {"name": "x"}}
    headers = processes.bearer()
    await asyncio.to_thread(processes.request, "POST", ROWS, json=row, headers=headers)
    for socket_ in streams:
        poke = decode_server(await asyncio.wait_for(socket_.recv(decode=False), 5))
        assert isinstance(poke, Poke)
        await socket_.close()


def test_a_second_node_on_the_folder_is_refused(processes):
    command = [sys.executable, "-m", "edge.cli", "serve", str(MODULE)]
    again = subprocess.run(
        [*command, "--data", str(processes.data), "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert str(processes.port) in again.stderr


def test_termination_ends_every_process(processes):
    children = processes.children()
    assert processes.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
