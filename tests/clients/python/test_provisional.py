"""Provisional mutations of other phones: shown, replaced as a set, never sent, never own."""

# pyright: reportPrivateUsage=false

import asyncio

import pytest

from skerry_client import Add, Skerry
from skerry_client.link import LinkLost
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.push import WireChange, WireMutation
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import FakeLink, check, driver_of, sync
from tests.clients.python.survey import (
    NORTH,
    Airfield,
    Clock,
    Note,
    database,
    entropy,
    seen,
    survey,
)  # fmt: skip

OTHER = 9


class World:
    def __init__(self, folder):
        self.path = database(folder)
        self.app = survey()
        self.server = FakeServer(self.app, [NORTH])
        self.phone = Skerry(self.path, self.app, now_unix_ms=Clock(), entropy=entropy())
        self.row = self.phone.insert(Airfield, space=NORTH, name="one", visits=Add(1), tags={"a"})
        self.sync()
        self.h = self.phone.store.clock(0) + 1_000

    def sync(self):
        assert sync(self.phone.store, self.server).why == "live"
        check(self.path, self.app)

    def show(self, *mutations):
        self.phone.store.show_provisional(list(mutations))
        check(self.path, self.app)

    def other(self, counter, *changes):
        return ProvisionalMutation(OTHER, counter, self.h + counter, list(changes))

    def edit(self, counter=1, row=None, **fields):
        return self.other(counter, WireChange("airfield", row or self.row, fields=fields))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.phone.store.close()


def test_it_shows_on_top_of_the_row_and_is_marked(world):
    phone = world.phone
    assert not phone.is_provisional(Airfield, world.row)
    world.show(world.edit(name="two", visits={"add": 5}))
    assert (seen(phone, Airfield, world.row).name, seen(phone, Airfield, world.row).visits) == (
        "two",
        6,
    )
    assert phone.is_provisional(Airfield, world.row)
    assert (phone.pending(), phone.store.waiting_count(), phone.store.unconfirmed()) == ([], 0, 0)
    assert phone.store.batch(after=0, mutations_max=10, bytes_max=10**6) == []


def test_a_set_replaces_the_one_before(world):
    phone = world.phone
    world.show(world.edit(1, visits={"add": 5}), world.edit(2, visits={"add": 7}))
    assert seen(phone, Airfield, world.row).visits == 13
    world.show(world.edit(2, visits={"add": 7}))
    assert seen(phone, Airfield, world.row).visits == 8
    world.show()
    assert seen(phone, Airfield, world.row).visits == 1
    assert not phone.is_provisional(Airfield, world.row)


def test_own_pending_mutations_come_after_it(world):
    phone = world.phone
    world.show(world.edit(name="theirs", is_open={"on": True}))
    phone.edit(Airfield, world.row, name="mine", visits=Add(2))
    check(world.path, world.app)
    assert seen(phone, Airfield, world.row).name == "mine", "it was written in sight of theirs"
    assert seen(phone, Airfield, world.row).visits == 3
    world.show()
    assert (seen(phone, Airfield, world.row).name, seen(phone, Airfield, world.row).is_open) == (
        "mine",
        False,
    )


def test_a_row_that_only_others_have_inserted(world):
    phone = world.phone
    insert = WireChange("note", "n1", "insert", space=NORTH, fields={"text": "theirs"})
    world.show(world.other(1, insert))
    assert seen(phone, Note, "n1").text == "theirs"
    assert phone.is_provisional(Note, "n1")
    phone.edit(Note, "n1", text="mine")
    world.show()
    assert phone.get(Note, "n1") is None, "nobody but the phone's own edit speaks of it"
    world.show(world.other(1, insert))
    assert seen(phone, Note, "n1").text == "mine"


def test_an_edit_of_a_row_that_comes_later_shows_then(world):
    phone = world.phone
    world.show(world.edit(row="late", visits={"add": 5}))
    assert phone.get(Airfield, "late") is None
    change = WireChange("airfield", "late", "insert", space=NORTH, fields={"visits": {"add": 1}})
    other = Skerry(world.path.with_name("b"), world.app, now_unix_ms=Clock(), entropy=entropy(1))
    sync(other.store, world.server)
    with other.transaction() as transaction:
        transaction.replay([change])
    sync(other.store, world.server)
    other.store.close()
    world.server.provisional = [world.edit(row="late", visits={"add": 5})]
    world.sync()
    assert seen(phone, Airfield, "late").visits == 6


def test_a_restore_of_a_row_that_comes_later_shows_nothing_until_a_space_is_known(world):
    phone = world.phone
    restored = world.other(2, WireChange("airfield", "later", "restore"))
    world.show(restored)
    assert phone.get(Airfield, "later") is None, "it would be in no space"
    insert = WireChange("airfield", "later", "insert", NORTH, {"name": "now"})
    world.show(world.other(1, insert), restored)
    assert seen(phone, Airfield, "later").name == "now"
    assert phone.store.view("airfield", "later").space == NORTH
    world.show(restored)
    assert phone.get(Airfield, "later") is None


