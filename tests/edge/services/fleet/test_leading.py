"""Who leads: claims, hand-over and take-over, L1 to L3, L5."""

import asyncio
from typing import Any

import pytest

from core.fleet import Leadership, NodeEntry, NodeState, Role
from edge.errors import Conflict, NotFound, Unavailable
from edge.services.fleet import leading
from edge.services.fleet.leading import Leading, LeadingParts
from edge.services.fleet.peers import PeerStatus


def entry(name, state=NodeState.JOINED):
    return NodeEntry(name, "", f"http://{name}", f"grpc://{name}", state, 0)


class Peers:
    """Other nodes: `up` answer with their status."""

    def __init__(self):
        self.up = {}
        self.announced = []
        self.vaults = []
        self.answer = None

    async def statuses(self, peers):
        return {peer.node: self.up[peer.node] for peer in peers if peer.node in self.up}

    async def status(self, peer):
        if peer.node not in self.up:
            raise Unavailable("planned")
        return self.up[peer.node]

    async def announce(self, peer, claim):
        if peer.node not in self.up:
            raise Unavailable("planned")
        self.announced.append((peer.node, claim))
        return self.answer or claim

    async def give_vault(self, peer, content):
        self.vaults.append((peer.node, content))


class Fleet:
    """One node under test, and what it does to itself."""

    def __init__(self, role, *, epoch=1, leader=None):
        self.peers: Any = Peers()
        self.restarts = []
        self.paused = []
        self.fenced = []
        self.commits = {"control": 3, "t-main": 7}
        self.missing = []
        self.leading = Leading(
            LeadingParts(
                own=entry("own"),
                role=role,
                epoch=epoch,
                nodes=lambda: [
                    entry("own"), entry("ams"), entry("syd"), entry("gone", NodeState.REMOVED),
                ],
                leader=lambda: leader,
                peers=self.peers,
                sequences=lambda: {"main": 10},
                commits=self.own_commits,
                restart=lambda role, claim: self.restarts.append((role, claim)),
                pause=self.paused.append,
                fence_out=self.fence_out,
                vault=self.vault,
                missing=self.own_missing,
            )
        )  # fmt: skip

    async def own_commits(self):
        return self.commits

    async def own_missing(self):
        return self.missing

    async def fence_out(self, epoch):
        self.fenced.append(epoch)

    async def vault(self):
        return b"vault"

    def is_up(self, name, role=Role.EDGE, *, epoch=1, sequence=10, commits=None):
        self.peers.up[name] = PeerStatus(
            name, role, epoch, {"main": sequence}, commits or dict(self.commits), {}, ""
        )


OLD = Leadership(1, "ams", "http://ams", "grpc://ams")


def claim(epoch, name):
    return Leadership(epoch, name, f"http://{name}", f"grpc://{name}")


async def test_a_primary_that_hears_of_a_higher_epoch_is_fenced_and_steps_down():
    fleet = Fleet(Role.PRIMARY)
    assert not fleet.leading.is_in_doubt
    assert await fleet.leading.hear(claim(2, "syd")) == claim(2, "syd")
    assert fleet.leading.is_in_doubt
    assert fleet.paused == [True]
    assert fleet.fenced == [2]
    assert fleet.restarts == [(Role.EDGE, claim(2, "syd"))]
    await fleet.leading.hear(claim(3, "ams"))
    assert len(fleet.restarts) == 1, "it is leaving already"


@pytest.mark.parametrize("epoch", [0, 1, 3])
async def test_a_primary_keeps_leading_against_older_claims(epoch):
    fleet = Fleet(Role.PRIMARY, epoch=4)
    assert (await fleet.leading.hear(claim(epoch, "syd"))).node == "own"
    assert fleet.restarts == fleet.fenced == []


async def test_an_edge_follows_the_newer_primary_once():
    fleet = Fleet(Role.EDGE, leader=OLD)
    assert await fleet.leading.hear(claim(1, "ams")) == OLD
    assert fleet.restarts == []
    await fleet.leading.hear(claim(2, "syd"))
    assert fleet.restarts == [(Role.EDGE, claim(2, "syd"))]
    assert fleet.fenced == [], "an edge has nothing to fence"


async def test_an_edge_that_is_named_becomes_the_primary():
    fleet = Fleet(Role.EDGE, leader=OLD)
    await fleet.leading.hear(claim(2, "own"))
    assert fleet.restarts == [(Role.PRIMARY, claim(2, "own"))]


