"""A small run with real code: phones and one node in one process, a virtual clock, no network.

It is what the checker's own tests judge: `recorded(folder, seed=...)` returns a history in which
phones write all kinds of fields, sync now and then, are killed, cloned and set back to a backup,
and members come and go. The simulator of tests/simulation does the same at length.
"""

import asyncio
import random
import shutil

from core.errors import CoreError
from skerry_client import (
    Add,
    AddElements,
    Append,
    ClientError,
    Drop,
    Lease,
    Off,
    On,
    Put,
    RemoveElements,
    Reopen,
    Reset,
    Resolve,
    Skerry,
    Use,
)
from skerry_client.driver import Driver
from skerry_client.link import LinkLost
from tests.clients.python.node_link import Fleet, NodeLink
from tests.edge.services.harness import TENANT
from tests.edge.services.survey import make_app
from tests.history.declaration import tell_app
from tests.history.history import History
from tests.history.recorder import PhoneRecorder
from tests.history.server import ServerRecorder

_SEQUENCE = "SELECT CAST(value AS INTEGER) FROM sk_meta WHERE key = 'sequence'"
SPACES = ("north", "south")
ITEMS = tuple(f"item-{index}" for index in range(4))
FOLDERS = tuple(f"folder-{index}" for index in range(3))
PEOPLE = ("ann", "bob", "cid", "dan")
LINKS_MAX = 5
TURN_MS = 700
"""Less than a lease and more than a clock tick; a run lasts minutes of virtual time."""


class CutLink(NodeLink):
    """Loses requests, and answers to requests that were carried out, when `is_cut()` says so."""

    def __init__(self, fleet, person, is_cut):
        super().__init__(fleet, person, lambda _message: None)
        self.is_cut = is_cut

    async def _answer(self, message):
        if self.is_cut():
            raise LinkLost("cut before it was carried out")
        answer = await super()._answer(message)
        if self.is_cut():
            raise LinkLost("cut after it was carried out")
        return answer


class Phone:
    """A phone's file, its recorder, and what its person does to it."""

    def __init__(self, run, name, person):
        self.run, self.name, self.person = run, name, person
        self.path = run.folder / f"{name}.db"
        self.recorder = PhoneRecorder(run.history, name, person, now_ms=run.now_ms)
        self.skerry: Skerry = None  # type: ignore[assignment]
        self.is_cut = False

    def open(self, came_from=""):
        moments = random.Random(f"{self.run.seed}-{self.name}-{self.run.now_ms()}")
        self.skerry = Skerry(
            self.path,
            self.run.app,
            background=False,
            now_unix_ms=self.run.now_ms,
            entropy=moments.randbytes,
        )
        self.recorder.attach(self.skerry, came_from=came_from)

    def close(self):
        self.skerry.store.close()
        self.recorder.killed()

    def copy_to(self, path):
        for suffix in ("", "-wal"):
            source = self.path.with_name(self.path.name + suffix)
            target = path.with_name(path.name + suffix)
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copy(source, target)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)

    async def sync(self):
        for _ in range(LINKS_MAX):
            driver = Driver(
                self.skerry.store,
                now_unix_ms=self.run.now_ms,
                jitter=lambda: 0.0,
                has_pokes=False,
                on_progress=lambda *_: None,
            )
            link = CutLink(
                self.run.fleet, self.person, lambda: self.is_cut and self.run.moments.random() < 0.2
            )
            ending = await asyncio.wait_for(driver.run(link, is_single_round=True), 20)
            if ending.why != "again":
                break
        self.run.server.look()

    def write(self):
        """Make one mutation of some kind; what the phone itself refuses is not made."""
        do = self.run.moments.choice(WRITES)
        try:
            with self.skerry.transaction() as transaction:
                do(self, transaction)
        except (ClientError, CoreError):
            return False
        return True

    def any_row(self, collection, ids):
        known = [i for i in ids if self.skerry.get(self.run.collections[collection], i)]
        return self.run.moments.choice(known) if known else None


