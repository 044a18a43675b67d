"""Revocation: from the answer that a session has ended until both workers refuse its token.

Connections to each of the workers, open before, ask again and again; what counts is the last one to
be refused. The time of asking is part of it, so it is an upper bound.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

import uvloop

from bench.figure import Figure
from bench.identity_client import LIMITS_NOT_MET, Connection, Device, workers_of
from bench.node_process import NodeProcess, data_folder

WORKERS, CONNECTIONS_PER_WORKER = 2, 2
OPENED_AT_ONCE, TRIES_MAX = 32, 50
"""Workers share one listening socket: an idle one takes all, a burst is shared out."""
REVOCATIONS = 60
REFUSED_SECONDS_MAX = 10.0


def measure(*, quick: bool) -> list[Figure]:
    with (
        data_folder() as folder,
        NodeProcess(folder, workers=WORKERS, limits=LIMITS_NOT_MET) as node,
    ):
        seconds = uvloop.run(_revoke(node, 3 if quick else REVOCATIONS))
    return [
        Figure(name="revocation", value=max(seconds) * 1_000, unit="ms", at_most=100),
        Figure(name="revocation.p50", value=median(seconds) * 1_000, unit="ms"),
    ]


async def _revoke(node: NodeProcess, count: int) -> list[float]:
    connections = await _to_each_worker(node)
    took: list[float] = []
    for number in range(count):
        device, own = Device(), connections[number % len(connections)]
        await device.sign_in(own, "/v1/auth/anonymous")
        token = device.told.access_token
        for connection in connections:  # from now on every worker has it in its cache
            await connection.expect(200, "GET", "/v1/spaces", token=token)
        path = f"/v1/me/sessions/{device.told.session}"
        await own.expect(204, "DELETE", path, token=token)
        ended = time.perf_counter()
        async with asyncio.timeout(REFUSED_SECONDS_MAX):
            refused = await asyncio.gather(*(_refused(c, token) for c in connections))
        took.append(max(refused) - ended)
    for connection in connections:
        connection.close()
    return took


async def _to_each_worker(node: NodeProcess) -> list[Connection]:
    """Open connections until each worker has CONNECTIONS_PER_WORKER; close the others."""
    kept: dict[int, list[Connection]] = {pid: [] for pid in node.pids()[1:]}
    for _ in range(TRIES_MAX):
        opened = await asyncio.gather(*(_used(node.port) for _ in range(OPENED_AT_ONCE)))
        for connection, pid in zip(opened, workers_of(node.port, opened, kept), strict=True):
            if pid and len(kept[pid]) < CONNECTIONS_PER_WORKER:
                kept[pid].append(connection)
            else:
                connection.close()
        if all(len(some) == CONNECTIONS_PER_WORKER for some in kept.values()):
            return [connection for some in kept.values() for connection in some]
    raise RuntimeError("one worker has taken all connections")


async def _used(port: int) -> Connection:
    connection = await Connection.open(port)
    await connection.expect(200, "GET", "/health/ready")
    return connection


async def _refused(connection: Connection, token: str) -> float:
    """Ask until the token is refused; return when that was."""
    while True:
        status, _ = await connection.request("GET", "/v1/spaces", token=token)
        if status == 401:
            return time.perf_counter()
        if status != 200:
            raise RuntimeError(f"a revoked token is answered {status}")
