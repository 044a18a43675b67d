"""A real node over temporary files, simulated devices, and a replica that verifies every digest.

`async with running(tmp_path) as node:` opens it; `node.device("ann")` says hello. What every commit
merged is recorded, so that a pure-Python fold can be compared with the tables.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from core.clock import saturated
from core.ids import PersonId, TenantId
from core.row import RowState, merge_delta
from edge.ports.tracing import NO_TRACER
from edge.repositories.database import TenantDatabase, tables_of
from edge.services.node import Node, Tenant
from edge.services.session import DeviceSession, Principal
from edge.storage.tenants import TenantFiles
from sync_protocol.fingerprint import fingerprint
from sync_protocol.media import Media
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.mutations import decode_mutations
from sync_protocol.rows import encode_row
from sync_protocol.version import PROTOCOL_VERSION
from tests.edge.services.replica import Replica
from tests.edge.services.survey import make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from core.schema.app import App
    from edge.ports.tracing import Tracer
    from sync_protocol.messages.pushed import Pushed, Receipt
    from sync_protocol.messages.welcome import Welcome

TENANT = TenantId("main")
NOW_MS = 1_790_000_000_000
"""A Monday in September 2026."""
RowsByKey = dict[tuple[str, str], RowState]


class WallClock:
    """The node's wall clock; tests move it."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class _RecordedRows:
    """A RowStore that notes what it merges and collects."""

    def __init__(self, rows: Any, notes: list[Any]) -> None:
        self._rows = rows
        self._notes = notes

    def merge(self, writes: Any, *rest: Any) -> Any:
        self._notes.extend(writes)
        return self._rows.merge(writes, *rest)

    def collect(self, *, horizon: int, rows_max: int) -> int:
        self._notes.append(horizon)
        return self._rows.collect(horizon=horizon, rows_max=rows_max)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


class RecordedDatabase:
    """A Database that remembers every delta that was committed, in commit order."""

    def __init__(self, inner: Any, journal: list[Any]) -> None:
        self._inner = inner
        self.journal = journal
        self.fail_next_commit: Exception | None = None

    async def read(self, work: Any) -> Any:
        return await self._inner.read(work)

    async def write(self, work: Any) -> Any:
        notes: list[Any] = []

        def recorded(unit: Any) -> Any:
            unit.rows = _RecordedRows(unit.rows, notes)
            nested = unit.nested

            def forgetful(inner_work: Any) -> Any:
                mark = len(notes)
                try:
                    return nested(inner_work)
                except BaseException:
                    del notes[mark:]
                    raise

            unit.nested = forgetful
            result = work(unit)
            if self.fail_next_commit is not None:
                error, self.fail_next_commit = self.fail_next_commit, None
                raise error
            return result

        result = await self._inner.write(recorded)
        self.journal.extend(notes)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Harness:
    """One node with one tenant, and what the tests need of it."""

    def __init__(self, folder: Path, app: App, clock: WallClock) -> None:
        self.folder = folder
        self.app = app
        self.clock = clock
        self.journal: list[Any] = []
        self.tracer: Tracer = NO_TRACER
        self.database: Any = None
        self.node: Any = None
        self.tenant: Tenant = None  # type: ignore[assignment]

    async def open(self, app: App | None = None) -> Tenant:
        """Start the node, over what is in the folder."""
        self.app = self.app if app is None else app
        self.node = make_node(self, synchronous="NORMAL")
        await self.node.open()
        self.tenant = await self.node.tenant(TENANT)
        return self.tenant

    async def close(self) -> None:
        """Stop the node as a deploy does."""
        await self.node.close()

    async def reopen(self, app: App | None = None) -> Tenant:
        """Stop and start; nothing but the file is carried over."""
        await self.close()
        return await self.open(app)

    async def join(self, person: str, space: str = "north", role: str = "member") -> None:
        """Give a person a role in a space."""
        kind = "desk" if role == "owner" else "team"
        await self.tenant.members.set(space, kind, person, role)

    async def device(
        self, person: str, installation: str = "phone", *, role: str | None = "member"
    ) -> Device:
        """Make a member's device and say hello."""
        if role is not None:
            await self.join(person, role=role)
        return await make_device(self, person, f"{person}-{installation}")

    async def rows(self) -> RowsByKey:
        """Every stored row."""

        def load(unit: Any) -> RowsByKey:
            found: RowsByKey = {}
            for name in self.app.collections:
                ids = [row[0] for row in unit._sql.all(f"SELECT id FROM c_{name}")]
                for row, state in unit.rows.load(name, ids).items():
                    found[name, row] = state
            return found

        return await self.tenant.database.read(load)

    async def row(self, collection: str, row: str) -> RowState:
        """One stored row."""
        return (await self.rows())[collection, row]

    async def value(self, collection: str, row: str, field: str) -> Any:
        """One value as a person sees it."""
        state = await self.row(collection, row)
        return self.app.collections[collection].fields[field].value(state.fields.get(field))

    async def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """Read anything."""
        return await self.tenant.database.read(lambda unit: unit._sql.all(statement, parameters))  # type: ignore[attr-defined]

    async def plant(self, statement: str, *parameters: Any) -> None:
        """Write anything, past all services: to plant damage."""
        await self.database._inner.write(lambda unit: unit._sql.run(statement, parameters))

    def folded(self) -> RowsByKey:
        """The pure-Python fold of everything that was committed."""
        rows: RowsByKey = {}
        for entry in self.journal:
            if isinstance(entry, int):
                gone = [k for k, r in rows.items() if not r.is_alive and r.sequence <= entry]
                for key in gone:
                    del rows[key]
                continue
            delta, sequence = entry
            key = (delta.collection, delta.row)
            before = rows.get(key) or RowState(delta.row, delta.space)
            declared = self.app.collections[delta.collection]
            rows[key] = merge_delta(before, delta, declared.fields)
            rows[key].sequence = sequence
        return rows

    async def check(self) -> None:
        """Compare the tables with the fold, and the stored digests with the rows."""
        stored = await self.rows()
        assert as_bytes(stored) == as_bytes(self.folded())
        sums: dict[tuple[str, str], int] = {}
        for (collection, _), state in stored.items():
            if state.is_alive:
                key = (state.space, collection)
                sums[key] = sums.get(key, 0) + Replica.digest_of(state)
        spaces = [row[0] for row in await self.sql("SELECT space FROM sk_space")]
        kept = await self.tenant.database.read(lambda unit: unit.digests.spaces(spaces))
        found = {
            (space, collection): digest % 2**128
            for space, collections in kept.items()
            for collection, digest in collections.items()
            if digest % 2**128
        }
        assert found == {key: total % 2**128 for key, total in sums.items() if total % 2**128}


