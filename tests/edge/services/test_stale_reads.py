"""Reads on a replica: it waits, then says that it is behind, and never resets anybody for it."""

# pyright: reportPrivateUsage=false, reportOptionalMemberAccess=false

import pytest

from edge.errors import CursorUnknown, Unavailable
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint
from sync_protocol.messages.pull import Pull
from tests.edge.services.harness import insert, principal_of
from tests.edge.services.standings import Planted, stand


def hello_of(node, device, cursor):
    return Hello(1, node.app.name, 1, "f" * 16, device.installation, device.clock(), cursor=cursor)


async def replica(node):
    """A replica with one row, a device that has read it, and the standing."""
    bob = await node.device("bob")
    await bob.push(insert("item", "i1"))
    await bob.pull()
    standing = Planted(is_replica=True, replicated=1)
    stand(node.tenant, standing)
    return bob, standing


@pytest.mark.parametrize("backfill", [None, Backfill(9_000, 3), Backfill(0, 9_000)])
async def test_a_cursor_ahead_of_the_replica_is_answered_with_nothing_at_all(node, backfill):
    bob, standing = await replica(node)
    sequence = 9_000 if backfill is None else 1
    cursor = Cursor("database-1", sequence, backfill)
    told = []
    node.tenant.pulls._acknowledge = lambda *given: told.append(given)
    page = await node.tenant.pulls.pull(bob.session, Pull(bob.number, 1, cursor, unconfirmed=1))
    assert (page.cursor, page.more, page.stale, page.reset) == (cursor, False, True, False)
    assert page.checkpoint == Checkpoint(sequence, {})
    assert (page.merged_through, page.merged, page.receipts, page.spaces) == (0, [], [], [])
    assert standing.waited == [9_000]
    assert told == [], "what has not been checked is not acknowledged"


async def test_a_replica_that_catches_up_in_time_answers_as_ever(node):
    bob, standing = await replica(node)
    ann = await node.device("ann")
    cursor = bob.replica.cursor
    now = (await node.sql("SELECT value FROM sk_meta WHERE key = 'sequence'"))[0][0]
    standing.catch_up = lambda: ann.push(insert("item", "i2"))
    pull = Pull(bob.number, 1, cursor, wait_for=int(now) + 1)
    page = await node.tenant.pulls.pull(bob.session, pull)
    assert (page.stale, page.cursor.sequence) == (False, int(now) + 1)
    assert standing.waited == [int(now) + 1]
    bob.replica.take(page)
    assert ("item", "i2") in bob.replica.rows


async def test_rows_that_are_there_are_sent_although_more_was_asked_for(node):
    bob, _ = await replica(node)
    ann = await node.device("ann")
    await ann.push(insert("item", "i2"))
    pull = Pull(bob.number, 1, bob.replica.cursor, wait_for=9_000)
    page = await node.tenant.pulls.pull(bob.session, pull)
    assert (page.stale, page.replicated) == (True, 1)
    bob.replica.take(page)
    assert ("item", "i2") in bob.replica.rows


async def test_a_node_by_itself_neither_waits_nor_is_stale(node):
    bob, standing = await replica(node)
    alone = Planted()
    stand(node.tenant, alone)
    page = await node.tenant.pulls.pull(
        bob.session, Pull(bob.number, 1, bob.replica.cursor, wait_for=9_000)
    )
    assert (page.stale, page.replicated) == (False, page.cursor.sequence)
    with pytest.raises(CursorUnknown):
        await node.tenant.pulls.pull(bob.session, Pull(bob.number, 1, Cursor("database-1", 9_000)))
    assert alone.waited == standing.waited == []


async def test_a_replica_resets_nobody_who_is_ahead_of_it(node):
    bob, _ = await replica(node)
    ahead = hello_of(node, bob, Cursor("database-1", 9_000))
    welcome = await node.tenant.devices.greet_locally(principal_of("bob"), ahead)
    assert (welcome.resume, welcome.stale, welcome.device) == ("current", True, bob.number)
    assert welcome.replicated == 1
    foreign = hello_of(node, bob, Cursor("another", 1))
    welcome = await node.tenant.devices.greet_locally(principal_of("bob"), foreign)
    assert (welcome.resume, welcome.stale) == ("current", True), "it may have followed this one"
    stand(node.tenant, Planted())
    welcome = await node.tenant.devices.hello(principal_of("bob"), ahead)
    assert (welcome.resume, welcome.stale) == ("reset", False), "the primary's word is final"


