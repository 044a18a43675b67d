"""Retention: a phone keeps what it wrote until its commit outlives the primary (Q3)."""

# pyright: reportPrivateUsage=false

import sqlite3

import msgspec
import pytest

from skerry_client import Add, Skerry
from skerry_client.link import LinkLost
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.welcome import Welcome
from tests.clients.python.links import check
from tests.clients.python.node_link import Fleet
from tests.clients.python.survey import (
    NORTH,
    SOUTH,
    Airfield,
    Note,
    database,
    entropy,
    seen,
    survey,
)


class World:
    """A node that can be set back, and phones of people who are in its one space."""

    def __init__(self, folder):
        self.folder = folder
        self.app = survey()
        self.fleet = Fleet(folder, self.app)
        self.phones = {}

    def phone(self, name):
        path = database(self.folder, name)
        phone = Skerry(
            path, self.app, now_unix_ms=self.fleet.harness.clock, entropy=entropy(len(self.phones))
        )
        self.phones[name] = phone
        return phone

    async def join(self, *people):
        for person in people:
            await self.fleet.harness.tenant.members.set(NORTH, "region", person, "member")

    async def sync(self, phone, **options):
        (name,) = [name for name, each in self.phones.items() if each is phone]
        ending = await self.fleet.sync(phone.store, name, **options)
        check(database(self.folder, name), self.app)
        return ending

    async def visits(self, row):
        found = await self.fleet.harness.rows()
        return Airfield.visits.value(found["airfield", row].fields.get("visits"))


@pytest.fixture
async def world(tmp_path):
    world = World(tmp_path)
    await world.fleet.open()
    await world.join("ann", "bob")
    yield world
    for phone in world.phones.values():
        phone.store.close()
    await world.fleet.harness.close()


def queue_of(world, name="ann"):
    connection = sqlite3.connect(database(world.folder, name))
    found = connection.execute(
        "SELECT counter, outcome, settled FROM _mutation_queue WHERE device = 0 ORDER BY counter"
    ).fetchall()
    connection.close()
    return found


def cut(message):
    if isinstance(message, Push):
        raise LinkLost("tunnel")


async def test_a_node_by_itself_lets_everything_go_at_once(world):
    ann = world.phone("ann")
    for number in range(20):
        ann.insert(Note, space=NORTH, text=str(number))
        await world.sync(ann)
    assert queue_of(world) == []


