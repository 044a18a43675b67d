"""Deletes meeting edits, writes that lose, the conflict log, resolvers, first writes."""

from tests.edge.services.harness import delete, edit, insert, restore


async def conflicts(device):
    return await device.harness.tenant.conflicts.list(device.session.principal)


async def two(node):
    return await node.device("ann"), await node.device("bob")


async def test_a_delete_wins_the_edit_is_kept_and_restore_shows_it(node):
    """Laws 15 and 16."""
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", title="a", visits={"add": 1}))
    await bob.pull()
    await ann.push(delete("item", "i1"))
    receipt = await bob.push(
        edit("item", "i1", base=bob.versions("item", "i1"), title="b", visits={"add": 4})
    )
    assert receipt is not None
    assert (receipt.outcome, receipt.code) == ("superseded", "row-deleted")
    state = await node.row("item", "i1")
    assert not state.is_alive
    await bob.pull()
    assert bob.replica.living() == {}
    assert await bob.push(restore("item", "i1", seen=state.alive[0])) is None
    assert await node.value("item", "i1", "title") == "b"
    assert await node.value("item", "i1", "visits") == 5
    await ann.pull()
    assert ("item", "i1") in ann.replica.living()
    await node.check()


async def test_edit_wins_revives_when_the_author_had_not_seen_the_delete(node):
    ann, bob = await two(node)
    await ann.push(insert("draft", "d1", text="a"))
    await bob.pull()
    await ann.push(delete("draft", "d1"))
    assert await bob.push(edit("draft", "d1", base=bob.versions("draft", "d1"), text="b")) is None
    state = await node.row("draft", "d1")
    assert state.is_alive
    assert state.alive[1] == 1, "revived by the primary"
    assert await node.value("draft", "d1", "text") == "b"
    await ann.push(delete("draft", "d1", seen=state.alive[0]))
    await bob.pull()
    dead = bob.replica.rows["draft", "d1"]
    receipt = await bob.push(edit("draft", "d1", seen=dead.alive[0], text="c"))
    assert receipt is not None
    assert receipt.code == "row-deleted", "an author who saw the delete does not revive"
    assert not (await node.row("draft", "d1")).is_alive
    await node.check()


async def test_a_losing_write_says_so_with_both_values(node):
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", title="start"))
    await ann.pull()
    await bob.pull()
    base = bob.versions("item", "i1")
    late = bob.mutation(edit("item", "i1", base=base, title="bob"))
    node.clock.now_ms += 2_000
    assert await ann.push(edit("item", "i1", base=base, title="ann")) is None
    answer = await bob.send(late, clock=bob.clock())
    (receipt,) = answer.receipts
    assert (receipt.outcome, receipt.code, receipt.fields) == (
        "superseded", "later-write", ["title"],
    )  # fmt: skip
    (lost,) = receipt.conflicts
    assert (lost.winner.value, lost.winner.n) == ("ann", ann.number)
    assert (lost.loser.value, lost.loser.n) == ("bob", bob.number)
    assert await node.value("item", "i1", "title") == "ann"
    again = await bob.send(late, clock=bob.clock())
    assert again.receipts == answer.receipts, "a repeat tells the same"
    (logged,) = await conflicts(ann)
    assert (logged.winner.value, logged.loser.value) == ("ann", "bob")
    assert (logged.collection, logged.row, logged.field) == ("item", "i1", "title")
    await node.check()


async def test_an_overwritten_write_is_logged_though_nobody_is_told(node):
    """The earlier author lost without having been seen: its value stays in the log."""
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", title="start"))
    await bob.pull()
    base = bob.versions("item", "i1")
    await ann.push(edit("item", "i1", base=base, title="ann"))
    node.clock.now_ms += 2_000
    assert await bob.push(edit("item", "i1", base=base, title="bob")) is None
    (logged,) = await conflicts(bob)
    assert (logged.winner.value, logged.loser.value) == ("bob", "ann")


async def test_seen_equal_and_own_writes_are_no_conflicts(node):
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", title="a"))
    await ann.push(edit("item", "i1", title="mine again"))
    await bob.pull()
    await bob.push(edit("item", "i1", base=bob.versions("item", "i1"), title="seen"))
    await ann.push(edit("item", "i1", title="seen"))
    assert await conflicts(ann) == []


async def test_the_log_is_only_for_those_who_may_read_the_rows(node):
    lia, lou = await node.device("lia", role="lead"), await node.device("lou", role="lead")
    ann = await node.device("ann")
    await lia.push(insert("salary", "s1", amount=1))
    await lou.push(edit("salary", "s1", amount=2))
    assert len(await conflicts(lia)) == 1
    assert await conflicts(ann) == []


async def test_a_resolver_merges_and_its_failure_is_a_receipt(node):
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", note={"value": "start"}))
    await bob.pull()
    base = bob.versions("item", "i1")
    await ann.push(edit("item", "i1", base=base, note={"base": "start", "value": "ann"}))
    await bob.push(edit("item", "i1", base=base, note={"base": "start", "value": "bob"}))
    assert await node.value("item", "i1", "note") == "ann | bob"
    assert (await node.row("item", "i1")).fields["note"][1] == 1
    await ann.push(edit("item", "i1", base=base, note={"base": "start", "value": "more"}))
    assert await node.value("item", "i1", "note") == "ann | bob | more"
    receipt = await bob.push(
        edit("item", "i1", base=base, title="lost too", note={"base": "start", "value": "fail"})
    )
    assert receipt is not None
    assert (receipt.outcome, receipt.code) == ("rejected", "resolver-failed")
    assert await node.value("item", "i1", "title") is None
    await node.check()


async def test_the_first_write_is_kept_whatever_clocks_say(node):
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", origin="ann"))
    node.clock.now_ms += 10
    bob.offset_ms = -4_000
    receipt = await bob.push(edit("item", "i1", origin="bob"))
    assert receipt is not None
    assert receipt.outcome == "superseded"
    assert await node.value("item", "i1", "origin") == "ann"
    await node.check()


async def test_a_counter_change_of_a_closed_epoch_says_so(node):
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", visits={"add": 3}))
    await ann.push(edit("item", "i1", visits={"reset": 1}))
    receipt = await bob.push(edit("item", "i1", visits={"add": 5}))
    assert receipt is not None
    assert receipt.outcome == "superseded"
    assert await node.value("item", "i1", "visits") == 0


async def test_concurrent_tags_and_remarks_all_stay(node):
    """Laws 20 and 21, over the node."""
    ann, bob = await two(node)
    await ann.push(insert("item", "i1", tags={"add": ["wet"]}, remarks={"value": "one"}))
    await bob.pull()
    dots = (
        node.app.collections["item"]
        .fields["tags"]
        .dots(bob.replica.rows["item", "i1"].fields["tags"], "wet")
    )
    await ann.push(edit("item", "i1", tags={"add": ["wet"]}, remarks={"value": "two"}))
    await bob.push(edit("item", "i1", tags={"remove": {"wet": dots}}, remarks={"value": "three"}))
    assert await node.value("item", "i1", "tags") == {"wet"}
    assert set(await node.value("item", "i1", "remarks")) == {"two", "three"}
    await node.check()
