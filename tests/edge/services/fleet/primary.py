"""A primary that can be away, and an edge's outbox beside a replica: for tests of what is between.

The replica is a node of its own: `replicate` makes it judge what the primary has judged.
"""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from edge.errors import Unavailable
from edge.repositories.outbox import SqlOutbox
from edge.services.fleet.models import principal_from_json
from edge.services.fleet.relay import Relay
from edge.storage.grouped import GroupedEngine
from edge.storage.sqlite import SqliteEngine
from sync_protocol.media import Media
from sync_protocol.messages.push import Push
from sync_protocol.mutations import decode_mutations
from tests.edge.services.harness import principal_of, running


class FakePrimary:
    """Judges with a real node, unless it is away; remembers what it was asked."""

    def __init__(self, harness):
        self.harness = harness
        self.is_away = False
        self.is_open = False
        self.refusals = {}
        self.calls = []
        self.asked = 0
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def hello(self, principal, token, hello):
        await self._answering()
        return await self.harness.tenant.devices.hello(principal, hello)

    async def push(self, principal, token, push):
        await self._answering()
        return await self._judged(principal, push)

    async def request(self, method, target, headers, body):
        await self._answering()
        return 200, {}, b""

    async def relay(self, entries):
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._answering()
            assert len({(e.tenant, e.device, e.schema_version, e.principal) for e in entries}) == 1
            last = entries[-1]
            raw = [msgspec.Raw(entry.payload) for entry in entries]
            push = Push(last.device, last.clock, last.schema_version, raw)
            return await self._judged(principal_from_json(last.principal), push)
        finally:
            self.under_way -= 1

    async def _answering(self):
        self.asked += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.is_away:
            raise Unavailable("The primary is away.")

    async def _judged(self, principal, push):
        decoded = decode_mutations(push, Media.MSGPACK)
        self.calls.append((push.device, [mutation.counter for mutation in decoded]))
        if push.device in self.refusals:
            raise self.refusals[push.device]
        devices = self.harness.tenant.devices
        session = await devices.session(principal, push.device, push.schema_version)
        return await self.harness.tenant.ingest.push(session, push, decoded)


class Edge:
    """A replica, an outbox and a relay in front of a fake primary."""

    def __init__(self, replica, primary, folder):
        self.replica = replica
        self.primary = FakePrimary(primary)
        self.folder = folder
        self.told = []
        self.is_silent = False
        self.drain: Any = None
        self.sets: Any = None
        self.settled, self.refused, self.news = [], [], []

    async def open(self, **bounds):
        engine = SqliteEngine(self.folder / "outbox.db", synchronous="FULL")
        await engine.open()
        bounds = {"mutations_max": 200_000, "bytes_max": 1 << 30} | bounds
        self.outbox = SqlOutbox(GroupedEngine(engine), **bounds)
        await self.outbox.open()
        self.relay = Relay(
            self.replica.node,
            self.primary,
            self.outbox,
            now_ms=self.replica.clock,
            on_accepted=self.told.append,
            is_away=lambda: self.is_silent,
        )

    async def device(self, person, **options):
        """A device that both nodes know by the same number; the replica's view of it."""
        known = await self.primary.harness.device(person, **options)
        here = await self.replica.device(person, **options)
        assert here.number == known.number
        return here

    async def push(self, device, *mutations, person=None):
        return await self.relay.push(
            principal_of(person or device.person), "", self.push_of(device, *mutations)
        )

    def push_of(self, device, *mutations):
        raw = [
            mutation if isinstance(mutation, msgspec.Raw) else msgspec.Raw(encode(mutation))
            for mutation in mutations
        ]
        return Push(device.number, device.last_h, device.schema_version, raw)

    async def replicate(self, device, *mutations):
        await device.send(*mutations)

    async def waiting(self, device):
        found = await self.outbox.of_device("main", device.number)
        return [entry.counter for entry in found]


encode = msgspec.msgpack.Encoder().encode


@asynccontextmanager
async def edge_of(folder, **bounds):
    """An open edge with a primary."""
    async with running(folder / "primary") as primary, running(folder / "replica") as replica:
        edge = Edge(replica, primary, folder)
        await edge.open(**bounds)
        try:
            yield edge
        finally:
            await edge.outbox.close()
