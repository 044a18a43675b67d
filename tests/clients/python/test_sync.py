"""The sync loop against the fake server: convergence, losses, duplicates, refusals, resets."""

import msgspec
import pytest

from skerry_client import Add, Skerry
from skerry_client.link import LinkLost
from skerry_client.store.confirmed import Confirmed
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.mutations import UNKNOWN_HASH, payload_hash
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import check, sync
from tests.clients.python.survey import (
    NORTH,
    SOUTH,
    Airfield,
    Clock,
    Note,
    database,
    entropy,
    survey,
)  # fmt: skip


class World:
    """Phones in one folder, and the server they share."""

    def __init__(self, folder):
        self.folder = folder
        self.app = survey()
        self.server = FakeServer(self.app, [NORTH, SOUTH])
        self.phones = {}

    def phone(self, name, copy_of=None):
        path = database(self.folder, name)
        number = len(self.phones)
        phone = Skerry(
            path, self.app, now_unix_ms=Clock(1_780_000_000_000 + number), entropy=entropy(number)
        )
        self.phones[path] = phone
        return phone

    def sync(self, phone, **options):
        ending = sync(phone.store, self.server, **options)
        self.check()
        return ending

    def check(self):
        for path in self.phones:
            check(path, self.app)

    def is_equal(self, phone):
        theirs = {space: self.server.digest(space).hex() for space in self.server.spaces}
        mine = {space: phone.digests().get(space, "0" * 32) for space in theirs}
        return mine == theirs


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    for phone in world.phones.values():
        phone.store.close()


def test_two_phones_converge(world):
    a, b = world.phone("a"), world.phone("b")
    row = a.insert(Airfield, space=NORTH, name="one", visits=Add(1), tags={"x"})
    assert world.sync(a).why == "live"
    assert a.pending() == []
    assert world.sync(b).why == "live"
    assert b.get(Airfield, row).name == "one"
    b.edit(Airfield, row, visits=Add(2), tags={"y"})
    a.edit(Airfield, row, visits=Add(4), tags={"x", "z"})
    for phone in (a, b, a):
        world.sync(phone)
    assert a.get(Airfield, row).visits == b.get(Airfield, row).visits == 7
    assert a.get(Airfield, row).tags == b.get(Airfield, row).tags == {"y", "z"}
    assert world.is_equal(a)
    assert world.is_equal(b)
    assert a.spaces() == {NORTH: ("region", "member"), SOUTH: ("region", "member")}


def test_a_round_that_is_cut_goes_on_behind_its_staged_pages(world):
    a, b = world.phone("a"), world.phone("b")
    for number in range(25):
        a.insert(Note, space=NORTH, text=str(number))
    world.sync(a)
    pulls = []

    def trouble(message, when):
        if isinstance(message, Pull) and when == "before":
            pulls.append(message.cursor and message.cursor.backfill)
            if len(pulls) == 3:
                raise LinkLost("tunnel")

    assert world.sync(b, trouble=trouble, rows_max=10).why == "lost"
    assert b.rows(Note) == []
    b.store.close()
    b = world.phone("b")
    assert world.sync(b, trouble=trouble, rows_max=10).why == "live"
    assert len(b.rows(Note)) == 25
    assert [after.after for after in pulls[1:]] == [10, 20, 20]
    assert world.is_equal(b)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [Push, Pull])
def test_a_lost_answer_costs_a_repetition_and_nothing_else(world, kind, when):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    left = [2]

    def trouble(message, moment):
        if isinstance(message, kind) and moment == when and left[0]:
            left[0] -= 1
            raise LinkLost("tunnel")

    for expected in ("lost", "lost", "live"):
        a.edit(Airfield, row, visits=Add(1))
        assert world.sync(a, trouble=trouble).why == expected
    assert a.get(Airfield, row).visits == 4
    assert world.server.rows["airfield", row].fields["visits"] == [0, 4]
    assert world.is_equal(a)


def test_a_receipt_before_its_rows_does_not_count_twice(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))

    def trouble(message, when):
        if isinstance(message, Pull):
            raise LinkLost("tunnel")

    world.sync(a, trouble=trouble)
    assert a.pending() == []
    assert a.get(Airfield, row).visits == 1
    world.sync(a)
    assert a.get(Airfield, row).visits == 1


