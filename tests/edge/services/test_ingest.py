"""Taking mutations in: exactly once, in order, whole or not at all, each with one final outcome."""

import asyncio
from typing import Any

import msgspec
import pytest

from core.clock import COUNTER_BITS, SKEW_TOLERANCE_MS, pack, saturated
from edge.errors import ClonedDevice, CounterGap, StorageFull, UnknownDevice
from sync_protocol.messages.push import WireChange, WireMutation
from tests.edge.services.harness import (
    NOW_MS,
    as_bytes,
    delete,
    edit,
    insert,
    outcomes,
    restore,
    running,
)

TOLERANCE = SKEW_TOLERANCE_MS << COUNTER_BITS


async def test_exactly_once_and_the_same_answer_again(node):
    ann = await node.device("ann")
    made = [
        ann.mutation(insert("item", "i1", title="a", visits={"add": 5})),
        ann.mutation(edit("item", "i1", visits={"add": 2})),
        ann.mutation(edit("item", "missing", title="x")),
        ann.mutation(edit("item", "i1", visits={"add": 1})),
    ]
    first = await ann.send(*made)
    before = as_bytes(await node.rows())
    for _ in range(3):
        again = await ann.send(*made)
        assert msgspec.to_builtins(again) == msgspec.to_builtins(first)
    named = await node.tenant.database.read(lambda unit: unit.meta.get("database"))
    assert first.database == named
    assert as_bytes(await node.rows()) == before
    assert await node.value("item", "i1", "visits") == 8
    assert outcomes(first) == {1: "merged", 2: "merged", 3: "rejected", 4: "merged"}
    await node.check()


async def test_repeats_and_news_in_one_push(node):
    ann = await node.device("ann")
    made = [ann.mutation(insert("item", f"i{n}", visits={"add": n})) for n in range(1, 5)]
    await ann.send(*made[:2])
    mixed = await ann.send(*made[1:])
    assert mixed.merged_through == 4
    assert outcomes(mixed) == {2: "merged", 3: "merged", 4: "merged"}
    assert await node.value("item", "i2", "visits") == 2
    await node.check()


async def test_answers_survive_a_restart(node):
    ann = await node.device("ann")
    made = [ann.mutation(insert("item", "i1", visits={"add": 3})), ann.mutation(edit("item", "no"))]
    first = await ann.send(*made)
    await node.reopen()
    again = await ann.send(*made)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(first)
    assert await node.value("item", "i1", "visits") == 3


