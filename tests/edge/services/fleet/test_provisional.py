"""Provisional sets: whoever may read the row sees it, nobody else; nothing vanishes in between."""

import asyncio
from time import monotonic

import msgspec
import pytest

from core.ids import DeviceNumber, TenantId
from edge.services.fleet import provisional
from edge.services.fleet.provisional import ProvisionalSets
from edge.services.session import DeviceSession
from sync_protocol import limits
from tests.edge.services.fleet.primary import edge_of, encode
from tests.edge.services.harness import delete, edit, insert, principal_of

MAIN = TenantId("main")


@pytest.fixture
async def edge(tmp_path):
    async with edge_of(tmp_path) as opened:
        opened.primary.is_away = True
        opened.news = []
        opened.sets = ProvisionalSets(
            opened.replica.app, opened.outbox, on_changed=lambda _: opened.news.append(monotonic())
        )
        opened.relay._on_accepted = opened.sets.changed
        yield opened
        opened.sets.close()


async def shown(edge, device):
    """What a device is shown: (author, counter) to the rows it names."""
    session = DeviceSession(
        principal_of(device.person), DeviceNumber(device.number), device.schema_version
    )
    found = await edge.sets.of_tenant(MAIN).of(session, edge.replica.tenant.database)
    return {(m.device, m.counter): [change.id for change in m.changes] for m in found}


async def member(edge, person, space, role="member"):
    for harness in (edge.primary.harness, edge.replica):
        await harness.join(person, space, role)


async def test_others_see_what_they_may_read_and_authors_do_not_see_their_own(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, ann.mutation(insert("item", "a", title="new")))
    await edge.push(ann, ann.mutation(edit("item", "a", title="newer")))
    assert await shown(edge, ben) == {(ann.number, 1): ["a"], (ann.number, 2): ["a"]}
    assert await shown(edge, ann) == {}


