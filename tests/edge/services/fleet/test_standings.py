"""Whether a node's database is the fleet's present one, as a primary and as an edge know it."""

import asyncio
from typing import Any

import pytest

from core.ids import TenantId
from edge.errors import Unavailable
from edge.services.fleet import standings
from edge.services.fleet.hearing import Hearing
from edge.services.fleet.lag import Lag, Position
from edge.services.fleet.messages import ReportBody
from edge.services.fleet.standings import EdgeStanding, PrimaryStanding

MAIN = TenantId("main")
NONE: Any = None


class World:
    """An edge's standing, and what its primary answers to reports."""

    def __init__(self):
        self.ms = 1_000
        self.lag = Lag(lambda: self.ms)
        self.standing = EdgeStanding(MAIN, NONE, NONE, self.lag, accepted=NONE, wait_s=0)

    def hear(self, database, *, sent_ms):
        self.lag.heard({"main": Position(database, 7)}, at_ms=sent_ms)


@pytest.fixture
def world():
    return World()


async def asked(world):
    """Ask whether `d1` is the present database; the question is put when this returns."""
    question = asyncio.create_task(world.standing.is_present("d1"))
    await asyncio.sleep(0)
    assert not question.done()
    return question


@pytest.mark.parametrize(("database", "is_present"), [("d1", True), ("d2", False)])
async def test_an_edge_believes_what_the_primary_says_after_the_question(
    world, database, is_present
):
    world.hear("d1", sent_ms=1_000)
    question = await asked(world)
    world.ms += 250
    world.hear(database, sent_ms=1_250)
    assert await question is is_present


async def test_an_answer_to_an_earlier_report_settles_nothing(world, monkeypatch):
    monkeypatch.setattr(standings, "PRESENT_SECONDS_MAX", 0.1)
    question = await asked(world)
    world.ms += 250
    world.hear("d1", sent_ms=1_000)
    assert await question is False


async def test_without_its_primary_an_edge_does_not_know(world, monkeypatch):
    monkeypatch.setattr(standings, "PRESENT_SECONDS_MAX", 0)
    assert await world.standing.is_present("d1") is False


async def test_a_tenant_that_the_primary_does_not_name_has_no_database(world):
    question = await asked(world)
    world.ms += 250
    world.lag.heard({}, at_ms=1_250)
    assert await question is False


async def test_a_primary_in_doubt_has_no_present_database_and_answers_no_report():
    doubts: list[bool] = []
    primary = PrimaryStanding(
        MAIN, NONE, database=lambda _tenant: "d1", is_in_doubt=lambda: bool(doubts)
    )
    assert await primary.is_present("d1")
    doubts.append(True)
    assert not await primary.is_present("d1")

    class Leading:
        is_in_doubt = True

        async def heard_epoch(self, epoch):
            assert epoch == 3

    leading, reports = Leading(), object()
    hearing = Hearing(NONE, leading, reports, now_ms=lambda: 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(Unavailable, match="any more"):
        await hearing.report(NONE, ReportBody(3))
