"""Live streams: pokes are contiguous or say pull; applying them equals pulling."""

# pyright: reportArgumentType=false

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.services import live
from sync_protocol import limits
from tests.edge.services.harness import as_bytes, delete, edit, insert, running
from tests.edge.services.test_pulls import assert_equal_to_server, assert_equal_to_snapshot


async def settled(node):
    """Wait until the tailer has seen everything committed."""
    (wanted,) = (await node.sql("SELECT value FROM sk_meta WHERE key = 'sequence'"))[0]
    for _ in range(400):
        if node.tenant.live._position >= int(wanted) and not node.tenant.live._wake.is_set():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the tailer does not follow")


def waiting(stream):
    pokes = list(stream._queue)
    stream._queue.clear()
    return pokes


async def follow(device, stream):
    """Apply what is waiting, as a device does: contiguous pokes, else a pull. Returns pulls."""
    pulls = 0
    for poke in waiting(stream):
        if device.replica.cursor.sequence >= poke.sequence:
            continue
        if not device.replica.poke(poke):
            pulls += 1
            await device.pull()
    return pulls


async def subscribed(node, device):
    await device.pull()
    return await node.tenant.live.subscribe(device.session, device.replica.cursor.sequence)


async def test_pokes_carry_the_rows(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    stream = await subscribed(node, bob)
    for n in range(5):
        await ann.push(insert("item", f"i{n}", title=str(n)))
        await settled(node)
    assert await follow(bob, stream) == 0
    assert len(bob.replica.rows) == 5
    await assert_equal_to_server(bob)
    await assert_equal_to_snapshot(bob)


async def test_each_poke_starts_where_the_one_before_ended(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    await node.join("ann", "south")
    stream = await subscribed(node, bob)
    position = bob.replica.cursor.sequence
    for n in range(8):
        await ann.push(insert("item", f"i{n}", "south" if n % 2 else "north"))
        await settled(node)
    pokes = waiting(stream)
    assert len(pokes) == 4, "other people's spaces are not told of"
    for poke in pokes:
        assert poke.pull or poke.since == position
        position = poke.sequence


async def test_no_poke_holds_a_row_of_a_space_that_was_left(node):
    """L1: a membership that ends is told as a pull, before any later row."""
    ann, bob = await node.device("ann"), await node.device("bob")
    stream = await subscribed(node, bob)
    await node.tenant.members.remove("north", "bob")
    await ann.push(insert("item", "i1"))
    await settled(node)
    pokes = waiting(stream)
    assert pokes
    assert all(poke.pull and not poke.spaces for poke in pokes)
    await bob.pull()
    assert bob.replica.rows == {}


async def test_a_role_narrows_pokes_too(node):
    lia, bob = await node.device("lia", role="lead"), await node.device("bob")
    stream = await subscribed(node, bob)
    await lia.push(insert("salary", "s1", amount=1), insert("item", "i1"))
    await settled(node)
    assert await follow(bob, stream) == 0
    assert set(bob.replica.rows) == {("item", "i1")}
    await lia.push(edit("salary", "s1", amount=2))
    await settled(node)
    await lia.push(edit("item", "i1", title="x"))
    await settled(node)
    await follow(bob, stream)
    await assert_equal_to_server(bob)


async def test_a_slow_reader_loses_pokes_never_data(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    stream = await subscribed(node, bob)
    for n in range(limits.STREAM_QUEUE_FRAMES_MAX + 5):
        await ann.push(insert("item", f"i{n}"))
        await settled(node)
    assert len(stream._queue) <= limits.STREAM_QUEUE_FRAMES_MAX
    assert node.tenant.live.forgotten_pokes > 0
    assert await follow(bob, stream) >= 1
    await assert_equal_to_server(bob)


async def test_a_large_commit_says_pull(node, monkeypatch):
    monkeypatch.setattr(live, "POKE_ROWS_MAX", 10)
    ann, bob = await node.device("ann"), await node.device("bob")
    stream = await subscribed(node, bob)
    await ann.push(*(insert("item", f"i{n}") for n in range(20)))
    await settled(node)
    (poke,) = waiting(stream)
    assert poke.pull
    assert poke.spaces == []


async def test_a_stream_from_the_past_is_told_to_pull(node):
    ann, bob, carol = [await node.device(person) for person in ("ann", "bob", "carol")]
    await subscribed(node, bob)
    await carol.pull()
    since = carol.replica.cursor.sequence
    await ann.push(insert("item", "i1"))
    await settled(node)
    stream = await node.tenant.live.subscribe(carol.session, since)
    await ann.push(insert("item", "i2"))
    await settled(node)
    assert await follow(carol, stream) >= 1
    await assert_equal_to_server(carol)


async def test_streams_end_with_the_node(node):
    bob = await node.device("bob")
    stream = await subscribed(node, bob)
    reader = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    stream.close()
    assert await asyncio.wait_for(reader, 5) is None
    assert node.tenant.live.stream_count == 0


@settings(max_examples=15, suppress_health_check=[*HealthCheck])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["insert", "delete", "south", "join", "leave", "follow", "away"]),
            st.integers(0, 3),
        ),
        max_size=15,
    )
)
async def test_following_pokes_equals_pulling(tmp_path_factory, steps):
    async with running(tmp_path_factory.mktemp("live")) as node:
        ann, bob = await node.device("ann"), await node.device("bob")
        await node.join("ann", "south")
        stream = await subscribed(node, bob)
        is_in_south = False
        for index, (step, n) in enumerate(steps):
            if step in ("insert", "south"):
                space = "south" if step == "south" else "north"
                await ann.push(insert("item", f"{space}-{n}", space, title=str(index)))
            elif step == "delete":
                await ann.push(delete("item", f"north-{n}"))
            elif step in ("join", "leave") and is_in_south != (step == "join"):
                is_in_south = step == "join"
                if is_in_south:
                    await node.join("bob", "south")
                else:
                    await node.tenant.members.remove("south", "bob")
            elif step == "away":
                stream.close()
                stream = await node.tenant.live.subscribe(bob.session, bob.replica.cursor.sequence)
            if n % 2:
                await settled(node)
            if step == "follow":
                await follow(bob, stream)
        await settled(node)
        await follow(bob, stream)
        followed = as_bytes(bob.replica.living())
        await bob.pull()
        assert as_bytes(bob.replica.living()) == followed
        await assert_equal_to_snapshot(bob)


async def test_streams_are_told_in_the_order_in_which_they_subscribed(node, monkeypatch):
    """L6: by address they would be told in another order in every process."""
    ann, bob = await node.device("ann"), await node.device("bob")
    streams = [await subscribed(node, bob) for _ in range(12)]
    told, offer = [], live.Subscription.offer
    monkeypatch.setattr(
        live.Subscription, "offer", lambda self, poke: (told.append(self), offer(self, poke))
    )
    await ann.push(insert("item", "i1"))
    await settled(node)
    assert told == streams
