"""Pulls: complete under any page size and cursor, verified, and never a row of a foreign space."""

# pyright: reportArgumentType=false, reportOptionalSubscript=false

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import CursorUnknown, NotFound
from edge.services import maintenance
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.repair import Repair
from sync_protocol.mutations import UNKNOWN_HASH, payload_hash
from tests.edge.services.harness import (
    as_bytes,
    delete,
    edit,
    greet_again,
    insert,
    outcomes,
    pull_all,
    running,
)
from tests.edge.services.replica import DigestMismatch, Replica

MODEST = settings(max_examples=20, suppress_health_check=[*HealthCheck])


def readable(rows, replica):
    """The stored rows that a replica's roles may read; tombstones only if it has them."""
    found = {}
    for key, state in rows.items():
        kind_role = replica.roles.get(state.space)
        declared = replica._app.collections[key[0]]
        if kind_role is None or declared.space_kind != kind_role[0]:
            continue
        if kind_role[1] in declared.access.read and (state.is_alive or key in replica.rows):
            found[key] = state
    return found


async def assert_equal_to_server(device):
    rows = await device.harness.rows()
    assert as_bytes(device.replica.rows) == as_bytes(readable(rows, device.replica))


async def assert_equal_to_snapshot(device):
    """What the device has become step by step is what a new device would read at once."""
    fresh = Replica(device.harness.app)
    kept, device.replica = device.replica, fresh
    await device.pull()
    device.replica = kept
    assert as_bytes(kept.living()) == as_bytes(fresh.living())
    assert kept.roles == fresh.roles


@MODEST
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["insert", "edit", "delete"])), max_size=30
    ),
    rows_max=st.integers(1, 7),
    pulled_after=st.sets(st.integers(0, 30), max_size=4),
)
async def test_complete_under_any_page_size_and_cursor(
    tmp_path_factory, edits, rows_max, pulled_after
):
    """Law 12: whatever the pages, the replica equals the server at every checkpoint."""
    async with running(tmp_path_factory.mktemp("pulls")) as node:
        ann, bob = await node.device("ann"), await node.device("bob")
        for index, (n, what) in enumerate(edits):
            change = {"insert": insert, "edit": edit, "delete": delete}[what]
            fields = {} if what == "delete" else {"title": str(index)}
            await ann.push(change("item" if n % 2 else "draft", f"r{n}", **_only(fields, n)))
            if index in pulled_after:
                await bob.pull(rows_max=rows_max)
                await assert_equal_to_server(bob)
        await bob.pull(rows_max=rows_max)
        await assert_equal_to_server(bob)
        await assert_equal_to_snapshot(bob)
        received = bob.replica.rows_received
        await bob.pull(rows_max=rows_max)
        assert bob.replica.rows_received == received, "law 14: a further round moves nothing"


def _only(fields, n):
    return {"title" if n % 2 else "text": value for value in fields.values()}