def as_bytes(rows: RowsByKey) -> dict[tuple[str, str], tuple[str, int, bytes]]:
    """Rows with every field and every stamp, comparable."""
    return {
        key: (state.space, state.sequence, encode_row(state.id, state.alive, state.fields))
        for key, state in rows.items()
    }


def make_node(harness: Harness, *, synchronous: Any = "NORMAL") -> Node:
    """Wire a node as edge.app does, over the harness's folder and clock."""
    files = TenantFiles(harness.folder, synchronous=synchronous)
    tables = tables_of(harness.app)

    async def open_database(tenant: TenantId) -> Any:
        inner = TenantDatabase(await files.open(tenant), tables)
        await inner.migrate(harness.app, new_database_id="database-1")
        harness.database = RecordedDatabase(inner, harness.journal)
        return harness.database

    return Node(
        harness.app,
        tenants=[TENANT],
        open_database=open_database,
        now_ms=harness.clock,
        on_commit=lambda *_: None,
        existing=files.existing,
        erase=partial(asyncio.to_thread, files.erase),
        tracer=harness.tracer,
    )


@asynccontextmanager
async def running(
    folder: Path,
    app: App | None = None,
    clock: WallClock | None = None,
    tracer: Tracer = NO_TRACER,
) -> AsyncIterator[Harness]:
    """An open node over a folder."""
    harness = Harness(folder, app or make_app(), clock or WallClock())
    harness.tracer = tracer
    await harness.open()
    try:
        yield harness
    finally:
        await harness.close()


