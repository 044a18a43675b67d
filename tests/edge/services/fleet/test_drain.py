"""The drain: everything accepted reaches the primary once, in order, and nobody blocks others."""

import asyncio
import json
from time import monotonic

import pytest

from core.clock import unix_ms
from edge.errors import ClonedDevice, Forbidden, SchemaAhead, Unavailable
from edge.services.fleet import drain as draining
from edge.services.fleet.drain import Drain
from tests.edge.services.fleet.primary import edge_of, encode
from tests.edge.services.harness import edit, insert


@pytest.fixture
async def edge(tmp_path):
    async with edge_of(tmp_path) as opened:
        yield opened
        if opened.drain is not None:
            await opened.drain.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(draining, "DELAY_MS_MIN", 1)
    monkeypatch.setattr(draining, "DELAY_MS_MAX", 20)
    monkeypatch.setattr(draining, "IDLE_S", 0.05)


def start(edge):
    edge.settled, edge.refused = [], []
    edge.drain = Drain(
        edge.outbox,
        edge.primary,
        now_ms=edge.replica.clock,
        on_settled=edge.settled.append,
        on_refused=lambda *what: edge.refused.append(what),
    )
    edge.drain.start()
    return edge.drain


async def until(condition):
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0.005)


async def emptied(edge):
    await until(lambda: edge.outbox.count_of("main") == 0)


def inserts(device, count):
    return [
        device.mutation(insert("item", f"{device.person}-{n}", title="t")) for n in range(count)
    ]


async def accepted(edge, *people, count=3):
    """Devices whose mutations wait, one push each."""
    devices = [await edge.device(person) for person in people]
    edge.primary.is_away = True
    for device in devices:
        await edge.push(device, *inserts(device, count))
    edge.primary.is_away = False
    return devices


async def test_everything_arrives_once_and_in_order(edge, monkeypatch):
    monkeypatch.setattr(draining, "BATCH_MUTATIONS_MAX", 7)
    people = [f"p{number}" for number in range(36)]
    devices = await accepted(edge, *people, count=20)
    edge.primary.gate.clear()
    drain = start(edge)
    await until(lambda: edge.primary.under_way == draining.DEVICES_AT_ONCE)
    await asyncio.sleep(0.05)
    edge.primary.gate.set()
    await emptied(edge)
    for device in devices:
        counters = [
            n for number, batch in edge.primary.calls if number == device.number for n in batch
        ]
        assert counters == list(range(1, 21))
    assert edge.primary.most_under_way == draining.DEVICES_AT_ONCE
    await until(lambda: drain.counts.drained == 720)
    assert len(await edge.primary.harness.rows()) == 720
    assert set(edge.settled) == {"main"}
    await edge.primary.harness.check()


async def test_while_the_primary_is_away_one_batch_asks_for_all(edge):
    await accepted(edge, *(f"p{number}" for number in range(12)))
    edge.primary.is_away = True
    start(edge)
    await until(lambda: edge.primary.asked >= 24)
    edge.primary.most_under_way = 0
    before = edge.primary.asked
    await until(lambda: edge.primary.asked >= before + 5)
    assert edge.primary.most_under_way == 1
    assert edge.outbox.count_of("main") == 36
    edge.primary.is_away = False
    await emptied(edge)


async def test_an_open_circuit_is_left_alone(edge, monkeypatch):
    await accepted(edge, "ann")
    asked = edge.primary.asked
    edge.primary.is_open = True
    start(edge)
    for _ in range(10):
        edge.drain.wake()
        await asyncio.sleep(0.01)
    assert edge.primary.asked == asked
    edge.primary.is_open = False
    await emptied(edge)