@pytest.mark.parametrize("is_replica", [True, False])
@pytest.mark.parametrize("cursor", [Cursor("followed", 3), Cursor("database-1", 9_000)])
async def test_only_the_present_database_refuses_a_cursor(node, cursor, is_replica):
    bob, _ = await replica(node)
    standing = Planted(is_replica=is_replica)
    standing.present = False
    stand(node.tenant, standing)
    told = []
    node.tenant.pulls._acknowledge = lambda *given: told.append(given)
    pull = Pull(bob.number, 1, cursor, unconfirmed=1)
    page = await node.tenant.pulls.pull(bob.session, pull)
    assert (page.cursor, page.more, page.stale, page.reset) == (cursor, False, True, False)
    assert page.checkpoint == Checkpoint(cursor.sequence, {})
    assert (page.merged_through, page.merged, page.receipts, page.spaces) == (0, [], [], [])
    assert told == []
    standing.present = True
    if not is_replica or cursor.database == "followed":
        with pytest.raises(CursorUnknown):
            await node.tenant.pulls.pull(bob.session, pull)
        assert standing.asked[-1] == "database-1"
    else:
        assert standing.asked == [], "it follows: what is ahead will come"


async def test_a_replica_that_crosses_to_the_next_database_reads_on_from_there(node):
    bob, standing = await replica(node)
    standing.present = False
    read = bob.replica.cursor
    pull = Pull(bob.number, 1, Cursor("followed", read.sequence))

    async def cross():
        await node.tenant.database.write(lambda unit: unit.meta.set("database", "followed"))

    standing.catch_up = cross
    page = await node.tenant.pulls.pull(bob.session, pull)
    assert (page.stale, page.reset, page.cursor) == (False, False, pull.cursor)


@pytest.mark.parametrize(("counter", "is_stale"), [(0, False), (1, False), (2, True)])
async def test_a_replica_that_knows_fewer_mutations_than_were_made_loses_none(
    node, counter, is_stale
):
    bob, _ = await replica(node)
    hello = hello_of(node, bob, bob.replica.cursor)
    hello.counter = counter
    welcome = await node.tenant.devices.greet_locally(principal_of("bob"), hello)
    assert (welcome.merged_through, welcome.resume, welcome.stale) == (1, "current", is_stale)
    welcome = await node.tenant.devices.hello(principal_of("bob"), hello)
    assert not welcome.stale, "the primary's word is final"


async def test_a_replica_does_not_vouch_for_the_number_of_a_device_without_a_cursor(node):
    """Its database may be from before a restore; the restored one gives other numbers."""
    bob, _ = await replica(node)
    hello = hello_of(node, bob, None)
    hello.counter = 1
    welcome = await node.tenant.devices.greet_locally(principal_of("bob"), hello)
    assert (welcome.device, welcome.resume, welcome.stale) == (bob.number, "reset", True)
    assert not (await node.tenant.devices.hello(principal_of("bob"), hello)).stale


async def test_a_local_greeting_writes_nothing_and_numbers_nobody(node):
    bob, _ = await replica(node)
    before = await node.sql("SELECT * FROM sk_device ORDER BY n")
    known = hello_of(node, bob, bob.replica.cursor)
    node.clock.now_ms += 60_000
    welcome = await node.tenant.devices.greet_locally(principal_of("bob"), known)
    assert (welcome.resume, welcome.device, welcome.merged_through) == ("current", bob.number, 1)
    bob.installation = "another-phone"
    with pytest.raises(Unavailable):
        await node.tenant.devices.greet_locally(principal_of("bob"), hello_of(node, bob, None))
    assert await node.sql("SELECT * FROM sk_device ORDER BY n") == before


async def test_a_number_that_the_primary_has_just_given_is_not_refused(node):
    await replica(node)
    with pytest.raises(Unavailable):
        await node.tenant.devices.session(principal_of("bob"), 77, 1)
    node.tenant.devices.remember(77, "bob")
    assert (await node.tenant.devices.session(principal_of("bob"), 77, 1)).device == 77