class Device:
    """One installation: its number, its counter, its clock, its unanswered pushes, its replica."""

    def __init__(self, harness: Harness, person: str, installation: str, welcome: Welcome) -> None:
        self.harness = harness
        self.person = person
        self.installation = installation
        self.number = welcome.device
        self.counter = welcome.merged_through
        self.offset_ms = 0
        self.last_h = 0
        self.schema_version = harness.app.version
        self.replica = Replica(harness.app)

    @property
    def session(self) -> DeviceSession:
        """The device's verified session."""
        principal = principal_of(self.person)
        return DeviceSession(principal, self.number, self.schema_version)  # type: ignore[arg-type]

    def clock(self) -> int:
        """The device's hybrid clock: its own wall clock, never going back."""
        wall = saturated(self.harness.clock.now_ms + self.offset_ms)
        self.last_h = max(wall, self.last_h + 1)
        return self.last_h

    def mutation(self, *changes: WireChange, h: int | None = None) -> WireMutation:
        """Make the next mutation of this device."""
        self.counter += 1
        return WireMutation(self.counter, self.clock() if h is None else h, list(changes))

    async def send(
        self, *mutations: WireMutation | Any, clock: int | None = None, person: str | None = None
    ) -> Pushed:
        """Send mutations as they are, through the wire's own codec."""
        raw = [msgspec.Raw(msgspec.msgpack.encode(mutation)) for mutation in mutations]
        at = self.last_h if clock is None else clock
        push = Push(self.number, at, self.schema_version, raw)
        session = self.session
        if person is not None:
            session = DeviceSession(principal_of(person), session.device, session.schema_version)
        decoded = decode_mutations(push, Media.MSGPACK)
        return await self.harness.tenant.ingest.push(session, push, decoded)

    async def push(self, *changes: WireChange) -> Receipt | None:
        """Send one mutation of these changes; return its receipt, None when plainly merged."""
        answer = await self.send(self.mutation(*changes))
        return answer.receipts[0] if answer.receipts else None

    async def pull(self, *, rows_max: int = 5_000) -> None:
        """Pull whole rounds until the replica is at a checkpoint; digests are verified."""
        await pull_all(self, rows_max=rows_max)
        seen = (state.alive[0] for state in self.replica.rows.values())
        self.last_h = max(self.last_h, *seen, 0)

    def versions(self, collection: str, row: str) -> dict[str, int]:
        """What this device has seen of a row's registers: the `base` of its next edit."""
        held = self.replica.rows.get((collection, row))
        fields = self.harness.app.collections[collection].fields
        return {
            name: state[0]
            for name, state in (held.fields if held else {}).items()
            if state is not None and fields[name].is_register
        }


def principal_of(person: str) -> Principal:
    """A verified person."""
    return Principal(TENANT, PersonId(person), frozenset(), 2**40)


async def make_device(harness: Harness, person: str, installation: str) -> Device:
    """Say hello."""
    hello = Hello(
        PROTOCOL_VERSION,
        harness.app.name,
        harness.app.version,
        fingerprint(harness.app),
        installation,
        saturated(harness.clock.now_ms),
    )
    welcome = await harness.tenant.devices.hello(principal_of(person), hello)
    return Device(harness, person, installation, welcome)


async def greet_again(device: Device) -> Welcome:
    """Say hello as a phone does that has read and written before."""
    harness, replica = device.harness, device.replica
    hello = Hello(
        PROTOCOL_VERSION,
        harness.app.name,
        harness.app.version,
        fingerprint(harness.app),
        device.installation,
        saturated(harness.clock.now_ms),
        device.counter,
        replica.cursor,
    )
    return await harness.tenant.devices.hello(principal_of(device.person), hello)


async def pull_all(device: Device, *, rows_max: int = 5_000, between: Any = None) -> int:
    """Pull until a checkpoint; `between` is awaited after every unfinished page. Returns pages."""
    cursor = device.replica.cursor
    pages = 0
    while True:
        pull = Pull(device.number, device.schema_version, cursor, rows_max)
        page = await device.harness.tenant.pulls.pull(device.session, pull)
        pages += 1
        assert pages < 10_000
        cursor = page.cursor
        device.replica.take(page)
        if not page.more:
            return pages
        if between is not None:
            await between()


def insert(collection: str, row: str, space: str = "north", **fields: Any) -> WireChange:
    """A change that makes a row."""
    return WireChange(collection, row, "insert", space, fields)


def edit(
    collection: str, row: str, *, base: dict[str, int] | None = None, seen: int = 0, **fields: Any
) -> WireChange:
    """A change of some fields."""
    return WireChange(collection, row, "edit", "", fields, base or {}, seen)


def delete(collection: str, row: str, *, seen: int = 0) -> WireChange:
    """A change that deletes."""
    return WireChange(collection, row, "delete", seen=seen)


def restore(collection: str, row: str, *, seen: int = 0) -> WireChange:
    """A change that brings a row back."""
    return WireChange(collection, row, "restore", seen=seen)


def outcomes(answer: Pushed) -> dict[int, str]:
    """Counter to outcome, for every mutation the answer speaks of."""
    found = {
        counter: "merged" for first, last, _ in answer.merged for counter in range(first, last + 1)
    }
    for receipt in answer.receipts:
        assert receipt.counter not in found
        found[receipt.counter] = receipt.outcome
    return found