class Run:
    """One run; everything in it follows from its seed."""

    def __init__(self, folder, seed):
        self.folder, self.seed = folder, seed
        self.moments = random.Random(seed)
        self.app = make_app()
        self.collections = self.app.collections
        self.fleet = Fleet(folder, self.app)
        self.history = History()
        self.phones = {}
        self.number = 0

    def now_ms(self):
        return self.fleet.harness.clock.now_ms

    async def open(self):
        tell_app(self.history, self.app, now_ms=self.now_ms())
        await self.fleet.open()
        path = self.folder / "node" / f"{TENANT}.db"
        self.server = ServerRecorder(self.history, "node", path, self.app, now_ms=self.now_ms)
        self._serve()
        for index, person in enumerate(PEOPLE):
            await self.join(person, SPACES[0], "lead" if index == 0 else "member")
            if index < 2:
                await self.join(person, SPACES[1], "member")
        for person in PEOPLE:
            phone = self.phones[person] = Phone(self, person, person)
            phone.open()
        await self._begin()

    def _serve(self):
        self.server.tap(self.fleet.harness.tenant.ingest)

    async def copy(self):
        """Let a replica have what the primary has; only that is safe from now on."""
        self.server.close()
        await self.fleet.copy()
        self._serve()
        self.fleet.standing.safe = (await self.fleet.harness.sql(_SEQUENCE))[0][0]

    async def take_over(self):
        """Lose the primary, with all that was not replicated; the copy goes on."""
        self.server.close()
        await self.fleet.take_over()
        self._serve()
        self.fleet.standing.safe = None
        told = {"e": "operator", "t": self.now_ms(), "what": "promote-force", "node": "node"}
        self.history.add(told)
        self.server.look()

    async def _begin(self):
        """Make the rows that everybody writes to."""
        skerry = self.phones[PEOPLE[0]].skerry
        for space in SPACES:
            for row in ITEMS:
                skerry.insert(self.collections["item"], space=space, id=f"{row}-{space}")
        for phone in self.phones.values():
            await phone.sync()

    async def join(self, person, space, role):
        record = await self.fleet.harness.tenant.members.set(space, "team", person, role)
        self._member(person, space, role, record.sequence)

    async def leave(self, person, space):
        await self.fleet.harness.tenant.members.remove(space, person)
        self._member(person, space, None, 0)

    def _member(self, person, space, role, sequence):
        told = {"e": "member", "t": self.now_ms(), "space": space, "person": person}
        self.history.add({**told, "kind": "team", "role": role, "s": sequence})
        self.server.look()

    async def work(self, turns):
        """Let phones write, sync and fail, and members come and go."""
        for _ in range(turns):
            self.fleet.harness.clock.now_ms += self.moments.randrange(TURN_MS)
            phone = self.moments.choice(list(self.phones.values()))
            chance = self.moments.random()
            if chance < 0.60:
                phone.write()
            elif chance < 0.94:
                phone.is_cut = self.moments.random() < 0.5
                await phone.sync()
            elif chance < 0.96:
                phone.close()
                phone.open()
            else:
                await self._change_members()

    async def _change_members(self):
        person, space = self.moments.choice(PEOPLE[1:]), self.moments.choice(SPACES)
        if self.moments.random() < 0.4:
            members = await self.fleet.harness.tenant.members.list(space)
            if any(member.person == person and member.role for member in members):
                await self.leave(person, space)
        else:
            await self.join(person, space, self.moments.choice(("member", "reader", "lead")))

    def clone(self, name, new_name):
        """Let another phone wake up with a copy of a phone's file."""
        phone = self.phones[name]
        clone = self.phones[new_name] = Phone(self, new_name, phone.person)
        phone.copy_to(clone.path)
        clone.open(came_from=f"clone:{name}")

    def keep_backup(self, name):
        self.phones[name].copy_to(self.folder / "backup.db")

    def restore_backup(self, name):
        phone = self.phones[name]
        phone.close()
        for suffix in ("", "-wal", "-shm"):
            phone.path.with_name(phone.path.name + suffix).unlink(missing_ok=True)
            kept = self.folder / f"backup.db{suffix}"
            if kept.exists():
                shutil.copy(kept, phone.path.with_name(phone.path.name + suffix))
        phone.open(came_from="backup")

    async def quiesce(self):
        """Let everybody sync until nothing moves, then tell the end."""
        for _ in range(3):
            for phone in self.phones.values():
                phone.is_cut = False
                await phone.sync()
        self.history.add({"e": "quiet", "t": self.now_ms()})
        for phone in self.phones.values():
            phone.recorder.final(phone.skerry)
        self.server.look(full=True)
        self.server.outcomes()
        for phone in self.phones.values():
            await phone.sync()
            phone.recorder.again(phone.skerry)

    async def close(self):
        self.server.close()
        for phone in self.phones.values():
            phone.skerry.store.close()
        await self.fleet.harness.close()


def _insert(phone, transaction):
    run = phone.run
    space = run.moments.choice(SPACES)
    which = run.moments.randrange(5)
    if which == 0:
        row = run.moments.choice(ITEMS)
        transaction.insert(run.collections["item"], space=space, id=f"{row}-{space}", title="new")
    elif which == 1:
        row = run.moments.choice(FOLDERS)
        name = run.moments.choice("abc")
        transaction.insert(run.collections["folder"], space=space, id=f"{row}-{space}", name=name)
    elif which == 2:
        folder = phone.any_row("folder", [f"{row}-{space}" for row in FOLDERS])
        run.number += 1
        transaction.insert(
            run.collections["task"], space=space, id=f"t{run.number}", folder=folder, text="do"
        )
    elif which == 3:
        transaction.insert(
            run.collections["draft"], space=space, id=f"draft-{space}-{run.moments.randrange(2)}"
        )
    else:
        run.number += 2
        for index in range(2):
            transaction.insert(
                run.collections["draft"], space=space, id=f"d{run.number + index}", text="pair"
            )


