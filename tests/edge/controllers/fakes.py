"""A node that keeps nothing on disk, for tests of the HTTP boundary alone."""

import asyncio
from collections import defaultdict
from types import SimpleNamespace

from core import Access, AddWins, App, Collection, Counter, Group, Lww, Ranked
from core.ids import DeviceNumber, SpaceId
from edge.errors import InvalidGrant, NotFound, UnknownDevice, UnknownTenant
from edge.services.session import DeviceSession
from edge.services.spaces import Founded
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.welcome import Welcome

app = App("survey", version=1, spaces={"region": ("reader", "surveyor")})


class Airfield(Collection, space="region"):
    """An airfield and what was seen there."""

    name = Lww(str)
    status = Ranked("unseen", "visited", "signed_off")
    visits = Counter()
    length = Lww(float)
    lit = Lww(bool)
    tags = AddWins(str)
    position = Group(lat=float, lon=float)
    access = Access(
        read=("reader", "surveyor"),
        insert=("surveyor",),
        edit=("surveyor",),
        delete=("surveyor",),
        restore=("surveyor",),
    )


app.add(Airfield)


class FakeSubscription:
    def __init__(self, live):
        self.live = live
        self.queue = asyncio.Queue()
        live.subscriptions.append(self)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.queue.get()

    def close(self):
        self.live.subscriptions.remove(self)


class FakeLive:
    def __init__(self):
        self.subscriptions = []

    async def subscribe(self, session, since):
        return FakeSubscription(self)

    def tell(self, poke):
        for subscription in self.subscriptions:
            subscription.queue.put_nowait(poke)


class FakeTenant:
    """One tenant; rows are whatever was last written, receipts always `merged`."""

    def __init__(self):
        self.table = defaultdict(dict)
        self.pushes = []
        self.failure = None
        self.live = FakeLive()
        self.devices = SimpleNamespace(hello=self.hello, session=self.session)
        self.ingest = SimpleNamespace(push=self.push)
        self.pulls = SimpleNamespace(pull=self.pull, repair=self.pull)
        self.rows = SimpleNamespace(get=self.get, list=self.list)
        self.writes = SimpleNamespace(apply=self.apply)
        self.receipts = SimpleNamespace(list=self.nothing)
        self.conflicts = SimpleNamespace(list=self.nothing)
        self.members = SimpleNamespace(spaces=self.nothing)
        self.spaces = SimpleNamespace(
            found=self.found, assign=self.nothing, remove=self.managed, members=self.managed
        )
        self.invitations = SimpleNamespace(
            create=self.managed, list=self.managed, revoke=self.managed, accept=self.nobody
        )
        self.receipt = None
        self.query = None

    def check(self):
        if self.failure is not None:
            raise self.failure

    async def hello(self, principal, hello):
        self.check()
        return Welcome(
            protocol=1,
            device=2,
            database="d",
            sequence=0,
            schema_version=1,
            fingerprint="f",
            clock=1,
            resume="current",
        )

    async def session(self, principal, device, schema_version):
        if device != 2:
            raise UnknownDevice("Say hello first.")
        return DeviceSession(principal, DeviceNumber(device), schema_version)

    async def push(self, session, push, mutations):
        self.check()
        self.pushes.append(mutations)
        return Pushed(merged_through=len(mutations), sequence=len(mutations))

    async def pull(self, session, pull):
        self.check()
        return Page(cursor=Cursor("d", 0), more=False, checkpoint=Checkpoint(0, {}))

    async def get(self, principal, collection, row_id):
        self.check()
        if row_id not in self.table[collection]:
            raise NotFound("There is no such row for you.")
        return self.table[collection][row_id]

    async def list(self, principal, collection, query):
        self.check()
        self.query = query
        return SimpleNamespace(rows=list(self.table[collection].values()), next=None)

    async def apply(self, principal, changes):
        self.check()
        if self.receipt is not None:
            return self.receipt
        for change in changes:
            before = self.table[change.collection].get(change.id)
            self.table[change.collection][change.id] = SimpleNamespace(
                id=change.id,
                space="north",
                sequence=1 if before is None else before.sequence + 1,
                alive=change.op != "delete",
                values={**({} if before is None else before.values), **change.fields},
                versions=dict.fromkeys(change.fields, 7),
            )
        return Receipt(counter=1, outcome="merged", sequence=1)

    async def found(self, principal, *, kind, space=None):
        self.check()
        return Founded(SpaceId(space or "new"), kind, "surveyor")

    async def managed(self, principal, *arguments, **options):
        self.check()
        if not principal.is_admin:
            raise NotFound("There is no such space for you.")
        return []

    async def nobody(self, principal, code):
        raise InvalidGrant("This invitation is not valid, or not valid any more.")

    async def nothing(self, *arguments, **options):
        self.check()
        return []


class FakeNode:
    def __init__(self):
        self.app = app
        self.is_ready = True
        self.main = FakeTenant()

    async def open(self):
        pass

    async def close(self):
        pass

    def why_not_ready(self):
        return None if self.is_ready else "starting"

    async def tenant(self, tenant):
        if tenant != "main":
            raise UnknownTenant("The tenant is not served here.")
        return self.main