async def test_promotion_takes_an_epoch_that_nobody_has_had():
    fleet = Fleet(Role.EDGE, leader=OLD)
    fleet.is_up("syd", epoch=5)
    made = await fleet.leading.promote(force=False)
    assert made.epoch == 6
    assert made.node == "own"
    assert fleet.restarts == [(Role.PRIMARY, made)]


async def test_promotion_is_refused_while_the_primary_answers_or_somebody_is_further():
    fleet = Fleet(Role.EDGE, leader=OLD)
    fleet.is_up("ams", Role.PRIMARY)
    with pytest.raises(Conflict, match="hand over"):
        await fleet.leading.promote(force=False)
    del fleet.peers.up["ams"]
    fleet.is_up("syd", sequence=11)
    with pytest.raises(Conflict, match="syd has read further"):
        await fleet.leading.promote(force=False)
    assert fleet.restarts == []
    await fleet.leading.promote(force=True)
    assert fleet.restarts


async def test_promotion_is_refused_without_a_whole_copy():
    fleet = Fleet(Role.EDGE, leader=OLD)
    fleet.missing = ["t-main"]
    with pytest.raises(Conflict, match="no whole copy of t-main"):
        await fleet.leading.promote(force=False)
    assert fleet.restarts == []
    assert (await fleet.leading.promote(force=True)).node == "own", "an operator may know better"


async def test_nobody_is_made_to_lead_without_the_control_database():
    fleet = Fleet(Role.EDGE, leader=OLD)
    fleet.missing = ["control", "t-main"]
    for force in (False, True):
        with pytest.raises(Conflict, match="no whole copy of control, t-main"):
            await fleet.leading.promote(force=force)
    assert fleet.restarts == []


async def test_the_primary_cannot_be_promoted():
    with pytest.raises(Conflict):
        await Fleet(Role.PRIMARY).leading.promote(force=True)


async def test_a_hand_over_waits_until_the_heir_has_everything():
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams", commits={"control": 3, "t-main": 6})
    handing = asyncio.create_task(fleet.leading.hand_over("ams"))
    await asyncio.sleep(0.1)
    assert fleet.paused == [True], "writes stand"
    assert not handing.done()
    fleet.is_up("ams")
    made = await handing
    assert made == claim(2, "ams")
    assert fleet.peers.vaults == [("ams", b"vault")]
    assert fleet.peers.announced == [("ams", made)]
    assert fleet.fenced == [2]
    assert fleet.restarts == [(Role.EDGE, made)]


async def test_a_hand_over_that_fails_lets_writes_in_again(monkeypatch):
    monkeypatch.setattr(leading, "LEVEL_SECONDS_MAX", 0.1)
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams", commits={"control": 3})
    with pytest.raises(Unavailable, match="t-main"):
        await fleet.leading.hand_over("ams")
    assert fleet.paused == [True, False]
    assert fleet.restarts == fleet.fenced == fleet.peers.vaults == []
    with pytest.raises(NotFound):
        await fleet.leading.hand_over("gone")
    with pytest.raises(Conflict):
        await Fleet(Role.EDGE, leader=OLD).leading.hand_over("ams")


@pytest.mark.parametrize(("epoch", "has_heard"), [(2, True), (1, False)])
async def test_an_heir_whose_answer_is_lost_is_asked_whether_it_has_heard(
    monkeypatch, epoch, has_heard
):
    monkeypatch.setattr(leading, "HEIR_SECONDS_MAX", 0.3)
    monkeypatch.setattr(leading, "ASK_AROUND_DELAY_S", 0.05)
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams")

    async def lost(_peer, _claim):
        fleet.is_up("ams", epoch=epoch)
        raise Unavailable("the connection was reset")

    monkeypatch.setattr(fleet.peers, "announce", lost)
    if has_heard:
        assert await fleet.leading.hand_over("ams") == claim(2, "ams")
        assert (fleet.fenced, fleet.paused) == ([2], [True, True])
    else:
        with pytest.raises(Unavailable, match="reset"):
            await fleet.leading.hand_over("ams")
        assert (fleet.fenced, fleet.paused) == ([], [True, False])


async def test_a_primary_that_comes_back_asks_around_and_steps_down():
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams")
    fleet.is_up("syd", Role.PRIMARY, epoch=3)
    await fleet.leading.ask_around()
    assert fleet.fenced == [3]
    assert fleet.restarts == [(Role.EDGE, claim(3, "syd"))]


