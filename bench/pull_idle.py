"""Pull-idle: nothing new for a phone in 1,000 spaces, while other people's spaces move on.

The phone's cursor stays behind the tenant's sequence, so that every pull must find out that none of
what was written since concerns it.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING
from zlib import crc32

from bench.figure import Figure
from bench.load import Load, request, run_load
from bench.node_process import (
    TENANT,
    NodeProcess,
    add_members,
    add_rows,
    data_folder,
    hello_of,
    services,
)
from bench.todo_rows import todo_rows
from core.ids import PersonId
from edge.services.session import Principal
from sync_protocol.codec import encode
from sync_protocol.messages.pull import Pull

if TYPE_CHECKING:
    from bench.todo_rows import Row
    from edge.services.node import Tenant
    from edge.services.session import DeviceSession
    from sync_protocol.messages.page import Page

PERSON = "person-0"


def measure(*, quick: bool) -> list[Figure]:
    spaces, moved_on, pulls = (20, 40, 20) if quick else (1_000, 20_000, 1_000)
    with data_folder() as folder:

        async def inside() -> tuple[Pull, list[float]]:
            async with services(folder) as tenant:
                session = await _phone_in_many_spaces(tenant, spaces)
                pull = await _read_all(tenant, session)
                await add_members(tenant, ["other"], space="other-0")
                await add_rows(tenant, (_elsewhere(row) for row in todo_rows(moved_on)))
                return pull, await _seconds(tenant, session, pull, pulls)

        pull, seconds = asyncio.run(inside())
        with NodeProcess(folder) as node:
            ask = request("POST", "/v1/sync/pull", node.token(PERSON), encode(pull))
            loaded = run_load(Load(node.port, [[ask] * pulls], keeps_bodies=True))
    return [
        Figure(name="pull_idle", value=median(seconds) * 1_000, unit="ms (services)", at_most=3),
        Figure(
            name="pull_idle.http", value=median(loaded.latencies_s) * 1_000, unit="ms (loopback)"
        ),
    ]


def _elsewhere(row: Row) -> Row:
    """Put the row into one of 1,000 spaces of other people."""
    return row._replace(id=f"x{row.id}", space=f"other-{crc32(row.id.encode()) % 1_000}")


async def _phone_in_many_spaces(tenant: Tenant, spaces: int) -> DeviceSession:
    """Make a person a member of spaces that hold a row each, and give the person a phone."""
    for number in range(spaces):
        await add_members(tenant, [PERSON], space=f"household-{number}")
    await add_rows(tenant, todo_rows(spaces, rows_per_space=1))
    principal = Principal(TENANT, PersonId(PERSON), frozenset(), int(time.time()) + 3_600)
    welcome = await tenant.devices.hello(principal, hello_of("phone"))
    return await tenant.devices.session(principal, welcome.device, 1)


async def _read_all(tenant: Tenant, session: DeviceSession) -> Pull:
    """Pull until there is no more; return the pull that asks for what comes next."""
    pull = Pull(device=session.device, schema_version=1)
    while True:
        page = await tenant.pulls.pull(session, pull)
        pull.cursor = page.cursor
        if not page.more:
            return pull


async def _seconds(tenant: Tenant, session: DeviceSession, pull: Pull, count: int) -> list[float]:
    seconds: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        page: Page = await tenant.pulls.pull(session, pull)
        seconds.append(time.perf_counter() - started)
        assert pull.cursor is not None
        assert page.cursor.sequence > pull.cursor.sequence, "other spaces have moved on"
        assert not page.spaces, "there is nothing new for the phone"
        assert not page.more
    return seconds
