"""Limits over all processes: four clients ask four workers for more than is admitted.

Run as a module it is one of the clients.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import uvloop

from bench.child_process import run_python
from bench.figure import Figure
from bench.identity_client import Connection, workers_of
from bench.node_process import NodeProcess, data_folder

ADMITTED = 100
CLIENTS, REQUESTS_PER_CLIENT, CONNECTIONS_PER_CLIENT = 4, 100, 10
LIMITS = f"request.account={ADMITTED}/1h"
"""One more would come in after 36 seconds, long after the clients have ended."""
ROUNDS = 5
SECONDS_MAX = 30.0


class Client(msgspec.Struct):
    """What one client process is given."""

    port: int
    pids: list[int]
    token: str


class Asked(msgspec.Struct):
    """How many requests were admitted, and the workers that were asked."""

    admitted: int
    workers: set[int]


def measure(*, quick: bool) -> list[Figure]:
    with data_folder() as folder, NodeProcess(folder, workers=4, limits=LIMITS) as node:
        tokens = [node.token(f"person-{number}") for number in range(1 if quick else ROUNDS)]
        rounds = [_ask_all(Client(node.port, node.pids()[1:], token)) for token in tokens]
    worst = max((asked.admitted for asked in rounds), key=lambda count: abs(count - ADMITTED))
    return [
        Figure(
            name="limits_exact",
            value=worst,
            unit="admitted of 400",
            limit=ADMITTED,
            at_least=ADMITTED,
            at_most=ADMITTED,
        ),
        Figure(
            name="limits_exact.workers",
            value=min(len(asked.workers) for asked in rounds),
            unit="asked at least",
        ),
    ]


def _ask_all(client: Client) -> Asked:
    given = msgspec.msgpack.encode(client)
    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = threads.map(
            lambda _: run_python("bench.limits_exact", given, seconds_max=SECONDS_MAX),
            range(CLIENTS),
        )
        parts = [msgspec.msgpack.decode(answer, type=Asked) for answer in answers]
    workers = set[int]().union(*(part.workers for part in parts))
    return Asked(sum(part.admitted for part in parts), workers)


async def _ask(client: Client) -> Asked:
    """Send this client's requests."""
    opening = (Connection.open(client.port) for _ in range(CONNECTIONS_PER_CLIENT))
    connections = await asyncio.gather(*opening)

    async def use(connection: Connection) -> int:
        admitted = 0
        for _ in range(REQUESTS_PER_CLIENT // CONNECTIONS_PER_CLIENT):
            status, body = await connection.request("GET", "/v1/spaces", token=client.token)
            if status not in (200, 429):
                raise RuntimeError(f"{status} {body[:300]!r}")
            admitted += status == 200
        return admitted

    admitted = sum(await asyncio.gather(*map(use, connections)))
    return Asked(
        admitted, {pid for pid in workers_of(client.port, connections, client.pids) if pid}
    )


def main() -> None:
    client = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Client)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(_ask(client))))


if __name__ == "__main__":
    main()