@pytest.mark.parametrize(("fault", "more"), [(ClonedDevice, {"database": "db"}), (Forbidden, {})])
async def test_a_refused_device_moves_aside_and_others_go_on(edge, fault, more):
    ann, _ = await accepted(edge, "ann", "ben")
    edge.primary.refusals[ann.number] = fault("No.", **more)
    drain = start(edge)
    await emptied(edge)
    assert edge.refused == [("main", ann.number)]
    assert (drain.counts.refused, drain.counts.drained) == (3, 3)
    rows = await edge.outbox._engine.read(
        lambda sql: sql.all("SELECT device, counter, reason FROM ob_refused ORDER BY id")
    )
    assert rows == [(ann.number, n, str(fault.fault)) for n in (1, 2, 3)]
    assert {row for _, row in await edge.primary.harness.rows()} == {"ben-0", "ben-1", "ben-2"}


async def test_a_gap_parks_a_device_until_its_phone_has_filled_it(edge, monkeypatch):
    monkeypatch.setattr(draining, "PARKED_S", 0.2)
    ann, ben = await accepted(edge, "ann", "ben", count=10)
    await edge.outbox.settle("main", ann.number, 6)  # a primary that is gone had judged these
    drain = start(edge)
    await until(lambda: edge.outbox.count_of("main") == 4 and drain.parked == 1)
    assert edge.outbox.waiting("main", ben.number) is None
    again = [insert("item", f"ann-{n}", title="t") for n in range(6)]
    ann.counter = 0
    edge.primary.is_away = True
    await edge.push(ann, *(ann.mutation(change) for change in again))
    edge.primary.is_away = False
    drain.wake()
    await emptied(edge)
    assert len(await edge.primary.harness.rows()) == 20


async def test_a_gap_that_nobody_fills_ends_and_the_phone_is_told(edge, monkeypatch):
    monkeypatch.setattr(draining, "PARKED_S", 0.02)
    ann, ben = await accepted(edge, "ann", "ben", count=10)
    await edge.outbox.settle("main", ann.number, 6)  # a primary that was set back had judged these
    drain = start(edge)
    await emptied(edge)
    assert edge.refused == [("main", ann.number)]
    assert (drain.counts.refused, drain.counts.drained) == (4, 10)
    assert edge.outbox.waiting("main", ben.number) is None


async def test_a_newer_schema_waits_for_the_primary_s_upgrade(edge, monkeypatch):
    monkeypatch.setattr(draining, "PARKED_S", 0.05)
    (ann,) = await accepted(edge, "ann")
    edge.primary.refusals[ann.number] = SchemaAhead("Upgrade first.")
    drain = start(edge)
    await until(lambda: drain.parked == 1)  # it waits alone: nobody else is held up
    await until(lambda: drain.counts.failures >= 2)
    assert await edge.waiting(ann) == [1, 2, 3]
    del edge.primary.refusals[ann.number]
    await emptied(edge)


async def test_a_failure_nobody_foresaw_is_one_device_s_own(edge):
    ann, ben = await accepted(edge, "ann", "ben")
    edge.primary.refusals[ann.number] = RuntimeError("a bug")
    drain = start(edge)
    await until(lambda: edge.outbox.waiting("main", ben.number) is None)
    await until(lambda: drain.parked == 1)
    assert await edge.waiting(ann) == [1, 2, 3]


async def test_another_token_makes_another_batch_in_order(edge):
    (ann,) = await accepted(edge, "ann")
    entries = await edge.outbox.of_device("main", ann.number)
    claims = json.loads(entries[0].principal) | {"expires": 2**41}
    more = inserts(ann, 2)
    later = [
        type(entries[0])(
            0, entries[0].tenant, ann.number, mutation.counter, 1, ann.last_h,
            json.dumps(claims).encode(), encode(mutation), edge.replica.clock.now_ms,
        )
        for mutation in more
    ]  # fmt: skip
    await edge.outbox.append(later)
    start(edge)
    await emptied(edge)
    assert edge.primary.calls == [(ann.number, [1, 2, 3]), (ann.number, [4, 5])]