async def test_writes_between_the_pages_are_not_lost(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    for n in range(12):
        await ann.push(insert("item", f"i{n}", title=str(n)))
    steps = iter(range(100))

    async def write():
        n = next(steps)
        await ann.push(edit("item", f"i{n % 12}", title=f"changed {n}"))
        if n == 3:
            await ann.push(delete("item", "i0"))
        if n == 4:
            await ann.push(insert("item", "new", title="new"))

    pages = await pull_all(bob, rows_max=3, between=write)
    assert pages > 4
    await assert_equal_to_server(bob)
    await assert_equal_to_snapshot(bob)


async def test_a_round_is_applied_whole(node):
    """Law 11: nothing of an unfinished round is visible."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(*(insert("item", f"i{n}", title="1") for n in range(9)))
    await bob.pull()
    await ann.push(*(edit("item", f"i{n}", title="2") for n in range(9)))
    seen = []

    async def look():
        seen.append({state.fields["title"][2] for state in bob.replica.rows.values()})

    await pull_all(bob, rows_max=2, between=look)
    assert seen
    assert all(titles == {"1"} for titles in seen)
    assert {state.fields["title"][2] for state in bob.replica.rows.values()} == {"2"}


async def test_entering_and_leaving_a_space_equals_a_fresh_snapshot(node):
    """Law 30."""
    ann, bob = await node.device("ann"), await node.device("bob", role=None)
    await node.join("ann", "south")
    for n in range(6):
        await ann.push(insert("item", f"n{n}"), insert("item", f"s{n}", "south"))
    await bob.pull(rows_max=2)
    assert bob.replica.rows == {}
    await node.join("bob", "south")
    await bob.pull(rows_max=2)
    assert {key[1] for key in bob.replica.rows} == {f"s{n}" for n in range(6)}
    await node.join("bob", "north")
    await ann.push(edit("item", "s1", title="x"))
    await bob.pull(rows_max=2)
    assert len(bob.replica.rows) == 12
    await node.tenant.members.remove("south", "bob")
    await bob.pull(rows_max=2)
    assert {key[1] for key in bob.replica.rows} == {f"n{n}" for n in range(6)}
    await node.join("bob", "south")
    await node.tenant.members.remove("south", "bob")
    await node.join("bob", "south")
    await bob.pull(rows_max=2)
    await assert_equal_to_snapshot(bob)
    await assert_equal_to_server(bob)


async def test_a_gained_space_is_told_once_a_round(node):
    """A device drops the rows of a gained space, those of the page before included."""
    ann, bob = await node.device("ann"), await node.device("bob", role=None)
    await ann.push(*(insert("item", f"n{n}") for n in range(6)))
    await node.join("bob", "north")
    told, cursor, more = [], None, True
    while more:
        page = await node.tenant.pulls.pull(bob.session, Pull(bob.number, 1, cursor, 2))
        told.append([gained.space for gained in page.gained])
        cursor, more = page.cursor, page.more
    assert told == [["north"], [], []]


async def test_a_role_decides_what_is_read(node):
    lia, bob = await node.device("lia", role="lead"), await node.device("bob")
    await lia.push(insert("item", "i1"), insert("salary", "s1", amount=7))
    await bob.pull()
    assert ("salary", "s1") not in bob.replica.rows
    await node.join("bob", role="lead")
    await bob.pull()
    assert ("salary", "s1") in bob.replica.rows
    await node.join("bob", role="reader")
    await lia.push(edit("salary", "s1", amount=8))
    await bob.pull()
    assert ("salary", "s1") not in bob.replica.rows
    await assert_equal_to_snapshot(bob)


@MODEST
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["north", "south"]),
            st.sampled_from(["reader", "member", "lead", None]),
        ),
        min_size=1, max_size=6,
    ),
    rows_max=st.integers(1, 4),
)  # fmt: skip
async def test_memberships_that_change_in_the_middle_of_a_round(tmp_path_factory, moves, rows_max):
    async with running(tmp_path_factory.mktemp("members")) as node:
        lia, bob = await node.device("lia", role="lead"), await node.device("bob")
        await node.join("lia", "south", "lead")
        for space in ("north", "south"):
            for n in range(4):
                await lia.push(insert("item", f"{space}-{n}", space))
                await lia.push(insert("salary", f"{space}-{n}", space, amount=n))
        pending = list(moves)

        async def move():
            if pending:
                space, role = pending.pop()
                if role is not None:
                    await node.join("bob", space, role)
                elif await node.sql("SELECT 1 FROM sk_member WHERE person='bob' AND space=? "
                                    "AND role IS NOT NULL", space):  # fmt: skip
                    await node.tenant.members.remove(space, "bob")
                await lia.push(edit("item", f"{space}-0", title=str(len(pending))))

        for _ in range(3):
            await _pull_repairing(bob, rows_max, move)
        while pending:
            await move()
        await _pull_repairing(bob, rows_max, None)
        await bob.pull()
        await assert_equal_to_snapshot(bob)


async def _pull_repairing(device, rows_max, between):
    """A narrowed role may leave staged rows that the checkpoint does not cover: repair them."""
    try:
        await pull_all(device, rows_max=rows_max, between=between)
    except DigestMismatch:
        for space, (kind, role) in device.replica.roles.items():
            device.replica._forget_unreadable(space, kind, role)
        await pull_all(device, rows_max=rows_max)


async def test_no_row_of_a_foreign_space_ever(node):
    """P1: also not after a removal in the middle of a round, nor by a repair."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(*(insert("item", f"i{n}") for n in range(8)))
    first = await node.tenant.pulls.pull(bob.session, Pull(bob.number, 1, None, 2))
    await node.tenant.members.remove("north", "bob")
    following = await node.tenant.pulls.pull(bob.session, Pull(bob.number, 1, first.cursor, 2))
    assert following.spaces == []
    assert following.lost == ["north"]
    with pytest.raises(NotFound):
        await node.tenant.pulls.repair(bob.session, Repair(bob.number, 1, "north", {}))


async def test_cursors_of_elsewhere_are_refused(node):
    ann = await node.device("ann")
    for cursor in (
        Cursor("other", 0),
        Cursor("database-1", 10**6),
        Cursor("database-1", 1, Backfill(10**6, 0)),
    ):
        with pytest.raises(CursorUnknown):
            await node.tenant.pulls.pull(ann.session, Pull(ann.number, 1, cursor))


async def test_receipts_of_lost_answers_come_with_the_rows(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1"))
    await ann.push(edit("item", "none"))
    await ann.push(edit("item", "i1", title="x"))
    page = await node.tenant.pulls.pull(ann.session, Pull(ann.number, 1, None, unconfirmed=1))
    assert page.merged_through == 3
    assert outcomes(page) == {1: "merged", 2: "rejected", 3: "merged"}
    page = await node.tenant.pulls.pull(ann.session, Pull(ann.number, 1, None, unconfirmed=3))
    assert outcomes(page) == {3: "merged"}


async def test_a_page_tells_by_what_hashes_the_mutations_are_known(node, monkeypatch):
    ann = await node.device("ann")
    sent = [ann.mutation(insert("item", "i1")), ann.mutation(edit("item", "none"))]
    for mutation in sent:
        await ann.send(mutation)
    pull = Pull(ann.number, 1, None, unconfirmed=1)
    page = await node.tenant.pulls.pull(ann.session, pull)
    assert page.hashes == b"".join(map(payload_hash, sent))
    pull.unconfirmed = 2
    assert (await node.tenant.pulls.pull(ann.session, pull)).hashes == payload_hash(sent[1])
    pull.unconfirmed = 3
    assert (await node.tenant.pulls.pull(ann.session, pull)).hashes == payload_hash(sent[1])
    monkeypatch.setattr(maintenance, "RECEIPTS_KEPT", 0)
    await node.tenant.maintenance.run_once()
    pull.unconfirmed = 1
    assert (await node.tenant.pulls.pull(ann.session, pull)).hashes == UNKNOWN_HASH * 2


async def test_planted_damage_is_found_and_only_its_bucket_fetched(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(*(insert("item", f"i{n}", title="x") for n in range(200)))
    await bob.pull()
    damaged = bob.replica.rows["item", "i7"]
    damaged.fields["title"] = [damaged.fields["title"][0], ann.number, "flipped"]
    del bob.replica.rows["item", "i9"]
    await ann.push(edit("item", "i1", title="y"))
    with pytest.raises(DigestMismatch) as caught:
        await bob.pull()
    space = caught.value.space
    repair = Repair(bob.number, 1, space, bob.replica.buckets(space))
    repaired = await node.tenant.pulls.repair(bob.session, repair)
    assert 1 <= len(repaired.damaged) <= 2
    received = bob.replica.rows_received
    bob.replica.repair(repaired)
    assert bob.replica.rows_received - received < 60
    await assert_equal_to_server(bob)


async def test_a_device_behind_the_horizon_starts_again_and_is_right(node):
    ann, late = await node.device("ann"), await node.device("late")
    await ann.push(*(insert("item", f"i{n}") for n in range(4)))
    await ann.pull()
    await late.pull()
    node.clock.now_ms += maintenance.DEVICE_LEASE_MS + 1
    await ann.push(delete("item", "i0"))
    await ann.push(insert("item", "i9"))
    await ann.pull()
    await ann.pull()
    await node.tenant.maintenance.run_once()
    assert ("item", "i0") not in await node.rows(), "the late device's lease is over"
    await late.pull(rows_max=2)
    assert late.replica.resets == 1
    assert ("item", "i0") not in late.replica.rows
    await assert_equal_to_server(late)
    await node.check()


async def test_a_tombstone_waits_for_every_device_with_a_lease(node):
    ann, slow = await node.device("ann"), await node.device("slow")
    await ann.push(insert("item", "i0"), insert("item", "i1"))
    await slow.pull()
    await ann.push(delete("item", "i0"))
    for _ in range(2):
        await ann.pull()
        await node.tenant.maintenance.run_once()
    assert ("item", "i0") in await node.rows()
    await slow.pull()
    assert slow.replica.resets == 0
    await slow.pull()
    await node.tenant.maintenance.run_once()
    assert ("item", "i0") not in await node.rows()
    await ann.pull()
    await slow.pull()
    assert slow.replica.resets == ann.replica.resets == 0
    await node.check()


@pytest.mark.parametrize("is_greeted", [False, True])
async def test_a_tombstone_waits_for_what_was_written_before_it_was_seen(node, is_greeted):
    """Law 17: an edge may have accepted a mutation that the primary has not judged yet."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(insert("item", "i0"), insert("item", "i1"))
    await bob.pull()
    late = bob.mutation(edit("item", "i0", title="late"), edit("item", "i1", title="kept"))
    await ann.push(delete("item", "i0"))
    for _ in range(2):
        await ann.pull()
        pull = Pull(bob.number, 1, bob.replica.cursor, unconfirmed=late.counter)
        bob.replica.take(await node.tenant.pulls.pull(bob.session, pull))
        if is_greeted:
            await greet_again(bob)
        await node.tenant.maintenance.run_once()
    assert not bob.replica.rows["item", "i0"].is_alive
    assert ("item", "i0") in await node.rows(), "bob has read of it, but wrote before he did"
    (receipt,) = (await bob.send(late)).receipts
    assert (receipt.outcome, receipt.code) == ("superseded", "row-deleted")
    assert await node.value("item", "i1", "title") == "kept"
    for device in (ann, bob, bob, ann):
        await device.pull()
    await node.tenant.maintenance.run_once()
    assert ("item", "i0") not in await node.rows()
    await node.check()


@MODEST
@given(steps=st.lists(st.integers(0, 4), max_size=25))
async def test_collecting_equals_not_collecting(tmp_path_factory, steps):
    """Law 17: two nodes, one collects; living rows and replicas are the same, late devices too."""
    found = []
    for is_collecting in (True, False):
        async with running(tmp_path_factory.mktemp("collect")) as node:
            ann, bob = await node.device("ann"), await node.device("bob")
            late = await node.device("late")
            await late.pull()
            for index, step in enumerate(steps):
                row = f"i{step}"
                node.clock.now_ms += 10
                device = (ann, bob)[index % 2]
                changes = [insert("item", row, title=str(index)), delete("item", row)]
                await device.push(changes[index % 3 == 2])
                if index % 4 == 3:
                    await device.pull()
                    await device.pull()
                if index == len(steps) // 2:
                    node.clock.now_ms += maintenance.DEVICE_LEASE_MS + 1
                    await ann.pull()
                if is_collecting:
                    await node.tenant.maintenance.run_once()
            for device in (ann, bob, late):
                await device.pull()
                await assert_equal_to_snapshot(device)
            living = {key: s for key, s in (await node.rows()).items() if s.is_alive}
            titles = {key: state.fields["title"][2] for key, state in living.items()}
            found.append((titles, [sorted(d.replica.living()) for d in (ann, bob, late)]))
            await node.check()
    assert found[0] == found[1]