def test_rows_before_their_receipt_do_not_count_twice(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    world.sync(a)
    a.edit(Airfield, row, visits=Add(2))
    entry = a.pending()[0]
    server = world.server
    since = server.sequence
    answer = server.push(Push(2, entry.h, 1, [msgspec.Raw(entry.payload)]))
    spaces = server.encoded([(server.sequence, "airfield", server.rows["airfield", row])])
    poke = Poke(since, server.sequence, spaces=spaces, digests={NORTH: server.digest(NORTH)},
                merged_through=2)  # fmt: skip
    assert a.store.poke(poke).mismatched == ()
    world.check()
    assert a.get(Airfield, row).visits == 3
    a.store.record(answer)
    world.check()
    assert a.get(Airfield, row).visits == 3
    assert a.store.unconfirmed() == 0


def test_a_refused_mutation_shows_both_values_and_can_be_tried_again(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, name="good")
    world.sync(a)
    world.server.rejects = lambda c: "bad-name" if c.fields.get("name") == "bad" else None
    a.edit(Airfield, row, name="bad", visits=Add(1))
    a.edit(Airfield, row, order=5)
    world.sync(a)
    assert (a.get(Airfield, row).name, a.get(Airfield, row).order) == ("good", 5)
    (refused,) = a.rejected()
    assert (refused.code, refused.counter, refused.fields) == ("bad-name", 2, ("name",))
    assert refused.changes[0].wanted.fields["name"] == "bad"
    assert refused.changes[0].confirmed == {"name": "good", "visits": 0}
    world.server.rejects = lambda _c: None
    a.restore_rejected(2)
    assert a.rejected() == []
    assert a.get(Airfield, row).name == "bad"
    world.sync(a)
    assert a.get(Airfield, row).visits == 1
    assert world.is_equal(a)


def test_a_refused_insert_disappears(world):
    a = world.phone("a")
    world.server.rejects = lambda _c: "no"
    row = a.insert(Airfield, space=NORTH, name="x")
    a.edit(Airfield, row, order=1)
    world.sync(a)
    assert a.get(Airfield, row) is None
    assert a.query("SELECT count(*) AS n FROM airfield")[0]["n"] == 0
    assert len(a.rejected()) == 2


def test_deletes_travel_and_collected_tombstones_go(world):
    a, b = world.phone("a"), world.phone("b")
    row = a.insert(Note, space=NORTH, text="x")
    world.sync(a)
    world.sync(b)
    a.delete(Note, row)
    world.sync(a)
    world.sync(b)
    assert b.get(Note, row) is None
    assert b.query("SELECT count(*) AS n FROM note")[0]["n"] == 1
    world.server.horizon = world.server.sequence
    del world.server.rows["note", row]
    world.sync(b)
    assert b.query("SELECT count(*) AS n FROM note")[0]["n"] == 0
    assert world.is_equal(b)


def test_a_lost_space_is_purged_and_its_mutations_are_judged_by_the_server(world):
    a = world.phone("a")
    north = a.insert(Note, space=NORTH, text="north")
    south = a.insert(Note, space=SOUTH, text="south")
    world.sync(a)
    del world.server.spaces[SOUTH]
    world.server.sequence += 1
    world.server.lost[SOUTH] = world.server.sequence
    a.edit(Note, south, text="late")
    world.sync(a)
    assert a.get(Note, south) is None
    assert a.get(Note, north).text == "north"
    assert [refused.code for refused in a.rejected()] == ["row-missing"]
    assert a.spaces().keys() == {NORTH}
    world.server.sequence += 1
    world.server.spaces[SOUTH] = world.server.sequence
    del world.server.lost[SOUTH]
    world.sync(a)
    assert a.get(Note, south).text == "south"
    assert world.is_equal(a)


def test_a_reset_keeps_the_queue(world):
    a = world.phone("a")
    row = a.insert(Note, space=NORTH, text="x")
    world.sync(a)
    a.store.reset()
    world.check()
    assert a.get(Note, row) is None
    world.sync(a)
    assert a.get(Note, row).text == "x"
    a.edit(Note, row, text="pending")
    gone = a.insert(Note, space=NORTH, text="gone")
    world.sync(a)
    a.edit(Note, row, text="pending")
    world.server.database = "another"
    del world.server.rows["note", gone]
    world.sync(a)
    assert a.get(Note, gone) is None
    assert a.get(Note, row).text == "pending"
    assert world.is_equal(a)


def test_damage_is_found_and_repaired_bucket_by_bucket(world):
    a = world.phone("a")
    rows = [a.insert(Note, space=NORTH, text=str(number)) for number in range(40)]
    world.sync(a)
    connection = a.store._connection
    connection.execute("DELETE FROM note WHERE id = ?", (rows[3],))
    connection.execute("UPDATE _bucket SET digest = zeroblob(16) WHERE bucket = 3")
    asked = []
    a.edit(Note, rows[5], text="five")
    sync(a.store, world.server, trouble=lambda message, _when: asked.append(type(message).__name__))
    assert "Repair" in asked
    assert world.is_equal(a)
    world.sync(a)
    assert a.get(Note, rows[5]).text == "five"


def test_a_copied_phone_becomes_another_one(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, tags={"merged"})
    world.sync(a)
    a.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database(world.folder, "copy").write_bytes(database(world.folder, "a").read_bytes())
    copy = world.phone("copy")
    a.edit(Airfield, row, visits=Add(1))
    world.sync(a)
    copy.edit(Airfield, row, visits=Add(2), tags={"pending"})
    copy.edit(Airfield, row, tags={"last"})
    assert world.sync(copy).why == "live"
    assert copy.pending() == []
    assert copy.store.device != a.store.device
    world.sync(a)
    for phone in (a, copy):
        assert phone.get(Airfield, row).visits == 3
        assert phone.get(Airfield, row).tags == {"last"}
        assert world.is_equal(phone)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_no_fault_costs_a_mutation(world, kind):
    a = world.phone("a")
    a.insert(Note, space=NORTH, text="kept")
    answer = world.server.answer
    faults = [Fault(fault=kind, message="fault", retry_after_ms=0)] * 4

    def fail(message):
        return msgspec.structs.replace(faults.pop(), answers=message.__struct_config__.tag)

    for what in ("push", "pull", "hello"):
        world.server.answer = lambda m, what=what: (
            fail(m) if m.__struct_config__.tag == what and faults else answer(m)
        )
        for _ in range(3):
            world.sync(a)
        assert [row.text for row in a.rows(Note)] == ["kept"]
    world.server.answer = answer
    world.sync(a)
    assert a.pending() == []
    assert len(world.server.rows) == 1
    assert world.is_equal(a)


def test_a_healthy_phone_never_sums_its_rows_again(world, monkeypatch):
    monkeypatch.setattr(Confirmed, "sum_again", None)
    a, b = world.phone("a"), world.phone("b")
    row = a.insert(Note, space=NORTH, text="one")
    for phone in (a, b, a):
        world.sync(phone)
        phone.edit(Note, row, text="two")
        world.sync(phone)
    world.sync(b)
    assert world.is_equal(a)
    assert world.is_equal(b)


def test_a_round_without_receipts_does_not_count_twice(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))

    def lose_receipts(message, when):
        if isinstance(message, Push) and when == "after":
            raise LinkLost("tunnel")

    world.sync(a)
    a.edit(Airfield, row, visits=Add(2))
    world.sync(a, trouble=lose_receipts)
    server = world.server
    changed = [(server.sequence, "airfield", server.rows["airfield", row])]
    page = Page(
        cursor=Cursor("db", server.sequence),
        more=False,
        spaces=server.encoded(changed),
        merged_through=2,
        checkpoint=Checkpoint(server.sequence, {NORTH: server.digest(NORTH)}),
    )
    assert a.store.finish(page).mismatched == ()
    world.check()
    assert a.get(Airfield, row).visits == 3
    world.sync(a)
    assert a.get(Airfield, row).visits == 3
    assert a.pending() == []