async def test_what_was_relayed_and_not_settled_is_a_harmless_repeat(edge):
    (ann,) = await accepted(edge, "ann")
    await edge.push(ann, ann.mutation(edit("item", "ann-0", visits={"add": 5})))
    settle, edge.outbox.settle = edge.outbox.settle, None
    hangs = asyncio.Event()

    async def killed_before(*_):
        hangs.set()
        await asyncio.Event().wait()

    edge.outbox.settle = killed_before
    drain = start(edge)
    await hangs.wait()
    await drain.close()
    edge.outbox.settle = settle
    assert await edge.waiting(ann) == [1, 2, 3, 4]
    start(edge)
    await emptied(edge)
    assert edge.primary.calls == [(ann.number, [1, 2, 3, 4])] * 2
    assert await edge.primary.harness.value("item", "ann-0", "visits") == 5


async def test_an_outage_does_not_move_times(edge):
    await accepted(edge, "ann")
    ben = await edge.device("ben")
    ben.offset_ms = -600_000
    edge.primary.is_away = True
    await edge.push(ben, *inserts(ben, 1))
    edge.primary.is_away = False
    written_ms = edge.replica.clock.now_ms
    edge.replica.clock.now_ms += 3_600_000
    edge.primary.harness.clock.now_ms = edge.replica.clock.now_ms
    start(edge)
    await emptied(edge)
    for row in ("ann-0", "ben-0"):
        state = await edge.primary.harness.row("item", row)
        assert abs(unix_ms(state.fields["title"][0]) - written_ms) < 100, row


async def test_a_clone_is_settled_as_far_as_it_was_answered(edge):
    ann = await edge.device("ann")
    shared = inserts(ann, 2)
    await edge.primary.harness.tenant.ingest.push(
        ann.session, edge.push_of(ann, *shared), [*shared]
    )
    ann.counter = 2
    theirs = ann.mutation(insert("item", "theirs"))
    await edge.primary.harness.tenant.ingest.push(ann.session, edge.push_of(ann, theirs), [theirs])
    ann.counter = 2
    edge.primary.is_away = True
    await edge.push(ann, *shared, *[ann.mutation(insert("item", f"own-{n}")) for n in range(2)])
    edge.primary.is_away = False
    drain = start(edge)
    await emptied(edge)
    assert (drain.counts.drained, drain.counts.refused) == (2, 2)
    assert ("item", "own-0") not in await edge.primary.harness.rows()


async def test_the_oldest_device_goes_first_and_each_gets_one_batch_a_round(edge, monkeypatch):
    monkeypatch.setattr(draining, "DEVICES_AT_ONCE", 1)
    monkeypatch.setattr(draining, "BATCH_MUTATIONS_MAX", 2)
    ann, ben = await accepted(edge, "ann", "ben", count=4)
    start(edge)
    await emptied(edge)
    a, b = ann.number, ben.number
    assert edge.primary.calls == [(a, [1, 2]), (b, [1, 2]), (a, [3, 4]), (b, [3, 4])]


async def test_an_answer_without_receipts_ends_in_waiting(edge, monkeypatch):
    (ann,) = await accepted(edge, "ann")
    judged = edge.primary._judged

    async def nothing(principal, push):
        answer = await judged(principal, push)
        answer.merged, answer.receipts = [], []
        return answer

    monkeypatch.setattr(edge.primary, "_judged", nothing)
    drain = start(edge)
    await until(lambda: drain.parked == 1)
    await asyncio.sleep(0.1)
    assert len(edge.primary.calls) == 1
    assert await edge.waiting(ann) == [1, 2, 3]


async def test_failures_under_way_together_count_once(edge):
    await accepted(edge, *(f"p{number}" for number in range(8)))
    drain = start(edge)
    edge.primary.is_away = True
    await until(lambda: drain.counts.failures >= 8)
    assert drain._failures <= 3
    with pytest.raises(Unavailable):
        await edge.primary.hello(None, "", None)