async def test_what_is_not_replicated_is_kept_and_shows_nowhere(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    ann.edit(Airfield, row, visits=Add(2))
    assert (await world.sync(ann)).why == "live"
    assert queue_of(world) == [(1, "merged", 1), (2, "merged", 1)]
    assert (ann.pending(), ann.store.waiting_count(), ann.store.unconfirmed()) == ([], 0, 0)
    assert seen(ann, Airfield, row).visits == 3
    assert ann.query("SELECT _pending AS p FROM airfield")[0]["p"] == 0
    pushes = []
    await world.sync(ann, trouble=lambda message: pushes.append(type(message)))
    assert Push not in pushes, "what is retained is not sent again and again"
    ann.edit(Airfield, row, visits=Add(4))
    await world.sync(ann)
    assert seen(ann, Airfield, row).visits == await world.visits(row) == 7


async def test_it_goes_as_far_as_it_is_replicated(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    safe = ann.store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(1))
    await world.sync(ann)
    ann.store.note_replicated(safe)
    assert queue_of(world) == [(2, "merged", 1)]
    ann.store.note_replicated(safe - 1)
    assert ann.store._meta.replicated == safe, "it never becomes less"
    world.fleet.standing.safe = safe + 1
    await world.sync(ann)
    assert queue_of(world) == []


async def test_news_of_a_stream_let_it_go(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    ann.insert(Note, space=NORTH)
    await world.sync(ann)
    cursor = ann.store.cursor.sequence
    ann.store.poke(Poke(cursor, cursor + 1, replicated=cursor - 1))
    assert len(queue_of(world)) == 1
    ann.store.poke(Poke(cursor + 1, cursor + 2, replicated=cursor))
    assert queue_of(world) == []


@pytest.mark.parametrize("is_read", [True, False])
async def test_what_a_lost_primary_had_merged_is_sent_again(world, is_read):
    """The database goes back behind receipts that a phone holds; nothing is lost or doubled."""
    ann, bob = world.phone("ann"), world.phone("bob")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.fleet.copy()
    world.fleet.standing.safe = ann.store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(2))
    lost = ann.insert(Note, space=NORTH, text="lost")

    def unread(message):
        if isinstance(message, Pull) and not is_read:
            raise LinkLost("tunnel")

    await world.sync(ann, trouble=unread)
    assert [outcome for _, outcome, _ in queue_of(world)] == ["merged"] * 2
    ann.edit(Airfield, row, visits=Add(4))
    await world.fleet.take_over()
    assert await world.visits(row) == 1

    await world.sync(ann, trouble=cut)
    assert seen(ann, Airfield, row).visits == 7, "waiting again, and not counted twice"
    assert len(ann.pending()) == 3
    await world.sync(ann, trouble=unread)
    assert seen(ann, Airfield, row).visits == 7
    assert (await world.sync(ann)).why == "live"
    assert await world.visits(row) == seen(ann, Airfield, row).visits == 7
    assert seen(ann, Note, lost).text == "lost"
    assert (ann.pending(), ann.rejected()) == ([], [])
    await world.sync(bob)
    assert bob.digests() == ann.digests()
    world.fleet.standing.safe = None
    await world.sync(ann)
    assert queue_of(world) == []


async def test_a_refusal_in_between_costs_what_was_merged_nothing(world):
    """The refused one keeps its place: it is sent again, judged again, and leaves no gap."""
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.fleet.copy()
    world.fleet.standing.safe = ann.store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(2))
    ann.insert(Note, space=SOUTH, text="not hers")
    ann.edit(Airfield, row, visits=Add(4))
    await world.sync(ann)
    assert len(ann.rejected()) == 1
    await world.fleet.take_over()
    ann.edit(Airfield, row, visits=Add(8))
    await world.sync(ann)
    assert await world.visits(row) == seen(ann, Airfield, row).visits == 15
    assert (ann.pending(), len(ann.rejected())) == ([], 1)


async def test_a_primary_that_was_replaced_costs_nobody_the_number(world):
    """It misses what the new one has judged and the phone has dropped: that would be a gap (S8)."""
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.fleet.copy()
    await world.fleet.take_over()
    ann.edit(Airfield, row, visits=Add(2))
    await world.sync(ann)
    world.fleet.standing.safe = ann.store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(4))
    await world.sync(ann)
    assert [counter for counter, _, _ in queue_of(world)] == [3], "one is dropped, one retained"
    before = (ann.store.device, ann.store.installation, ann.store.cursor, queue_of(world))
    await world.fleet.turn_back()
    for _ in range(2):
        assert (await world.sync(ann)).why == "lost"
    store = ann.store
    assert (store.device, store.installation, store.cursor, queue_of(world)) == before
    assert await world.visits(row) == 1


async def test_a_phone_that_the_new_primary_has_never_heard_of(world):
    """Its number is another one's now; its queue begins again, dots included."""
    bob = world.phone("bob")
    base = bob.insert(Airfield, space=NORTH, visits=Add(1), tags={"kept"})
    await world.sync(bob)
    await world.fleet.copy()
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    await world.sync(ann)
    ann.edit(Airfield, base, visits=Add(2), tags={"kept", "mine"})
    await world.sync(ann)
    ann.edit(Airfield, base, tags={"kept"})
    ann.edit(Airfield, base, visits=Add(4))
    await world.sync(ann)
    number, installation = ann.store.device, ann.store.installation
    await world.fleet.take_over()
    carol = world.phone("carol")
    await world.join("carol")
    await world.sync(carol)
    assert carol.store.device == number, "the number was given again"
    carol.edit(Airfield, base, tags={"kept", "hers"})
    await world.sync(carol)
    await world.sync(ann, trouble=cut)
    assert seen(ann, Airfield, base).visits == 7, "its rows are still those that hold it"
    assert (await world.sync(ann)).why == "live"
    assert ann.store.device not in {0, number}
    assert ann.store.installation == installation
    assert await world.visits(base) == 7
    for phone in (ann, carol, bob):
        await world.sync(phone)
        assert seen(phone, Airfield, base).visits == 7
        assert seen(phone, Airfield, base).tags == {"kept", "hers"}
        assert phone.pending() == []