async def test_a_gap_is_refused_whole_and_says_where_the_server_is(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", title="a"))
    ann.counter += 1
    with pytest.raises(CounterGap) as caught:
        await ann.send(ann.mutation(edit("item", "i1", title="late")))
    database = await node.tenant.database.read(lambda unit: unit.meta.get("database"))
    assert (caught.value.merged_through, caught.value.database) == (1, database)
    one = WireMutation(2, ann.clock(), [edit("item", "i1", title="b")])
    three = WireMutation(4, ann.clock(), [edit("item", "i1", title="c")])
    with pytest.raises(CounterGap):
        await ann.send(one, three)
    assert await node.value("item", "i1", "title") == "a"
    await node.check()


async def test_the_same_identity_with_another_payload_is_a_clone(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", title="a"))
    await ann.push(edit("item", "no-such-row", title="a"))
    database = await node.tenant.database.read(lambda unit: unit.meta.get("database"))
    for counter in (1, 2):
        with pytest.raises(ClonedDevice) as caught:
            await ann.send(WireMutation(counter, ann.clock(), [insert("item", "i1", title="b")]))
        assert caught.value.database == database
    other = WireMutation(2, ann.clock(), [insert("item", "i2", title="b")])
    with pytest.raises(ClonedDevice):
        await ann.send(other, WireMutation(3, ann.clock(), [insert("item", "i3")]))
    assert ("item", "i3") not in await node.rows()


@pytest.mark.parametrize("has_more", [False, True])
async def test_a_copy_s_push_in_the_same_commit_is_one_too(node, has_more):
    """Nothing is stored yet of what the first one sends; the second must not be told it merged."""
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", visits={"add": 1}))
    same, mine = ann.mutation(edit("item", "i1", visits={"add": 2})), edit("item", "i1", title="me")
    other = WireMutation(3, ann.clock(), [insert("item", "i2", title="the copy's")])
    sends = [ann.send(same, ann.mutation(mine)), ann.send(same, other)]
    if not has_more:
        for send in sends:
            send.close()
        copied = WireMutation(2, ann.clock(), [insert("item", "i2", title="the copy's")])
        sends = [ann.send(same), ann.send(copied), ann.send(same)]
    answers: list[Any] = await asyncio.gather(*sends, return_exceptions=True)
    if has_more:
        assert outcomes(answers[0]) == {2: "merged", 3: "merged"}
        assert outcomes(answers[1]) == {2: "merged"}, "as far as it repeats what is known (I4)"
    else:
        assert outcomes(answers[0]) == outcomes(answers[2]) == {2: "merged"}
        assert isinstance(answers[1], ClonedDevice)
    assert ("item", "i2") not in await node.rows()
    assert await node.value("item", "i1", "visits") == 3
    await node.check()


async def test_the_same_payload_in_json_form_is_the_same_mutation(node):
    ann = await node.device("ann")
    mutation = ann.mutation(insert("item", "i1", visits={"add": 1}))
    await ann.send(mutation)
    builtins = msgspec.to_builtins(mutation)
    reordered = dict(reversed(list(builtins.items())))
    assert outcomes(await ann.send(reordered)) == {1: "merged"}


async def test_another_persons_device_is_unknown(node):
    ann = await node.device("ann")
    await node.device("bob")
    with pytest.raises(UnknownDevice):
        await ann.send(ann.mutation(insert("item", "i1")), person="bob")
    with pytest.raises(UnknownDevice):
        await node.tenant.devices.session(
            (await node.device("bob")).session.principal, ann.number, 1
        )
    ann.counter = 0
    mine = ann.send(ann.mutation(insert("item", "i1")))
    theirs = ann.send(WireMutation(2, 5, [insert("item", "i2")]), person="bob")
    answers = await asyncio.gather(mine, theirs, return_exceptions=True)
    assert isinstance(answers[1], UnknownDevice), "also within one group commit"
    assert ("item", "i2") not in await node.rows()


async def test_quarantine_never_blocks(node):
    ann = await node.device("ann")
    good = [ann.mutation(insert("item", f"i{n}", title="x")) for n in range(3)]
    bad = [
        {"counter": ann.counter + 1, "nonsense": True},
        {"counter": ann.counter + 2, "h": 1, "changes": [{"collection": "item", "id": "i0",
         "op": "edit", "fields": {"title": 7}}]},
        {"counter": ann.counter + 3, "h": 1, "changes": [{"collection": "nope", "id": "i0"}]},
        {"counter": ann.counter + 4, "h": 1, "changes": [{"collection": "item", "id": "i0",
         "fields": {"nope": 1}}]},
        {"counter": ann.counter + 5, "h": 1, "changes": [{"collection": "item", "id": "/"}]},
        "not even a map",
    ]  # fmt: skip
    ann.counter += len(bad)
    behind = [ann.mutation(insert("item", "behind", title="y"))]
    sent = [*good, *bad, *behind]
    answer = await ann.send(*sent)
    found = outcomes(answer)
    assert sorted(found) == list(range(1, len(sent) + 1))
    assert [found[n] for n in range(4, 10)] == ["quarantined"] * 6
    assert found[10] == "merged"
    again = await ann.send(*sent)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(answer)
    kept = await node.sql("SELECT counter, reason FROM sk_quarantine ORDER BY counter")
    assert [counter for counter, _ in kept] == list(range(4, 10))
    assert [reason for _, reason in kept][1:5] == [
        "wrong-type", "unknown-collection", "unknown-field", "bad-id",
    ]  # fmt: skip
    await node.check()


@pytest.mark.parametrize("year_ms", [0, 1_000, NOW_MS - 10**9, NOW_MS + 10**9, 3_786_912_000_000])
async def test_stamps_are_bounded_in_order_and_stable(node, year_ms):
    """1970, a slow clock, a fast clock, 2090: stamps stay near now, in order, and are replayed."""
    ann = await node.device("ann")
    ann.offset_ms = year_ms - NOW_MS
    made = [ann.mutation(edit("item", "i1", title=str(n))) for n in range(20)]
    made[0] = WireMutation(1, made[0].h, [insert("item", "i1", title="0")])
    answer = await ann.send(*made)
    receipts = [await node.row("item", "i1")]
    stamp = receipts[0].fields["title"][0]
    assert saturated(NOW_MS) - TOLERANCE <= stamp <= saturated(NOW_MS) + TOLERANCE
    assert receipts[0].fields["title"][2] == "19", "the order of the queue is kept"
    if abs(ann.offset_ms) > SKEW_TOLERANCE_MS:
        assert answer.skew != 0
    node.clock.now_ms += 60_000
    before = as_bytes(await node.rows())
    await ann.send(*made)
    assert as_bytes(await node.rows()) == before


async def test_a_jumping_clock_keeps_the_order(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", title="start"))
    stamps = []
    for jump_ms in (-(10**10), 5 * 10**12, -(10**11), 3_000, 0, 10**9):
        h = saturated(NOW_MS + jump_ms)
        await ann.send(ann.mutation(edit("item", "i1", title=str(jump_ms)), h=h), clock=h)
        state = await node.row("item", "i1")
        assert state.fields["title"][2] == str(jump_ms)
        stamps.append(state.fields["title"][0])
        node.clock.now_ms -= 1_000
    assert stamps == sorted(set(stamps))
    assert stamps[-1] <= saturated(NOW_MS) + TOLERANCE + len(stamps)


async def test_each_mutation_of_a_skewed_queue_keeps_its_distance(node):
    """Clamping each change alone would collapse their order (merge.md, section 2)."""
    ann, bob = await node.device("ann"), await node.device("bob")
    far = pack(unix_ms=NOW_MS + 10**10)
    queue = [
        ann.mutation(insert("item", "a", title="a1"), h=far),
        ann.mutation(insert("item", "b", title="a2"), h=far + 1),
        ann.mutation(edit("item", "a", title="a3"), h=far + 2),
    ]
    await ann.send(*queue, clock=far + 3)
    rows = await node.rows()
    assert rows["item", "a"].fields["title"][0] > rows["item", "b"].fields["title"][0]
    assert rows["item", "a"].fields["title"][2] == "a3"
    await bob.push(edit("item", "a", title="bob"))
    assert await node.value("item", "a", "title") == "bob", "the future is not owned by anybody"


async def test_an_edit_of_what_was_seen_wins_whatever_the_clock_says(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    ann.offset_ms = SKEW_TOLERANCE_MS - 1_000
    await ann.push(insert("item", "i1", title="ann"))
    await bob.pull()
    bob.offset_ms, bob.last_h = -1_000, 0  # a phone whose clock takes no note of what it reads
    base = bob.versions("item", "i1")
    assert await bob.push(edit("item", "i1", base=base, title="bob")) is None
    assert await node.value("item", "i1", "title") == "bob"
    await ann.push(delete("item", "i1"))
    carol = await node.device("carol")
    await carol.pull()
    seen = carol.replica.rows["item", "i1"].alive[0]
    carol.last_h = 0
    await carol.push(restore("item", "i1", seen=seen))
    assert (await node.row("item", "i1")).is_alive, "a restore of a seen delete wins too"


async def test_group_commit_equals_one_by_one(tmp_path):
    """Many devices in one commit, or each alone, in the same order: the same rows and outcomes."""
    found = []
    for index, together in enumerate((True, False)):
        async with running(tmp_path / str(index)) as node:
            devices = [await node.device(f"p{n}") for n in range(6)]
            pushes = [
                [
                    device.mutation(
                        insert("item", f"shared-{n % 2}", title=f"{device.number}-{n}")
                    ),
                    device.mutation(insert("folder", f"f{device.number}-{n}", name=f"name {n}")),
                    device.mutation(
                        edit("item", f"shared-{n % 2}", visits={"add": 1}, stock={"use": 1})
                    ),
                ]
                for n, device in enumerate(devices)
            ]
            sends = [
                device.send(*made, clock=saturated(NOW_MS))
                for device, made in zip(devices, pushes, strict=True)
            ]
            if together:
                answers = await asyncio.gather(*sends)
                assert node.tenant.ingest._queued_mutations == 0
            else:
                answers = [await send for send in sends]
            rows = await node.rows()
            for state in rows.values():
                state.sequence = 0
            found.append((as_bytes(rows), [outcomes(answer) for answer in answers]))
            await node.check()
    assert found[0] == found[1]


async def test_the_second_mutation_of_a_push_sees_the_first(node):
    ann = await node.device("ann")
    answer = await ann.send(
        ann.mutation(insert("item", "i1", title="a", status="paid")),
        ann.mutation(edit("item", "i1", title="b")),
        ann.mutation(edit("item", "i1", visits={"add": 1})),
        ann.mutation(edit("item", "i1", title="crash", status=[1, "draft"])),
    )
    assert outcomes(answer) == {1: "merged", 2: "rejected", 3: "merged", 4: "rejected"}
    assert [receipt.code for receipt in answer.receipts] == ["paid", "paid"]
    reopened = await ann.push(edit("item", "i1", status=[1, "draft"]))
    assert reopened is None
    crash = await ann.push(edit("item", "i1", title="crash"))
    assert crash is not None
    assert crash.code == "rule-failed"
    assert await node.value("item", "i1", "title") == "a"


async def test_a_mutation_of_many_rows_stands_or_falls_together(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", title="a", stock={"add": 1}))
    receipt = await ann.push(
        edit("item", "i1", title="b"),
        insert("item", "i2", title="new"),
        edit("item", "i1", stock={"use": 5}),
    )
    assert receipt is not None
    assert (receipt.outcome, receipt.code) == ("rejected", "escrow-exhausted")
    assert await node.value("item", "i1", "title") == "a"
    assert ("item", "i2") not in await node.rows()
    assert await ann.push(edit("item", "i1", title="b"), insert("item", "i2")) is None
    await node.check()


async def test_policies_decide(node):
    ann, rita = await node.device("ann"), await node.device("rita", role="reader")
    eve = await node.device("eve", role=None)
    await ann.push(insert("item", "i1", title="a"))
    for device, change, code in [
        (rita, edit("item", "i1", title="b"), "forbidden"),
        (eve, edit("item", "i1", title="b"), "row-missing"),
        (eve, insert("item", "i9"), "row-missing"),
        (eve, edit("item", "none", title="b"), "row-missing"),
        (ann, edit("item", "i1", secret="x"), "field-forbidden"),
        (ann, insert("salary", "s1", amount=1), "row-missing"),
        (ann, insert("item", "i1", "south"), "row-missing"),
        (ann, insert("desk", "d1"), "row-missing"),
    ]:
        receipt = await device.push(change)
        assert receipt is not None
        assert (receipt.outcome, receipt.code) == ("rejected", code)


async def test_a_full_disk_takes_nothing_and_loses_nothing(node):
    ann = await node.device("ann")
    mutation = ann.mutation(insert("item", "i1", visits={"add": 1}))
    node.database.fail_next_commit = StorageFull("no room")
    with pytest.raises(StorageFull):
        await ann.send(mutation)
    assert await node.rows() == {}
    assert outcomes(await ann.send(mutation)) == {1: "merged"}
    assert await node.value("item", "i1", "visits") == 1


async def test_the_sequence_counts_every_row_write_without_gaps(node):
    ann = await node.device("ann")
    (start,) = (await node.sql("SELECT value FROM sk_meta WHERE key = 'sequence'"))[0]
    for n in range(5):
        await ann.push(insert("item", f"a{n}"), insert("item", f"b{n}"))
        await ann.push(edit("item", "missing", title="rejected"))
    sequences = sorted(state.sequence for state in (await node.rows()).values())
    assert sequences == list(range(int(start) + 1, int(start) + 11))


async def test_operations_carry_what_they_may(node):
    ann = await node.device("ann")
    await ann.push(insert("item", "i1"))
    receipt = await ann.push(WireChange("item", "i1", "delete", fields={"title": "x"}))
    assert receipt is not None
    assert (receipt.outcome, receipt.code) == ("quarantined", "fields-not-allowed")
    twice = await ann.push(edit("item", "i1", title="a"), edit("item", "i1", title="b"))
    assert twice is not None
    assert twice.code == "field-repeated"


async def test_a_mutation_may_insert_and_delete(node):
    ann = await node.device("ann")
    assert await ann.push(insert("item", "i1", title="a"), delete("item", "i1")) is None
    state = await node.row("item", "i1")
    assert not state.is_alive
    assert state.fields["title"][2] == "a"
    await node.check()