def test_an_own_insert_places_a_row_that_others_have_only_edited(world):
    phone = world.phone
    world.show(world.edit(row="later", visits={"add": 5}))
    insert = WireChange("airfield", "later", "insert", NORTH, {"name": "mine"})
    with phone.transaction() as transaction:
        transaction.replay([insert])
    view = phone.store.view("airfield", "later")
    assert (view.space, view.is_alive) == (NORTH, True)
    assert (seen(phone, Airfield, "later").name, seen(phone, Airfield, "later").visits) == (
        "mine",
        5,
    )
    world.show()
    assert phone.store.view("airfield", "later").space == NORTH


def test_an_own_delete_stands_when_the_insert_of_another_is_shown_no_more(world):
    phone = world.phone
    world.show(world.other(1, WireChange("note", "n1", "insert", NORTH, {"text": "theirs"})))
    phone.delete(Note, "n1")
    deleted = phone.store.view("note", "n1").alive
    world.show()
    assert phone.store.view("note", "n1").alive == deleted
    assert not deleted[2]


def test_numbers_of_devices_do_not_leak_into_each_other(world):
    """A dot whose number is 0 is its author's: the phone's own dots are not meant."""
    phone = world.phone
    world.show(world.edit(1, tags={"add": ["b"]}), world.edit(2, tags={"remove": {"b": [[0, 1]]}}))
    assert seen(phone, Airfield, world.row).tags == {"a"}
    world.show(world.edit(2, tags={"remove": {"a": [[0, 1]]}}))
    assert seen(phone, Airfield, world.row).tags == {"a"}, "the phone's own [n, 1] is another's"
    world.show(ProvisionalMutation(phone.store.device, 50, world.h, world.edit(name="x").changes))
    assert seen(phone, Airfield, world.row).name == "one", "the phone's own are in its queue"


def test_what_this_app_does_not_know_is_left_out(world):
    unknown = WireChange("unheard_of", "u1", "insert", space=NORTH, fields={"x": 1})
    strange = WireChange("airfield", world.row, fields={"visits": "lots", "nothing": 1})
    world.show(world.other(1, unknown, strange), world.edit(2, visits={"add": 2}))
    assert seen(world.phone, Airfield, world.row).visits == 3


def test_rows_and_set_change_together_in_a_poke(world):
    phone, server = world.phone, world.server
    shown = []
    world.show(world.edit(1, visits={"add": 5}))
    phone.listen(lambda _touched: shown.append(seen(phone, Airfield, world.row).visits))
    since = server.sequence
    server.taken[OTHER] = []
    change = WireChange("airfield", world.row, fields={"visits": {"add": 5}})
    server.merge(WireMutation(1, world.h, [change]), OTHER)
    spaces = server.encoded([(server.sequence, "airfield", server.rows["airfield", world.row])])
    phone.store.poke(Poke(since, server.sequence, spaces=spaces, provisional=[]))
    check(world.path, world.app)
    assert shown == [6]
    assert not phone.is_provisional(Airfield, world.row)


def test_a_poke_without_a_set_leaves_it_and_a_round_replaces_it(world):
    phone, server = world.phone, world.server
    world.show(world.edit(1, visits={"add": 5}))
    phone.store.poke(Poke(server.sequence, server.sequence + 1))
    assert phone.is_provisional(Airfield, world.row)
    server.sequence += 1
    world.sync()
    assert not phone.is_provisional(Airfield, world.row)


async def test_frames_of_a_stream_reach_the_file(world):
    phone, server = world.phone, world.server
    server.replicated = 0
    phone.edit(Airfield, world.row, visits=Add(2))
    link = FakeLink(server)
    driver = driver_of(phone.store)
    running = asyncio.create_task(driver.run(link))

    async def told(message, is_done):
        link.answers.put_nowait(message)
        for _ in range(500):
            if is_done():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(message)

    await asyncio.wait_for(driver.rest.wait(), 10)
    await told(
        Provisional([world.edit(visits={"add": 5})]),
        lambda: phone.is_provisional(Airfield, world.row),
    )
    assert seen(phone, Airfield, world.row).visits == 8
    kept = "SELECT count(*) FROM _mutation_queue WHERE device = 0"
    assert phone.store._connection.execute(kept).fetchone() == (1,)
    here = server.sequence
    await told(
        Poke(here, here, replicated=here, provisional=[]),
        lambda: not phone.is_provisional(Airfield, world.row),
    )
    assert phone.store._connection.execute(kept).fetchone() == (0,)
    link.answers.put_nowait(LinkLost("end"))
    await asyncio.wait_for(running, 10)
    check(world.path, world.app)


def test_a_clone_keeps_what_it_is_shown_as_others(world):
    phone = world.phone
    world.show(world.edit(1, visits={"add": 5}))
    phone.edit(Airfield, world.row, visits=Add(2))
    phone.store.become_new()
    check(world.path, world.app)
    assert seen(phone, Airfield, world.row).visits == 8
    world.sync()
    assert seen(phone, Airfield, world.row).visits == 3