async def test_another_person_on_the_same_phone_sends_nothing_twice(world):
    """The number changes, the database does not: what is merged stays merged."""
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    ann.edit(Airfield, row, visits=Add(2))
    assert (await world.fleet.sync(ann.store, "bob")).why == "live"
    check(database(world.folder, "ann"), world.app)
    assert await world.visits(row) == seen(ann, Airfield, row).visits == 3
    assert ann.pending() == []


async def test_rows_that_are_read_anew_hold_what_is_retained(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    ann.store.reset()
    check(database(world.folder, "ann"), world.app)
    assert seen(ann, Airfield, row).visits == 1, "folded again while no row holds it"
    await world.sync(ann)
    assert seen(ann, Airfield, row).visits == 1
    assert queue_of(world) == [(1, "merged", 1)]
    ann.store.reset_read()
    await world.sync(ann)
    assert seen(ann, Airfield, row).visits == 1


async def test_rows_of_a_lost_database_hide_nothing_while_all_is_read_anew(world):
    """Without a cursor nothing but the welcome tells that the rows are another database's."""
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    for _ in range(2):
        await world.sync(ann)
        ann.edit(Airfield, row, visits=Add(1))
    await world.sync(ann)
    ann.store.reset_read()
    ann.edit(Airfield, row, visits=Add(4))
    counter = ann.store.counter
    ann.store.greet(Welcome(1, ann.store.device, "restored", 1, 1, "", 0, "reset", counter - 1))
    ann.store.record_receipts([(counter, counter, 1)], [])
    check(database(world.folder, "ann"), world.app)
    assert seen(ann, Airfield, row).visits == 7
    await world.sync(ann)


@pytest.mark.parametrize("is_read_anew", [False, True])
async def test_outcomes_of_a_database_not_read_yet_are_shown_until_it_is(world, is_read_anew):
    """A node that was behind has greeted the phone: nothing tells how both databases compare."""
    ann = world.phone("ann")
    store = ann.store
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    for _ in range(2):
        await world.sync(ann)
        ann.edit(Airfield, row, visits=Add(1))
    await world.sync(ann)
    database_read, safe = store._meta.database, store._meta.replicated
    ann.edit(Airfield, row, visits=Add(4))
    counter = store.counter
    welcome = Welcome(1, store.device, "restored", 1, 1, "", 0, "current", 0, stale=True)
    store.greet(welcome)
    if is_read_anew:
        store.reset_read()
    told = Pushed(counter, 2, merged=[(counter, counter, 2)], database="restored", replicated=99)
    store.record(told)
    store.record(Pushed(counter, 2))  # an answer without any final outcome
    store.note_replicated(99)
    check(database(world.folder, "ann"), world.app)
    assert seen(ann, Airfield, row).visits == 7, "no row that is held has it"
    assert (store._meta.database, store._meta.replicated) == (database_read, safe)
    page = Page(Cursor("restored", 2), more=False, checkpoint=Checkpoint(2, {}), reset=True)
    store.finish(msgspec.structs.replace(page, merged_through=counter, replicated=2))
    assert queue_of(world) == []
    assert ann.get(Airfield, row) is None, "by now its rows tell of all"


@pytest.mark.parametrize("by", [Welcome, Pushed])
async def test_the_database_that_was_read_takes_what_another_has_judged(world, by):
    """A primary that was replaced had merged it, and the phone goes on with the other one."""
    ann = world.phone("ann")
    store = ann.store
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    known, read = store._meta.database, store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(4))
    welcome = Welcome(1, store.device, "other", 1, 1, "", 0, "current", 0, stale=True)
    store.greet(welcome)
    store.record(Pushed(2, 1, merged=[(2, 2, 1)], database="other"))
    if by is Welcome:
        store.greet(msgspec.structs.replace(welcome, database=known, merged_through=1, stale=False))
        assert [entry.counter for entry in store.waiting()] == [2]
    store.record(Pushed(2, read + 1, merged=[(2, 2, read + 1)], database=known))
    store.finish(
        Page(
            Cursor(known, read + 1), more=False, checkpoint=Checkpoint(read + 1, {}),
            merged_through=2, replicated=read + 1,
        )
    )  # fmt: skip
    assert queue_of(world) == []


