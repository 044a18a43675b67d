"""Writes at an edge: judged by the primary, or accepted durably, in each device's order."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import msgspec
import pytest

from core.ids import PersonId, TenantId
from edge.errors import (
    ClonedDevice,
    CounterGap,
    Forbidden,
    Overloaded,
    Unavailable,
    UnknownDevice,
    UnknownTenant,
)
from edge.services.session import Principal
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.push import Push
from sync_protocol.version import PROTOCOL_VERSION
from tests.edge.services.fleet.primary import edge_of, encode
from tests.edge.services.harness import Device, insert, outcomes, principal_of

NAMELESS = msgspec.Raw(encode({"h": "not a clock"}))


@pytest.fixture
async def edge(tmp_path):
    async with edge_of(tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(edge):
    return await edge.device("ann")


def some(device, count):
    return [device.mutation(insert("item", f"i{device.counter}")) for _ in range(count)]


async def test_the_primary_judges_while_it_answers(edge, ann):
    answer = await edge.push(ann, *some(ann, 2))
    assert outcomes(answer) == {1: "merged", 2: "merged"}
    edge.primary.refusals[ann.number] = Forbidden("Not in this region.")
    with pytest.raises(Forbidden):
        await edge.push(ann, *some(ann, 1))
    assert await edge.waiting(ann) == []
    assert edge.told == []
    assert (edge.relay.counts.relayed, edge.relay.accepted) == (1, 0)


async def test_without_the_primary_a_push_is_accepted_and_durable(edge, ann):
    edge.primary.is_away = True
    first = some(ann, 3)
    answer = await edge.push(ann, *first)
    assert outcomes(answer) == dict.fromkeys((1, 2, 3), "accepted")
    assert (answer.merged_through, answer.receipts[0].sequence) == (0, 0)
    assert answer.database == "", "nothing of it is final"
    assert edge.told == ["main"]
    assert edge.relay.accepted == 3
    await edge.outbox.close()
    await edge.open()
    kept = await edge.outbox.of_device("main", ann.number)
    assert [entry.payload for entry in kept] == [encode(mutation) for mutation in first]
    assert {entry.accepted_ms for entry in kept} == {edge.replica.clock.now_ms}
    assert {entry.clock for entry in kept} == {ann.last_h}


async def test_nothing_overtakes_what_waits(edge, ann):
    ben = await edge.device("ben")
    edge.primary.is_away = True
    await edge.push(ann, *some(ann, 2))
    edge.primary.is_away = False
    assert outcomes(await edge.push(ann, *some(ann, 1))) == {3: "accepted"}
    assert outcomes(await edge.push(ben, *some(ben, 1))) == {1: "merged"}
    assert edge.primary.calls == [(ben.number, [1])]
    assert await edge.waiting(ann) == [1, 2, 3]


async def test_pushes_of_one_device_take_turns_and_survive_their_callers(edge, ann):
    edge.primary.gate.clear()
    edge.primary.is_away = True
    pushes = [asyncio.create_task(edge.push(ann, *some(ann, 4))) for _ in range(4)]
    while edge.primary.asked == 0:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    for push in pushes[:2]:
        push.cancel()
    edge.primary.gate.set()
    for push in pushes:
        with suppress(asyncio.CancelledError):
            await push
    assert await edge.waiting(ann) == list(range(1, 17))
    assert edge.primary.asked == 1


async def test_a_repeat_is_recognised_in_any_form_and_what_is_new_is_taken(edge, ann):
    edge.primary.is_away = True
    mutations = some(ann, 4)
    await edge.push(ann, *mutations[:2])
    answer = await edge.push(ann, *mutations)
    assert outcomes(answer) == dict.fromkeys((1, 2, 3, 4), "accepted")
    assert edge.relay.accepted == 4
    other_form = [
        msgspec.Raw(encode({"changes": plain["changes"], "h": plain["h"], "counter": number}))
        for number, plain in enumerate(map(msgspec.to_builtins, mutations), 1)
    ]
    assert bytes(other_form[0]) != encode(mutations[0])
    assert len((await edge.push(ann, *other_form[1:])).receipts) == 3
    assert await edge.waiting(ann) == [1, 2, 3, 4]
    assert edge.told == ["main", "main"]


async def test_another_payload_under_a_counter_that_waits_here_is_left_to_the_primary(edge, ann):
    edge.primary.is_away = True
    first = some(ann, 3)
    await edge.push(ann, *first)
    ann.counter = 1
    others = some(ann, 3)
    with pytest.raises(Unavailable):  # another node may have accepted these, and drain first
        await edge.push(ann, *others)
    answer = await edge.push(ann, first[0], *others)
    assert outcomes(answer) == {1: "accepted"}
    assert await edge.waiting(ann) == [1, 2, 3]
    kept = await edge.outbox.of_device("main", ann.number)
    assert [entry.payload for entry in kept] == [encode(mutation) for mutation in first]


async def test_a_clone_of_what_the_replica_has_judged_is_one(edge, ann):
    first = some(ann, 3)
    await edge.replicate(ann, *first)
    ann.counter = 0
    others = some(ann, 4)
    edge.primary.is_away = True
    with pytest.raises(ClonedDevice) as clone:
        await edge.push(ann, *others)
    answer = await edge.push(ann, *first[:2], *others[2:])
    assert outcomes(answer) == {1: "merged", 2: "merged"}
    read = edge.replica.tenant.database.read
    database = await read(lambda unit: unit.meta.get("database"))
    assert answer.database == clone.value.database == database
    assert await edge.waiting(ann) == []


async def test_a_gap_is_told_with_what_is_known(edge, ann):
    edge.primary.is_away = True
    await edge.replicate(ann, *some(ann, 2))
    mutations = some(ann, 8)
    with pytest.raises(CounterGap) as gap:
        await edge.push(ann, *mutations[1:])
    database = await edge.replica.tenant.database.read(lambda unit: unit.meta.get("database"))
    assert (gap.value.merged_through, gap.value.database) == (2, database)
    with pytest.raises(CounterGap):
        await edge.push(ann, mutations[0], mutations[2])
    await edge.push(ann, *mutations[:3])
    with pytest.raises(CounterGap) as gap:
        await edge.push(ann, *mutations[4:])
    assert gap.value.merged_through == 5
    assert await edge.waiting(ann) == [3, 4, 5]


async def test_what_the_replica_has_judged_has_its_receipt(edge, ann):
    known = some(ann, 2)
    await edge.replicate(ann, *known)
    edge.primary.is_away = True
    answer = await edge.push(ann, *known)
    assert outcomes(answer) == {1: "merged", 2: "merged"}
    assert (answer.merged_through, edge.told) == (2, [])
    answer = await edge.push(ann, *known, *some(ann, 2))
    assert outcomes(answer) == {1: "merged", 2: "merged", 3: "accepted", 4: "accepted"}
    assert await edge.waiting(ann) == [3, 4]


async def test_malformed_mutations_wait_in_their_place(edge, ann):
    edge.primary.is_away = True
    head, tail = some(ann, 1), some(ann, 2)[1:]
    answer = await edge.push(ann, *head, NAMELESS, *tail)
    assert outcomes(answer) == dict.fromkeys((1, 2, 3), "accepted")
    assert outcomes(await edge.push(ann, NAMELESS)) == {4: "accepted"}
    assert outcomes(await edge.push(ann, NAMELESS)) == {4: "accepted"}
    ann.counter = 5
    answer = await edge.push(ann, msgspec.Raw(encode({"x": 1})), *some(ann, 1))
    assert outcomes(answer) == {5: "accepted", 6: "accepted"}
    entries = await edge.outbox.batch("main", ann.number, mutations_max=100, bytes_max=1_000_000)
    edge.primary.is_away = False
    judged = outcomes(await edge.primary.relay(entries))
    assert judged == {
        1: "merged", 2: "quarantined", 3: "merged",
        4: "quarantined", 5: "quarantined", 6: "merged",
    }  # fmt: skip


async def test_a_device_the_replica_does_not_know_is_the_primary_s_to_decide(edge, ann):
    zoe = await edge.primary.harness.device("zoe")
    assert outcomes(await edge.push(zoe, *some(zoe, 1))) == {1: "merged"}
    edge.primary.is_away = True
    with pytest.raises(Unavailable):
        await edge.push(zoe, *some(zoe, 1))
    assert await edge.waiting(zoe) == []


async def test_a_device_a_real_replica_has_not_got_yet_is_the_primary_s_to_decide_too(edge, ann):
    # A replica does not say "unknown" of what it may only lack so far.
    edge.replica.tenant.devices._standing = SimpleNamespace(is_replica=True)
    zoe = await edge.primary.harness.device("zoe")
    assert outcomes(await edge.push(zoe, *some(zoe, 1))) == {1: "merged"}
    edge.is_silent = True
    with pytest.raises(Unavailable):
        await edge.push(zoe, *some(zoe, 1))
    assert (edge.primary.asked, await edge.waiting(zoe)) == (1, [])


async def test_a_stranger_s_device_number_accepts_nothing(edge, ann):
    await edge.device("eve")
    edge.primary.is_away = True
    await edge.push(ann, *some(ann, 1))
    with pytest.raises(Unavailable):
        await edge.push(ann, *some(ann, 1), person="eve")
    edge.primary.is_away = False
    with pytest.raises(UnknownDevice):
        await edge.push(ann, *some(ann, 1), person="eve")
    assert await edge.waiting(ann) == [1]


async def test_nothing_is_accepted_for_a_tenant_without_a_replica(edge, ann):
    edge.primary.is_away = True
    stranger = Principal(TenantId("elsewhere"), PersonId("ann"), frozenset(), 2**40)
    with pytest.raises(UnknownTenant):
        await edge.relay.push(stranger, "", edge.push_of(ann, *some(ann, 1)))
    assert await edge.outbox.depth() == (0, 0, 0)


async def test_a_full_outbox_refuses_whole_pushes(tmp_path):
    async with edge_of(tmp_path, mutations_max=3) as edge:
        ann = await edge.device("ann")
        edge.primary.is_away = True
        await edge.push(ann, *some(ann, 2))
        refused = some(ann, 2)
        with pytest.raises(Overloaded) as error:
            await edge.push(ann, *refused)
        assert error.value.retry_after_ms
        assert outcomes(await edge.push(ann, refused[0])) == {3: "accepted"}
        assert await edge.waiting(ann) == [1, 2, 3]


async def test_what_a_take_over_has_lost_is_filled_in_below(edge, ann):
    edge.primary.is_away = True
    mutations = some(ann, 20)
    await edge.replicate(ann, *mutations[:4])
    await edge.push(ann, *mutations[4:])
    await edge.outbox.settle("main", ann.number, 10)
    assert await edge.waiting(ann) == list(range(11, 21))
    answer = await edge.push(ann, *mutations[4:8])
    assert outcomes(answer) == dict.fromkeys(range(5, 9), "accepted")
    batch = await edge.outbox.batch("main", ann.number, mutations_max=99, bytes_max=1_000_000)
    assert [entry.counter for entry in batch] == [5, 6, 7, 8]
    with pytest.raises(CounterGap) as gap:
        await edge.push(ann, mutations[9])
    assert gap.value.merged_through == 4
    await edge.push(ann, *mutations[8:])
    assert await edge.waiting(ann) == list(range(5, 21))


async def test_a_device_that_registered_through_this_edge_is_accepted_at_once(edge, ann):
    app = edge.replica.app
    await edge.primary.harness.join("zoe")
    hello = Hello(PROTOCOL_VERSION, app.name, app.version, fingerprint(app), "zoe-phone", 1)
    welcome = await edge.relay.hello(principal_of("zoe"), "", hello)
    zoe = Device(edge.replica, "zoe", "zoe-phone", welcome)
    edge.primary.is_away = True
    assert outcomes(await edge.push(zoe, *some(zoe, 1))) == {1: "accepted"}
    with pytest.raises(Unavailable):
        await edge.push(zoe, *some(zoe, 1), person="ann")
    assert await edge.waiting(zoe) == [1]


async def test_a_push_in_flight_is_given_up_when_the_primary_goes_silent(edge, ann):
    edge.primary.gate.clear()
    push = asyncio.create_task(edge.push(ann, *some(ann, 2)))
    while edge.primary.asked == 0:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0.01)
    edge.is_silent = True
    assert outcomes(await asyncio.wait_for(push, 10)) == {1: "accepted", 2: "accepted"}
    edge.primary.gate.set()
    await asyncio.sleep(0)
    assert edge.primary.calls == []  # what was given up is not judged behind the outbox's back
    assert await edge.waiting(ann) == [1, 2]


async def test_a_silent_primary_is_not_called_at_all(edge, ann):
    app = edge.replica.app
    edge.is_silent = True
    assert outcomes(await edge.push(ann, *some(ann, 1))) == {1: "accepted"}
    hello = Hello(PROTOCOL_VERSION, app.name, app.version, fingerprint(app), "ann-phone", 1)
    assert (await edge.relay.hello(principal_of("ann"), "", hello)).device == ann.number
    zoe = await edge.primary.harness.device("zoe")
    with pytest.raises(Unavailable):
        await edge.push(zoe, *some(zoe, 1))
    assert edge.primary.asked == 0
    assert await edge.waiting(zoe) == []


async def test_an_empty_push_is_answered(edge, ann):
    edge.primary.is_away = True
    answer = await edge.relay.push(
        principal_of("ann"), "", Push(ann.number, 1, ann.schema_version, [])
    )
    assert (answer.receipts, answer.merged, answer.merged_through) == ([], [], 0)


async def test_hello_is_answered_here_only_while_the_primary_is_away(edge, ann):
    app = edge.replica.app
    hello = Hello(PROTOCOL_VERSION, app.name, app.version, fingerprint(app), "ann-phone", 1)
    welcome = await edge.relay.hello(principal_of("ann"), "", hello)
    assert (welcome.device, edge.relay.counts.greeted) == (ann.number, 0)
    edge.primary.is_away = True
    await edge.push(ann, *some(ann, 3))
    welcome = await edge.relay.hello(principal_of("ann"), "", hello)
    assert (welcome.device, welcome.merged_through) == (ann.number, 0)
    assert edge.relay.counts.greeted == 1
    hello.installation = "new"
    with pytest.raises(Unavailable):
        await edge.relay.hello(principal_of("ann"), "", hello)
