"""Login: passwords that are right, a new device each time; the limit is Argon2id alone.

`login.cpu` is what a login costs the node; its ratio is the share that Argon2id has of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING

import msgspec
import uvloop
from argon2 import low_level

from bench.figure import Figure
from bench.identity_client import LIMITS_NOT_MET, Connection, Device
from bench.node_process import NodeProcess, data_folder
from bench.refresh_load import cpu_seconds
from edge.gateways.argon2_hashes import Argon2Hashes

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = 4
LANES = 8
"""Four times the threads that hash: none of them ever waits for the next login."""
PASSWORD = "correct horse battery staple"
LIMITS = f"login.account=off,login.device=off,login.address=off,{LIMITS_NOT_MET}"
ROUNDS = 3
"""Logins and the limit take turns: what else the machine does meets both."""
MAIL_SECONDS_MAX = 10.0
_CODE = re.compile(r"^\s*(\d[\d ]{6,9}\d)\s*$", re.MULTILINE)


class Begun(msgspec.Struct):
    flow: str


class Cost(msgspec.Struct):
    """Logins or verifications, with what they took of the clock and of the processor."""

    count: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def add(self, count: int, seconds: float, cpu_s: float) -> None:
        self.count += count
        self.seconds += seconds
        self.cpu_s += cpu_s


def measure(*, quick: bool) -> list[Figure]:
    logins, raw = Cost(), Cost()
    with data_folder() as folder, NodeProcess(folder, limits=LIMITS) as node:
        uvloop.run(_register(node))
        hashed = asyncio.run(_hashed()).encode()
        for _ in range(1 if quick else ROUNDS):
            uvloop.run(_sign_in(node, logins, seconds=0.3 if quick else 3.0))
            _verify(hashed, raw, count=8 if quick else 150)
    login_ms, raw_ms = (cost.cpu_s / cost.count * 1_000 for cost in (logins, raw))
    return [
        Figure(
            name="login",
            value=logins.count / logins.seconds,
            unit="logins/s",
            limit=raw.count / raw.seconds,
        ),
        Figure(
            name="login.cpu",
            value=login_ms,
            unit="ms of the node",
            limit=raw_ms,
            ratio=raw_ms / login_ms if login_ms else None,
            ratio_at_least=0.85,
        ),
    ]


async def _register(node: NodeProcess) -> None:
    connection = await Connection.open(node.port)
    for number in range(ACCOUNTS):
        given = {"email": _address(number), "password": PASSWORD}
        body = msgspec.json.encode(given)
        answer = await connection.expect(202, "POST", "/v1/auth/register", body)
        flow = msgspec.json.decode(answer, type=Begun).flow
        code = await asyncio.to_thread(_mailed_code, node.data / "mail", number + 1)
        await Device().sign_in(connection, "/v1/auth/register/finish", flow=flow, code=code)
    connection.close()


def _mailed_code(folder: Path, mails_wanted: int) -> str:
    """Return the code of the newest mail, once there are so many."""
    deadline = time.monotonic() + MAIL_SECONDS_MAX
    while len(mails := sorted(folder.glob("*.eml"))) < mails_wanted:
        if time.monotonic() > deadline:
            raise RuntimeError("a code was not mailed")
        time.sleep(0.02)
    message = message_from_bytes(mails[-1].read_bytes(), policy=default)
    text = message.get_body(("plain",))
    found = _CODE.search(text.get_content() if text else "")
    if found is None:
        raise RuntimeError("a mail holds no code")
    return found[1].replace(" ", "")


async def _sign_in(node: NodeProcess, cost: Cost, *, seconds: float) -> None:
    connections = [await Connection.open(node.port) for _ in range(LANES)]
    count, cpu_s, started = 0, cpu_seconds(node.pid), time.perf_counter()

    async def use(connection: Connection, email: str) -> None:
        nonlocal count
        while time.perf_counter() < started + seconds:
            given = {"email": email, "password": PASSWORD}
            await Device().sign_in(connection, "/v1/auth/password", **given)
            count += 1

    await asyncio.gather(*(use(c, _address(n % ACCOUNTS)) for n, c in enumerate(connections)))
    cost.add(count, time.perf_counter() - started, cpu_seconds(node.pid) - cpu_s)
    for connection in connections:
        connection.close()


async def _hashed() -> str:
    """Return a hash with the parameters of the node's."""
    hashes = Argon2Hashes()
    try:
        return await hashes.hash(PASSWORD)
    finally:
        await hashes.close()


def _verify(hashed: bytes, cost: Cost, *, count: int) -> None:
    """Verify on as many threads as the node has for it."""
    threads_count = cores()
    with ThreadPoolExecutor(threads_count) as threads:
        cpu_s, started = time.process_time(), time.perf_counter()
        done = threads.map(
            lambda _: low_level.verify_secret(hashed, PASSWORD.encode(), low_level.Type.ID),
            range(count),
        )
        if not all(done):
            raise RuntimeError("the right password was refused")
        cost.add(count, time.perf_counter() - started, time.process_time() - cpu_s)


def cores() -> int:
    """Return how many threads a node hashes on."""
    return len(os.sched_getaffinity(0))


def _address(number: int) -> str:
    return f"person-{number}@example.org"