async def test_a_stale_welcome_lets_nothing_wait_again(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.fleet.copy()
    ann.edit(Airfield, row, visits=Add(2))
    await world.sync(ann)
    await world.fleet.take_over()  # A replica that is behind has the primary's own name.
    await world.fleet.harness.tenant.database.write(
        lambda unit: unit.meta.set("database", "database-1")
    )
    world.fleet.standing._is_replica = True
    ending = await world.sync(ann)
    assert ending.why == "lost", "a node behind what the phone has read is not waited for for ever"
    assert (seen(ann, Airfield, row).visits, ann.pending()) == (3, [])


async def test_rows_of_a_database_that_lacks_what_another_had_judged_let_it_wait_again(world):
    """The node that greets had led itself, and has not heard yet of what the one before it lost."""
    world.fleet.standing.safe = 0
    ann, bob = world.phone("ann"), world.phone("bob")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.sync(bob)
    await world.fleet.copy()
    ann.edit(Airfield, row, visits=Add(2))
    await world.sync(ann)
    await world.fleet.take_over()
    for _ in range(3):
        bob.edit(Airfield, row, visits=Add(4))
    await world.sync(bob)
    world.fleet.standing._is_replica = True  # one that is behind what the phone has had judged
    greeted = []

    def unpushed(message):
        greeted.append(message)
        if isinstance(message, Push):
            raise LinkLost("tunnel")

    await world.sync(ann, trouble=unpushed)
    assert ann.store.cursor.database == "database-2"
    assert not any(isinstance(message, Push) for message in greeted), "nothing seemed to wait"
    assert seen(ann, Airfield, row).visits == 15
    assert [entry.counter for entry in ann.store.waiting()] == [2]
    world.fleet.standing._is_replica = False
    await world.sync(ann)
    assert (await world.visits(row), ann.pending()) == (15, [])


async def test_a_node_behind_lets_nothing_wait_again_that_its_database_is_known_to_have_judged(
    world,
):
    """The primary has answered a push, and an edge that has not read so far gives the rows."""
    ann = world.phone("ann")
    store = ann.store
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    world.fleet.standing.safe = 0
    for delta in (2, 4, 8):
        ann.edit(Airfield, row, visits=Add(delta))
    welcome = Welcome(1, store.device, "next", 9, 1, "", 0, "reset", 1, replaced=["database-1"])
    store.greet(welcome)
    refused = Receipt(3, "rejected", 12, code="no")
    told = Pushed(4, 12, merged=[(2, 2, 10), (4, 4, 11)], receipts=[refused], database="next")
    store.record(told)
    page = Page(Cursor("next", 9), more=False, checkpoint=Checkpoint(9, {}), merged_through=1)
    store.finish(msgspec.structs.replace(page, stale=True))
    assert store.waiting() == []
    assert seen(ann, Airfield, row).visits == 1 + 2 + 8
    assert [entry[:2] for entry in queue_of(world)] == [
        (2, "merged"),
        (3, "rejected"),
        (4, "merged"),
    ]
    store.finish(msgspec.structs.replace(page, cursor=Cursor("later", 9)))
    assert [entry.counter for entry in store.waiting()] == [2, 3, 4], "another one has not"


async def test_who_numbered_a_phone_is_known_from_the_last_welcome_that_counts(world):
    store = world.phone("ann").store
    assert store.standing.numbered == ("", 0)
    welcome = Welcome(1, 7, "a", 30, 1, "", 0, "reset")
    store.greet(welcome)
    assert store.standing.numbered == ("a", 7)
    store.greet(msgspec.structs.replace(welcome, device=8, database="restored"))
    assert store.standing.numbered == ("restored", 8)
    store.greet(msgspec.structs.replace(welcome, device=8, database="earlier", stale=True))
    assert store.standing.numbered == ("restored", 8)


async def test_a_stale_welcome_of_an_earlier_database_says_nothing_of_what_is_replicated(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    known = ann.store._meta.database
    earlier = Welcome(1, ann.store.device, "earlier", 90, 1, "", 0, "current", replicated=90)
    ann.store.greet(msgspec.structs.replace(earlier, stale=True))
    assert (ann.store._meta.database, ann.store._meta.replicated) == (known, 0)
    ann.store.greet(earlier)
    assert (ann.store._meta.database, ann.store._meta.replicated) == ("earlier", 90)


async def test_who_was_replaced_is_known_by_the_last_welcome_and_by_pages_that_go_on(world):
    store = world.phone("ann").store
    welcome = Welcome(1, 7, "b", 30, 1, "", 0, "reset", replaced=["a"])
    store.greet(welcome)
    assert store.standing.replaced == {"a"}
    store.greet(msgspec.structs.replace(welcome, database="a", replaced=[], stale=True))
    assert store.standing.replaced == {"a"}, "a node that is behind says nothing of it"
    page = Page(Cursor("b", 30), more=False, checkpoint=Checkpoint(30, {}), reset=True)
    store.finish(page)
    assert store.standing.replaced == {"a"}
    onward = msgspec.structs.replace(page, cursor=Cursor("c", 31), reset=False)
    store.finish(onward)
    assert store.standing.replaced == {"a", "b"}, "its cursor was good there"
    store.finish(msgspec.structs.replace(page, cursor=Cursor("d", 31)))
    assert store.standing.replaced == {"a", "b"}, "begun anew, which tells nothing of b"
    store.stage(msgspec.structs.replace(page, cursor=Cursor("e", 20), more=True, checkpoint=None))
    store.finish(msgspec.structs.replace(onward, cursor=Cursor("e", 31)))
    assert store.standing.replaced == {"a", "b"}, "so does a round whose first page was staged"
    store.greet(Welcome(1, 7, "f", 31, 1, "", 0, "reset"))
    assert store.standing.replaced == set(), "a restored database does not know them"


@pytest.mark.parametrize("later", [Welcome, Page])
async def test_a_receipt_of_another_primary_frees_nothing(world, later):
    """An answer to a push may name no database: the phone has said hello to another one."""
    store = world.phone("ann").store
    store.greet(Welcome(1, 7, "a", 300, 1, "", 0, "replay", replicated=300))
    read = Page(Cursor("a", 300), more=False, checkpoint=Checkpoint(300, {}), replicated=300)
    store.finish(read)
    world.phones["ann"].insert(Airfield, space=NORTH, visits=Add(1))
    store.record(Pushed(1, 170, merged=[(1, 1, 170)]))
    if later is Page:
        store.finish(msgspec.structs.replace(read, cursor=Cursor("a", 301), replicated=301))
    store.greet(Welcome(1, 7, "a", 302, 1, "", 0, "replay", replicated=302))
    assert [entry.counter for entry in store.waiting()] == [1], "it has not come to `a`"
    store.record(Pushed(1, 302, merged=[(1, 1, 302)], replicated=303))
    last = Page(Cursor("a", 303), more=False, checkpoint=Checkpoint(303, {}), merged_through=1)
    store.finish(last)
    assert store.batch(after=0, mutations_max=9, bytes_max=9_999) == []
    (count,) = store._connection.execute("SELECT count(*) FROM _mutation_queue").fetchone()
    assert count == 0, "now its own database has told of it"


async def test_what_the_new_primary_merges_shows_until_its_rows_are_read(world):
    """Rows of the lost database may have higher sequences than the receipts of the new one."""
    ann, bob = world.phone("ann"), world.phone("bob")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    await world.sync(bob)
    await world.fleet.copy()
    world.fleet.standing.safe = ann.store.cursor.sequence
    for _ in range(3):
        bob.edit(Airfield, row, visits=Add(2))
    await world.sync(bob)
    await world.sync(ann)
    await world.fleet.take_over()
    ann.edit(Airfield, row, visits=Add(8), name="mine")

    def unread(message):
        if isinstance(message, Pull):
            raise LinkLost("tunnel")

    await world.sync(ann, trouble=unread)
    assert ann.pending() == [], "the new primary has merged it"
    assert (seen(ann, Airfield, row).visits, seen(ann, Airfield, row).name) == (15, "mine")
    await world.sync(bob)
    await world.sync(ann)
    assert (seen(ann, Airfield, row).visits, seen(ann, Airfield, row).name) == (15, "mine")
    assert await world.visits(row) == 15


@pytest.mark.parametrize("is_behind", [False, True])
async def test_what_was_judged_under_an_earlier_number_goes_with_the_lost_database(
    world, is_behind
):
    """A copied phone renews itself, then a backup is restored: those receipts' rows never come."""
    ann = world.phone("ann")
    store = ann.store
    store.greet(Welcome(1, 7, "lost", 40, 1, "", 0, "replay", replicated=40))
    store.finish(Page(Cursor("lost", 40), more=False, checkpoint=Checkpoint(40, {})))
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    store.record(Pushed(1, 98, merged=[(1, 1, 98)]))
    store.become_new()
    assert ann.get(Airfield, row) is not None, "its rows are still to come"
    welcome = Welcome(1, 9, "restored", 12, 1, "", 0, "replay")
    page = Page(Cursor("restored", 12), more=False, checkpoint=Checkpoint(12, {}), reset=True)
    if is_behind:
        store.greet(msgspec.structs.replace(welcome, stale=True))
        store.finish(msgspec.structs.replace(page, cursor=Cursor("restored", 11)))
        assert ann.get(Airfield, row) is not None, "a node that is behind proves nothing"
    store.greet(welcome)
    assert ann.get(Airfield, row) is not None
    store.finish(page)
    (count,) = store._connection.execute("SELECT count(*) FROM _mutation_queue").fetchone()
    assert count == 0
    assert ann.get(Airfield, row) is None


async def test_what_is_retained_is_sent_to_a_database_that_has_nothing_before_it(world):
    world.fleet.standing.safe = 0
    ann = world.phone("ann")
    ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)

    def counters(**options):
        batch = ann.store.batch(after=0, mutations_max=9, bytes_max=9_999, **options)
        return [entry.counter for entry in batch]

    assert (counters(), counters(is_gap=True)) == ([], [1])


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(("other", 0), [(1, "", 1)]), (("other", 2), []), (("same", 0), []), ((), [])],
)
async def test_what_is_retained_goes_along_where_what_came_before_it_is_lost(world, lost, expected):
    """Its first write was replicated and dropped; another database has neither of the two."""
    ann = world.phone("ann")
    row = ann.insert(Airfield, space=NORTH, visits=Add(1))
    await world.sync(ann)
    world.fleet.standing.safe = ann.store.cursor.sequence
    ann.edit(Airfield, row, visits=Add(2))
    await world.sync(ann)
    assert queue_of(world) == [(2, "merged", 1)]
    database_id = ann.store.cursor.database
    ann.store.become_new(*(database_id if part == "same" else part for part in lost))
    check(database(world.folder, "ann"), world.app)
    assert queue_of(world) == expected
    assert seen(ann, Airfield, row).visits == 3, "the rows hold both"


async def test_how_far_rows_went_that_are_read_again_is_known_until_they_are(world):
    store = world.phone("ann").store
    assert store.standing.floor is None
    page = Page(Cursor("a", 30), more=False, checkpoint=Checkpoint(30, {}), reset=True)
    store.finish(page)
    assert store.standing.floor is None
    for _ in range(2):
        store.reset_read()
        assert (store.cursor, store.standing.floor) == (None, Cursor("a", 30))
    store.finish(msgspec.structs.replace(page, cursor=Cursor("a", 31)))
    assert store.standing.floor is None