def _edit(phone, transaction):
    run = phone.run
    row = phone.any_row("item", [f"{row}-{space}" for row in ITEMS for space in SPACES])
    if row is None:
        _insert(phone, transaction)
        return
    names = run.moments.sample(list(EDITS), run.moments.choice((1, 1, 2, 4)))
    written = {name: EDITS[name](run.moments) for name in names}
    transaction.edit(run.collections["item"], row, **written)


def _edit_two(phone, transaction):
    """Write to two rows at once: they are seen together or not at all."""
    run = phone.run
    space = run.moments.choice(SPACES)
    rows = [r for r in ITEMS if phone.skerry.get(run.collections["item"], f"{r}-{space}")]
    for row in rows[:2]:
        transaction.edit(
            run.collections["item"],
            f"{row}-{space}",
            visits=Add(run.moments.randrange(1, 9)),
            title=str(run.moments.random()),
        )


def _delete(phone, transaction):
    run = phone.run
    name = run.moments.choice(("item", "folder", "draft"))
    rows = phone.skerry.rows(run.collections[name])
    if rows:
        transaction.delete(run.collections[name], run.moments.choice(rows).row_id)


def _restore(phone, transaction):
    row = phone.run.moments.choice(ITEMS)
    space = phone.run.moments.choice(SPACES)
    transaction.restore(phone.run.collections["item"], f"{row}-{space}")


def _move(phone, transaction):
    run = phone.run
    space = run.moments.choice(SPACES)
    ids = [f"{row}-{space}" for row in FOLDERS]
    row, parent = phone.any_row("folder", ids), phone.any_row("folder", ids)
    if row is not None:
        transaction.edit(
            run.collections["folder"], row, parent=parent, name=run.moments.choice("abcd")
        )


def _revive(phone, transaction):
    run = phone.run
    rows = phone.skerry.rows(run.collections["draft"])
    if rows:
        row = run.moments.choice(rows).row_id
        transaction.edit(run.collections["draft"], row, text=str(run.moments.random()))


WRITES = (
    _insert,
    _insert,
    _edit,
    _edit,
    _edit,
    _edit,
    _edit_two,
    _delete,
    _restore,
    _move,
    _revive,
)
EDITS = {
    "title": lambda moments: f"title {moments.randrange(100)}",
    "price": lambda moments: moments.choice((1.0, 2.5)),
    "done": lambda moments: moments.random() < 0.5,
    "place": lambda moments: {"lat": moments.random(), "lon": 1.0},
    "origin": lambda moments: f"origin {moments.randrange(100)}",
    "best": lambda moments: moments.randrange(1_000),
    "worst": lambda moments: moments.uniform(-9, 9),
    "status": lambda moments: moments.choice(("draft", "sent", Reopen("draft"))),
    "tags": lambda moments: moments.choice((AddElements, AddElements, RemoveElements))(
        moments.choice("xyz")
    ),
    "starred": lambda moments: moments.choice((On(), Off())),
    "remarks": lambda moments: Resolve(f"remark {moments.randrange(100)}"),
    "labels": lambda moments: moments.choice((Put(a=moments.randrange(9)), Put(b=1), Drop("a"))),
    "visits": lambda moments: moments.choice((Add(1), Add(3), Add(-2), Reset())),
    "stock": lambda moments: moments.choice((Add(3), Use(1), Use(2), Lease(2))),
    "order": lambda moments: {"parent": "p", "index": moments.choice("ABV")},
    "log": lambda moments: Append(f"entry {moments.randrange(1_000)}"),
    "photo": lambda moments: {
        "sha256": f"{moments.getrandbits(256):064x}",
        "size": 1,
        "type": "a/b",
    },
    "note": lambda moments: moments.choice(("one", "two", "fail", "three")),
    "secret": lambda moments: f"secret {moments.randrange(100)}",
}


async def recorded(folder, *, seed, turns=300, mishaps=True, is_forced=False):
    """Return the events of one run; `is_forced`: the primary is lost in the middle."""
    run = Run(folder, seed)
    await run.open()
    try:
        if mishaps:
            await run.work(turns // 3)
            run.keep_backup("bob")
            await run.work(turns // 3)
            run.clone("cid", "eve")
            await run.work(turns // 6)
            run.restore_backup("bob")
            await run.work(turns // 6)
        elif is_forced:
            await run.work(turns // 2)
            await run.copy()
            await run.work(turns // 4)
            await run.take_over()
            await run.work(turns // 4)
        else:
            await run.work(turns)
        await run.quiesce()
    finally:
        await run.close()
    return run.history.events
