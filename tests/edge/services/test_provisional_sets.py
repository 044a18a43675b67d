"""Provisional sets: what others have written and nobody has judged, for those who may read it."""

# pyright: reportPrivateUsage=false, reportArgumentType=false

import asyncio

import pytest

from edge.services.standing import Accepted
from sync_protocol import limits
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.pull import Pull
from tests.edge.services.harness import delete, edit, insert, running
from tests.edge.services.standings import Planted, stand
from tests.edge.services.survey import make_second_version


@pytest.fixture
async def edge(node):
    """An edge with a row of Ann's, Ann, Bob and the standing."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(insert("item", "i1", title="one"))
    await ann.pull()
    await bob.pull()
    standing = Planted(is_replica=True)
    stand(node.tenant, standing)
    return node, ann, bob, standing


def accept(standing, device, *changes):
    mutation = device.mutation(*changes)
    standing.list.append(Accepted(device.number, device.schema_version, mutation))
    return mutation


async def page_of(node, device, **asked):
    pull = Pull(device.number, device.schema_version, device.replica.cursor, **asked)
    return await node.tenant.pulls.pull(device.session, pull)


def shown(mutations):
    return [(m.device, m.counter, [(c.collection, c.id) for c in m.changes]) for m in mutations]


async def test_others_see_what_was_accepted_and_its_author_does_not(edge):
    node, ann, bob, standing = edge
    accept(standing, ann, edit("item", "i1", title="two"), insert("item", "i2"))
    accept(standing, ann, edit("item", "i2", title="three"))
    page = await page_of(node, bob)
    assert shown(page.provisional) == [
        (ann.number, 2, [("item", "i1"), ("item", "i2")]),
        (ann.number, 3, [("item", "i2")]),
    ]
    assert (await page_of(node, ann)).provisional == []


async def test_only_the_last_page_has_the_set(edge):
    node, ann, bob, standing = edge
    await ann.push(insert("item", "i5"))
    bob.replica.cursor = None
    accept(standing, ann, edit("item", "i1", title="two"))
    page = await page_of(node, bob, rows_max=1)
    assert page.more
    assert page.provisional == []
    assert (await page_of(node, bob)).provisional != []


async def test_nobody_sees_a_row_that_is_not_theirs_to_read(edge):
    """PV1: by space, by collection, by the row's real space, and never an outsider's."""
    node, _, bob, standing = edge
    lia = await node.device("lia", role="lead")
    await node.join("lia", "south", "lead")
    eve = await node.device("eve", role=None)
    await lia.push(insert("item", "s1", "south"))
    accept(standing, lia, insert("salary", "p1", amount=9), edit("item", "i1", title="both"))
    accept(standing, lia, insert("item", "s2", "south"), edit("item", "s1", title="south"))
    accept(standing, eve, insert("item", "e1", "north"), edit("item", "i1", title="eve"))
    accept(standing, lia, insert("item", "s1", "north"))
    accept(standing, lia, edit("item", "unknown"), insert("nothing", "n1"), insert("item", ""))
    page = await page_of(node, bob)
    assert shown(page.provisional) == [(lia.number, 2, [("item", "i1")])]


async def test_an_insert_that_nobody_is_shown_gives_its_row_no_space(edge):
    """PV1: else a row would be shown that has nothing but the later change."""
    node, ann, bob, standing = edge
    eve = await node.device("eve", role=None)
    accept(standing, eve, insert("item", "e1", "north"))
    accept(standing, ann, delete("item", "e1"), edit("item", "i1", title="two"))
    page = await page_of(node, bob)
    assert shown(page.provisional) == [(ann.number, 2, [("item", "i1")])]


async def test_what_the_snapshot_has_judged_is_left_out(edge):
    """PV2: also what is judged between asking for the list and reading."""
    node, ann, bob, standing = edge
    mutation = accept(standing, ann, edit("item", "i1", visits={"add": 1}))
    listed = standing.accepted

    async def judged_meanwhile():
        found = await listed()
        await ann.send(mutation)
        return found

    standing.accepted = judged_meanwhile
    page = await page_of(node, bob)
    assert page.provisional == []
    bob.replica.take(page)
    assert bob.replica.rows["item", "i1"].fields["visits"] == [0, 1]


async def test_a_set_is_the_oldest_that_fit(edge, monkeypatch):
    """PV3."""
    node, ann, bob, standing = edge
    for number in range(5):
        accept(standing, ann, edit("item", "i1", title=str(number)))
    monkeypatch.setattr(limits, "PROVISIONAL_MUTATIONS_MAX", 3)
    assert [m.counter for m in (await page_of(node, bob)).provisional] == [2, 3, 4]
    accept(standing, ann, edit("item", "i1", title="x"))
    monkeypatch.setattr(limits, "PROVISIONAL_BYTES_MAX", 200)
    assert [m.counter for m in (await page_of(node, bob)).provisional] == [2, 3]


async def test_payloads_of_an_older_app_are_raised_and_never_sent_to_one(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        old, new = await node.device("ann"), await node.device("bob")
        old.schema_version = 1
        standing = Planted(is_replica=True)
        stand(node.tenant, standing)
        accept(standing, old, insert("good", "g1", title="Rope", cents=1_250))
        accept(standing, old, insert("good", "g2", cents="not a number"))
        (seen,) = (await page_of(node, new)).provisional
        assert seen.changes[0].fields == {"name": "Rope", "price": 12.5}
        third = await node.device("carol")
        third.schema_version = 1
        accept(standing, new, insert("good", "g3", name="New"))
        assert (await page_of(node, third)).provisional == []


# --- streams ---------------------------------------------------------------------------------


async def quiet(node):
    """Wait until the tailer has nothing to do."""
    live = node.tenant.live
    for _ in range(400):
        now = await node.tenant.database.read(lambda unit: unit.meta.get("sequence"))
        if live._position >= now and not live._wake.is_set():
            await asyncio.sleep(0.02)
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the tailer does not follow")


def taken(stream):
    found = list(stream._queue)
    stream._queue.clear()
    return found


async def subscribed(node, device):
    await device.pull()
    stream = await node.tenant.live.subscribe(device.session, device.replica.cursor.sequence)
    await quiet(node)
    taken(stream)
    return stream


async def test_a_stream_is_told_its_set_when_it_changes_and_only_then(edge):
    node, ann, bob, standing = edge
    stream, own = await subscribed(node, bob), await subscribed(node, ann)
    accept(standing, ann, edit("item", "i1", title="two"))
    node.tenant.live.provisional_changed()
    await quiet(node)
    (told,) = taken(stream)
    assert isinstance(told, Provisional)
    assert shown(told.mutations) == [(ann.number, 2, [("item", "i1")])]
    node.tenant.live.provisional_changed()
    await quiet(node)
    assert taken(stream) == taken(own) == []


async def test_rows_come_together_with_the_set_that_they_settle(edge):
    """L4: no moment at which a counter counts twice, or not at all."""
    node, ann, bob, standing = edge
    stream = await subscribed(node, bob)
    mutation = accept(standing, ann, edit("item", "i1", visits={"add": 1}))
    node.tenant.live.provisional_changed()
    await quiet(node)
    taken(stream)
    await ann.send(mutation)
    await quiet(node)
    (poke,) = taken(stream)
    assert isinstance(poke, Poke)
    assert poke.spaces
    assert poke.provisional == []


async def test_one_set_at_most_waits(edge):
    node, ann, bob, standing = edge
    stream = await subscribed(node, bob)
    for number in range(5):
        accept(standing, ann, edit("item", "i1", title=str(number)))
        node.tenant.live.provisional_changed()
        await quiet(node)
    (told,) = taken(stream)
    assert len(told.mutations) == 5


async def test_a_refusal_of_what_was_accepted_is_news(edge):
    node, _, bob, standing = edge
    reader = await node.device("ray", role="reader")
    own, other = await subscribed(node, reader), await subscribed(node, bob)
    mutation = accept(standing, reader, edit("item", "i1", title="mine"))
    node.tenant.live.provisional_changed()
    await quiet(node)
    assert shown(taken(other)[0].mutations) == [(reader.number, 1, [("item", "i1")])]
    (receipt,) = (await reader.send(mutation)).receipts
    assert receipt.outcome == "rejected"
    node.tenant.live.notify()
    await quiet(node)
    told = taken(own)
    assert any(isinstance(each, Poke) and each.merged_through == 1 for each in told)
    assert [each.mutations for each in taken(other) if isinstance(each, Provisional)] == [[]]


async def test_an_idle_device_learns_that_its_write_is_replicated(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    standing = Planted(replicated=0)
    stand(node.tenant, standing)
    stream, other = await subscribed(node, ann), await subscribed(node, bob)
    await ann.push(insert("item", "i1"))
    await quiet(node)
    (poke,) = taken(stream)
    taken(other)
    assert (poke.replicated, poke.is_news) == (0, False)
    node.tenant.live.replicated_moved()
    assert taken(stream) == []
    for safe in (poke.sequence - 1, poke.sequence, poke.sequence):
        standing.safe = safe
        node.tenant.live.replicated_moved()
    (news,) = taken(stream)
    assert news == Poke(poke.sequence, poke.sequence, replicated=poke.sequence)
    standing.safe = 10_000
    node.tenant.live.replicated_moved()
    assert taken(stream) == []


async def test_streams_end_when_the_replica_follows_another_database(edge):
    """L5."""
    node, ann, bob, _ = edge
    stream = await subscribed(node, bob)
    await node.tenant.database.write(lambda unit: unit.meta.set("database", "database-2"))
    await ann.push(insert("item", "i9"))
    await quiet(node)
    assert node.tenant.live.stream_count == 0
    assert await anext(stream, None) is None