async def test_a_primary_that_comes_back_leads_on_when_nobody_else_does(monkeypatch):
    monkeypatch.setattr(leading, "ASK_AROUND_SECONDS_MAX", 0.0)
    fleet = Fleet(Role.PRIMARY)
    await fleet.leading.ask_around()
    fleet.is_up("syd")
    await fleet.leading.ask_around()
    assert fleet.restarts == fleet.fenced == []


async def test_an_epoch_heard_of_fences_before_the_leader_is_known(monkeypatch):
    monkeypatch.setattr(leading, "ANNOUNCE_DELAY_S", 0.01)
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams", epoch=2)
    await fleet.leading.heard_epoch(1)
    assert (fleet.fenced, fleet.leading.is_in_doubt) == ([], False)
    await fleet.leading.heard_epoch(2)
    assert (fleet.fenced[0], fleet.leading.is_in_doubt) == (2, True)
    fleet.is_up("syd", Role.PRIMARY, epoch=2)
    async with asyncio.timeout(5):
        while not fleet.restarts:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.01)
    await fleet.leading.close()
    assert fleet.restarts == [(Role.EDGE, claim(2, "syd"))]


async def settled(fleet):
    async with asyncio.timeout(5):
        while not fleet.restarts:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0)
    await fleet.leading.close()


@pytest.mark.parametrize("role", [Role.PRIMARY, Role.EDGE])
async def test_a_node_that_refuses_a_call_asks_whether_another_one_leads(role):
    fleet = Fleet(role, leader=OLD)
    fleet.is_up("ams")
    fleet.is_up("syd", Role.PRIMARY, epoch=2)
    fleet.leading.wonder()
    await settled(fleet)
    assert fleet.restarts == [(Role.EDGE, claim(2, "syd"))]
    assert fleet.fenced == ([2] if role is Role.PRIMARY else []), "an edge has nothing to fence"


async def test_a_primary_that_refuses_calls_is_fenced_by_a_later_epoch_without_a_leader(
    monkeypatch,
):
    monkeypatch.setattr(leading, "ANNOUNCE_DELAY_S", 0.0)
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("ams", epoch=3)
    fleet.leading.wonder()
    async with asyncio.timeout(5):
        while not fleet.fenced:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0)
    fleet.is_up("syd", Role.PRIMARY, epoch=3)
    await settled(fleet)
    assert fleet.restarts == [(Role.EDGE, claim(3, "syd"))]


async def test_of_two_primaries_that_know_no_key_of_the_other_one_goes_on():
    fleet = Fleet(Role.PRIMARY)
    fleet.is_up("syd", Role.PRIMARY)
    fleet.leading.wonder()
    await settled(fleet)
    assert fleet.restarts == [(Role.PRIMARY, claim(2, "own"))]


async def test_refused_calls_make_a_node_ask_once_in_so_long(monkeypatch):
    fleet, asked, never = Fleet(Role.PRIMARY), [], asyncio.Event()

    async def statuses(peers):
        asked.append([peer.node for peer in peers])
        return {}

    async def sleep(_seconds):
        await never.wait()

    monkeypatch.setattr(fleet.peers, "statuses", statuses)
    turn = asyncio.sleep
    monkeypatch.setattr(leading.asyncio, "sleep", sleep)
    for _ in range(5):
        fleet.leading.wonder()
        await turn(0)
    assert asked == [["ams", "syd"]]
    assert not fleet.leading.is_in_doubt, "others may call with worthless tokens: it leads on"
    await fleet.leading.close()
    fleet.leading.wonder()
    await turn(0)
    assert len(asked) == 1, "it is closed"


async def test_the_new_primary_tells_everybody_until_they_have_heard(monkeypatch):
    monkeypatch.setattr(leading, "ANNOUNCE_DELAY_S", 0.01)
    fleet = Fleet(Role.PRIMARY, epoch=2)
    fleet.is_up("ams")
    fleet.leading.announce()
    await asyncio.sleep(0.05)
    assert {name for name, _ in fleet.peers.announced} == {"ams"}
    fleet.is_up("syd")
    async with asyncio.timeout(5):
        while len(fleet.peers.announced) < 2:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.01)
    await fleet.leading.close()
    assert sorted(name for name, _ in fleet.peers.announced) == ["ams", "syd"]