def test_a_page_settles_nothing_that_a_copy_of_the_phone_may_have_sent(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    world.sync(a)
    a.edit(Airfield, row, visits=Add(2))
    page = Page(
        cursor=Cursor("db", world.server.sequence),
        more=False,
        merged_through=2,
        merged=[(2, 2, world.server.sequence)],
        checkpoint=Checkpoint(world.server.sequence, {}),
    )
    a.store.finish(page)
    assert len(a.pending()) == 1, "counter 2 of the server is not known to be this one"
    world.sync(a)
    assert a.pending() == []
    assert a.get(Airfield, row).visits == 3


def test_a_page_tells_a_copy_of_the_phone_by_its_hashes(world):
    """An edge has accepted 2, 3 and 4 of this phone; the primary has another 3 of its copy."""
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    world.sync(a)
    for number in (2, 3, 4):
        a.edit(Airfield, row, visits=Add(number))
    accepted = [Receipt(counter, "accepted", 0) for counter in (2, 3, 4)]
    a.store.record(Pushed(1, world.server.sequence, receipts=accepted))
    own = {entry.counter: payload_hash(entry.mutation) for entry in a.store._queue.waiting()}
    page = Page(
        cursor=Cursor("db", world.server.sequence),
        more=False,
        merged_through=4,
        merged=[(2, 3, world.server.sequence)],
        receipts=[Receipt(4, "rejected", world.server.sequence, code="no")],
        hashes=UNKNOWN_HASH + bytes(range(8)) + own[4],
        checkpoint=Checkpoint(world.server.sequence, {}),
    )
    a.store.finish(page)
    assert [each.counter for each in a.pending()] == [3, 4], "2 is believed: it is forgotten"
    assert a.rejected() == []
    assert a.get(Airfield, row).visits == 1 + 3 + 4
    a.store.finish(msgspec.structs.replace(page, hashes=UNKNOWN_HASH + own[3] + own[4]))
    assert a.pending() == []
    assert [each.counter for each in a.rejected()] == [4]


@pytest.mark.parametrize(("merged_through", "shown"), [(2, 1), (3, 3)])
@pytest.mark.parametrize("is_poke", [True, False])
def test_rows_hold_nothing_of_a_phone_whose_copy_has_come_further(
    world, merged_through, shown, is_poke
):
    """2 was written while the answer was on its way; the phone never had a 3."""
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    world.sync(a)
    a.edit(Airfield, row, visits=Add(2))
    here = world.server.sequence
    if is_poke:
        a.store.poke(Poke(here, here + 1, merged_through=merged_through))
    else:
        own = payload_hash(a.store._queue.waiting()[0].mutation)
        known = own if merged_through == 2 else bytes(range(8))
        checkpoint = Checkpoint(here, {})
        page = Page(
            Cursor("db", here), more=False, merged_through=merged_through, hashes=known,
            checkpoint=checkpoint,
        )  # fmt: skip
        a.store.finish(page)
    assert a.get(Airfield, row).visits == shown
    assert len(a.pending()) == 1


def test_a_receipt_of_a_lost_database_makes_way_for_one_that_counts(world):
    a = world.phone("a")
    row = a.insert(Airfield, space=NORTH, visits=Add(1))
    a.edit(Airfield, row, visits=Add(2))
    refused = Receipt(2, "rejected", 131, code="no")
    a.store.record(Pushed(2, 131, merged=[(1, 1, 130)], receipts=[refused]))
    assert [each.counter for each in a.rejected()] == [2]

    def told():
        which = "SELECT counter, outcome, sequence FROM _mutation_queue ORDER BY counter"
        return a.store._connection.execute(which).fetchall()

    a.store.record(Pushed(2, 75, merged=[(1, 2, 75)]))
    assert (told(), a.rejected()) == ([(1, "merged", 75), (2, "merged", 75)], [])
    a.store.record(Pushed(2, 90, merged=[(1, 2, 90)]))
    assert told() == [(1, "merged", 75), (2, "merged", 75)], "the same database tells it again"
    later = Receipt(2, "rejected", 70, code="no")
    a.store.record(Pushed(2, 70, merged=[(1, 1, 69)], receipts=[later]))
    assert told() == [(1, "merged", 69), (2, "rejected", 70)]
    assert [each.counter for each in a.rejected()] == [2]


def test_an_edit_wins_over_what_its_author_saw_whatever_its_clock_says(world):
    a, b = world.phone("a"), world.phone("b")
    row = a.insert(Note, space=NORTH, text="from the future")
    world.sync(a)
    world.sync(b)
    b._now_unix_ms.unix_ms -= 10**9
    b.edit(Note, row, text="seen and changed")
    assert b.get(Note, row).text == "seen and changed"
    world.sync(b)
    assert b.get(Note, row).text == "seen and changed"
