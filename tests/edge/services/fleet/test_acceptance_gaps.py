"""A node that may be behind tells a device once of a gap: told twice, it would become a new one."""

import pytest

from edge.errors import CounterGap, Unavailable
from tests.edge.services.fleet.primary import edge_of
from tests.edge.services.harness import insert, outcomes


@pytest.fixture
async def edge(tmp_path):
    async with edge_of(tmp_path) as opened:
        opened.primary.is_away = True
        yield opened


@pytest.fixture
async def ann(edge):
    return await edge.device("ann")


def some(device, count):
    return [device.mutation(insert("item", f"i{device.counter}")) for _ in range(count)]


async def test_what_cannot_be_filled_is_a_matter_for_later(edge, ann):
    elsewhere, here = some(ann, 3), some(ann, 2)
    with pytest.raises(CounterGap) as gap:
        await edge.push(ann, *here)
    assert gap.value.merged_through == 0
    for _ in range(3):
        with pytest.raises(Unavailable):
            await edge.push(ann, *here)
    await edge.replicate(ann, *elsewhere)
    assert outcomes(await edge.push(ann, *here)) == {4: "accepted", 5: "accepted"}


async def test_another_gap_is_told_and_so_is_the_next_one_after_it_was_filled(edge, ann):
    mutations = some(ann, 6)
    with pytest.raises(CounterGap):
        await edge.push(ann, *mutations[1:])
    await edge.push(ann, *mutations[:2])
    with pytest.raises(CounterGap) as gap:
        await edge.push(ann, *mutations[4:])
    assert gap.value.merged_through == 2
    await edge.push(ann, *mutations[2:])
    assert await edge.waiting(ann) == [1, 2, 3, 4, 5, 6]
