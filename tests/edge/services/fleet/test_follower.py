"""The follower wakes streams and waiting reads when a replica's file has moved."""

import asyncio
from typing import Any

from core.ids import TenantId
from edge.errors import Unavailable
from edge.services.fleet.follower import Follower

MAIN = TenantId("main")


class Meta:
    def __init__(self, values):
        self.values = values

    def get(self, key):
        return self.values[key]


class Tenant:
    """A tenant whose database is two values."""

    def __init__(self):
        self.id = MAIN
        self.values = {"database": "db", "sequence": 1}
        self.is_copied = True
        self.sequence, self.database_id = 0, ""
        self.notified = 0
        self.database = self.live = self
        self.stream_count = 1
        self.meta = Meta(self.values)

    async def read(self, work):
        if not self.is_copied:
            raise Unavailable("planned")
        return work(self)

    def notify(self):
        self.notified += 1


class Node:
    def __init__(self):
        self.only = Tenant()

    def tenants(self):
        return [MAIN]

    async def tenant(self, _name):
        return self.only


def made():
    node, reached = Node(), []
    stamp = {"value": 0}
    made_up: Any = node
    follower = Follower(
        made_up, stamp=lambda _tenant: stamp["value"], on_reached=lambda *what: reached.append(what)
    )
    return follower, node.only, stamp, reached


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.002)


async def test_a_commit_that_arrives_is_told_once():
    follower, tenant, stamp, reached = made()
    follower.start()
    stamp["value"] = 1
    await until(lambda: reached)
    tenant.values["sequence"] = 2
    stamp["value"] = 2
    await until(lambda: len(reached) == 2)
    stamp["value"] = 3  # something else was written: nothing new in it
    await asyncio.sleep(0.05)
    await follower.close()
    assert reached == [(MAIN, "db", 1), (MAIN, "db", 2)]
    assert tenant.notified == 2
    assert (tenant.sequence, tenant.database_id) == (2, "db")
    assert follower.sequences() == {MAIN: ("db", 2)}


async def test_a_read_waits_for_its_sequence_and_not_for_ever():
    follower, tenant, stamp, _ = made()
    follower.start()
    stamp["value"] = 1
    waiting = asyncio.create_task(follower.wait_for(MAIN, 5, seconds_max=10))
    assert not await follower.wait_for(MAIN, 6, seconds_max=0.05)
    tenant.values["sequence"] = 5
    stamp["value"] = 2
    assert await waiting
    assert await follower.wait_for(MAIN, 4, seconds_max=0)
    await follower.close()


async def test_a_replica_that_is_being_copied_is_asked_again():
    follower, tenant, stamp, reached = made()
    tenant.is_copied = False
    follower.start()
    stamp["value"] = 1
    await asyncio.sleep(0.05)
    assert reached == []
    tenant.is_copied = True
    await until(lambda: reached)
    await follower.close()