async def test_nothing_of_another_space_is_shown(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await member(edge, "ann", "south")
    await edge.replicate(ann, ann.mutation(insert("item", "old", space="south")))
    both = ann.mutation(edit("item", "old", title="hidden"), insert("item", "open", title="shown"))
    await edge.push(
        ann,
        both,
        ann.mutation(insert("item", "secret", space="south", title="hidden")),
        ann.mutation(edit("item", "secret", title="hidden")),
        ann.mutation(delete("item", "old")),
        ann.mutation(edit("item", "nowhere", title="hidden")),
    )
    assert await shown(edge, ben) == {(ann.number, 2): ["open"]}
    zoe = await edge.device("zoe", role=None)
    assert await shown(edge, zoe) == {}
    await member(edge, "zoe", "south")
    assert await shown(edge, zoe) == {
        (ann.number, 2): ["old"], (ann.number, 3): ["secret"],
        (ann.number, 4): ["secret"], (ann.number, 5): ["old"],
    }  # fmt: skip


async def test_a_collection_that_a_role_may_not_read_is_not_shown(edge):
    boss, ann = await edge.device("boss", role="lead"), await edge.device("ann")
    other = await edge.device("other", role="lead")
    await edge.push(
        boss, boss.mutation(insert("salary", "s", amount=7), insert("item", "i", title="x"))
    )
    assert await shown(edge, ann) == {(boss.number, 1): ["i"]}
    assert await shown(edge, other) == {(boss.number, 1): ["s", "i"]}


async def test_an_author_who_is_not_in_the_space_is_not_shown(edge):
    ann, eve = await edge.device("ann"), await edge.device("eve", role=None)
    await edge.replicate(ann, ann.mutation(insert("item", "old")))
    await edge.push(
        eve,
        eve.mutation(insert("item", "spam")),
        eve.mutation(edit("item", "old", title="spam")),
        eve.mutation(insert("salary", "s", amount=1)),
    )
    assert await shown(edge, ann) == {}


async def test_whoever_leaves_a_space_is_shown_nothing_of_it_any_more(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, ann.mutation(insert("item", "a")))
    assert len(await shown(edge, ben)) == 1
    await edge.replica.tenant.members.remove("north", "ben")
    assert await shown(edge, ben) == {}


async def test_what_can_only_be_quarantined_is_left_out(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(
        ann,
        ann.mutation(insert("item", "a", price="not a number")),
        ann.mutation(insert("nothing", "a")),
        msgspec.Raw(encode({"counter": 3})),
    )
    ann.counter = 3
    await edge.push(ann, ann.mutation(insert("item", "b")))
    assert await shown(edge, ben) == {(ann.number, 4): ["b"]}


async def test_what_the_replica_holds_is_left_out_and_what_it_awaits_stays(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    mutations = [ann.mutation(insert("item", f"a{n}")) for n in range(3)]
    await edge.push(ann, *mutations)
    assert len(await shown(edge, ben)) == 3
    await edge.outbox.settle("main", ann.number, 2)
    edge.sets.changed(MAIN)
    assert len(await shown(edge, ben)) == 3
    await edge.replicate(ann, *mutations[:2])
    assert await shown(edge, ben) == {(ann.number, 3): ["a2"]}


async def test_what_the_replica_does_not_get_goes_after_a_while(edge, monkeypatch):
    monkeypatch.setattr(provisional, "LINGER_S", 0.2)
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, ann.mutation(insert("item", "a")))
    assert len(await shown(edge, ben)) == 1
    await edge.outbox.settle("main", ann.number, 1)
    edge.sets.changed(MAIN)
    assert len(await shown(edge, ben)) == 1
    await asyncio.sleep(0.15)
    told = len(edge.news)
    await asyncio.sleep(0.15)
    assert len(edge.news) == told + 1
    assert await shown(edge, ben) == {}


async def test_what_is_refused_goes_at_once(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, ann.mutation(insert("item", "a")))
    await edge.push(ben, ben.mutation(insert("item", "b")))
    zoe = await edge.device("zoe")
    assert len(await shown(edge, zoe)) == 2
    await edge.outbox.refuse("main", ann.number, 1, reason="cloned-device", now_ms=1)
    edge.sets.refused(MAIN, ann.number)
    assert await shown(edge, zoe) == {(ben.number, 1): ["b"]}


async def test_sets_are_bounded_and_begin_with_the_oldest(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, *(ann.mutation(insert("item", f"a{n}")) for n in range(600)))
    found = await shown(edge, ben)
    assert len(found) == limits.PROVISIONAL_MUTATIONS_MAX
    assert min(found)[1] == 1
    zoe = await edge.device("zoe")
    await edge.outbox.settle("main", ann.number, 600)
    edge.sets.refused(MAIN, ann.number)
    large = [ben.mutation(insert("item", f"b{n}", title="x" * 60_000)) for n in range(9)]
    await edge.push(ben, *large)
    assert len(await shown(edge, zoe)) == limits.PROVISIONAL_BYTES_MAX // 60_000


async def test_entries_are_decoded_once_for_all_streams(edge, monkeypatch):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, *(ann.mutation(insert("item", f"a{n}")) for n in range(50)))
    decoded = []
    one = edge.sets.of_tenant(MAIN)
    decode = one._decoded
    monkeypatch.setattr(one, "_decoded", lambda entry: (decoded.append(entry), decode(entry))[1])
    everybody = await asyncio.gather(*(shown(edge, ben) for _ in range(100)))
    assert {len(found) for found in everybody} == {50}
    assert len(decoded) == 50
    await edge.push(ann, ann.mutation(insert("item", "more")))
    assert len(await shown(edge, ben)) == 51
    assert len(decoded) == 51


async def test_news_are_told_ten_times_a_second_at_most(edge):
    ann = await edge.device("ann")
    started = monotonic()
    for number in range(60):
        await edge.push(ann, ann.mutation(insert("item", f"a{number}")))
    await asyncio.sleep(0.25)
    lasted = monotonic() - started
    assert 2 <= len(edge.news) <= lasted / provisional.NEWS_S + 2
    assert all(b - a > 0.09 for a, b in zip(edge.news, edge.news[1:], strict=False))
    told = len(edge.news)
    await asyncio.sleep(0.15)
    assert len(edge.news) == told


async def test_a_set_of_before_the_start_is_there_after_it(edge):
    ann, ben = await edge.device("ann"), await edge.device("ben")
    await edge.push(ann, ann.mutation(insert("item", "a")))
    edge.sets = ProvisionalSets(edge.replica.app, edge.outbox, on_changed=lambda _: None)
    assert await shown(edge, ben) == {(ann.number, 1): ["a"]}
