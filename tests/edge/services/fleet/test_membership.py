"""Joining and leaving the fleet: one-time tokens, what they are worth, who is taken out."""

import asyncio

import pytest

from core.fleet import NodeState
from core.identity.keys import KeyState
from edge.errors import Conflict, InvalidGrant, InvalidQuery, NotFound, Unauthenticated, Unavailable
from edge.services.fleet.membership import Membership
from edge.services.fleet.messages import JoiningKey
from edge.storage.key_files import KeyFiles
from tests.edge.services.fleet.fleet_world import PRIMARY, fleet, joining


@pytest.fixture
async def world(tmp_path):
    async with fleet(tmp_path) as opened:
        yield opened


@pytest.fixture
def files(tmp_path):
    return KeyFiles(tmp_path / "new" / "keys")


async def test_the_first_node_leads_from_epoch_one_and_starting_again_changes_nothing(world):
    first = world.primary.trust.leadership()
    assert (first.epoch, first.node) == (1, PRIMARY)
    version = await world.primary.control.version()
    assert await world.found("") == first
    assert await world.primary.control.version() == version
    moved = await world.found("https://10.0.0.1:8788")
    assert (moved.epoch, moved.url) == (1, "https://10.0.0.1:8788")
    assert world.primary.trust.node(PRIMARY).url == "https://10.0.0.1:8788"


async def test_founding_never_takes_over_from_another_primary(world):
    await world.joined("iad-1", "iad")
    await world.primary.control.write(lambda unit: unit.nodes.lead(2, "iad-1", "u", "g"))
    leading = await world.found("https://10.0.0.1:8788")
    assert (leading.epoch, leading.node) == (2, "iad-1")


async def test_a_node_that_was_made_primary_founds_no_other_fleet(world):
    assert (await world.found("", is_first=False)).epoch == 1, "its database knows who leads"
    await world.primary.engine.write(lambda sql: sql.run("DELETE FROM ct_primary"))
    with pytest.raises(Unavailable, match="restore a backup"):
        await world.found("", is_first=False)
    assert (await world.found("", is_first=True)).node == PRIMARY


async def test_a_node_joins_with_the_name_and_region_of_its_token(world, files):
    token = await world.invited("iad-1", "iad")
    body = joining(token, files, "iad-1", url="https://10.0.0.2:8788")
    joined = await world.membership.join(body, address="10.0.0.2")
    assert (joined.node, joined.region) == ("iad-1", "iad")
    assert (joined.epoch, joined.primary_node) == (1, PRIMARY)
    entry = world.primary.trust.node("iad-1")
    assert (entry.state, entry.region, entry.url) == (
        NodeState.JOINED, "iad", "https://10.0.0.2:8788",
    )  # fmt: skip
    own = [key for key in await world.primary.signing.list() if key.node == "iad-1"]
    assert sorted(key.state for key in own) == [KeyState.ACTIVE, KeyState.STANDBY]
    assert {key.authority.regions for key in own} == {frozenset({"iad"})}
    trail = await world.primary.control.read(
        lambda unit: [e.action for e in unit.audit.list("-", subject="iad-1", after=0, limit=9)]
    )
    assert trail == ["node.invite", "node.join"]


async def test_of_a_token_only_the_hash_is_kept(world, tmp_path):
    token = await world.invited("iad-1")
    await world.vault.close()
    await world.vault_engine.open()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("*.db*"))
    assert token.encode() not in stored
    assert token.rpartition(".")[2].encode() not in stored


async def test_the_same_keys_may_ask_again_and_no_others(world, files):
    token = await world.invited("iad-1")
    body = joining(token, files, "iad-1")
    first = await world.membership.join(body)
    assert await world.membership.join(body) == first
    with pytest.raises(InvalidGrant):
        await world.membership.join(joining(token, files, "iad-1"))
    assert len([k for k in await world.primary.signing.list() if k.node == "iad-1"]) == 2


async def test_two_that_race_with_one_token_do_not_both_get_in(world, files, tmp_path):
    token = await world.invited("iad-1")
    bodies = [joining(token, files, "iad-1") for _ in range(4)]
    answers = await asyncio.gather(*map(world.membership.join, bodies), return_exceptions=True)
    assert sorted(type(a).__name__ for a in answers) == ["InvalidGrant"] * 3 + ["JoinedBody"]


async def test_worthless_tokens_all_read_the_same(world, files):
    good = await world.invited("iad-1", "iad", ttl_s=60)
    prefix, _, secret = good.rpartition(".")
    worthless = {
        "another name": good.replace("iad-1", "iad-2"),
        "another region": good.replace(".iad.", ".fra."),
        "another secret": f"{prefix}.{secret[::-1]}",
        "nothing": "",
        "no text": "\udc80",
        "large": "x" * 4_000,
    }
    messages = set()
    for token in worthless.values():
        with pytest.raises(InvalidGrant) as refused:
            await world.membership.join(joining(token, files, "iad-1"))
        messages.add(str(refused.value))
    replaced = await world.invited("iad-1", "iad", ttl_s=60)
    world.primary.clock.ahead_s = 61
    for token in (good, replaced):
        with pytest.raises(InvalidGrant) as refused:
            await world.membership.join(joining(token, files, "iad-1"))
        messages.add(str(refused.value))
    assert len(messages) == 1
    assert world.primary.trust.node("iad-1") is None


async def test_keys_must_be_the_named_nodes_own(world, files):
    for change in ("of-another", "short", "twice"):
        token = await world.invited("iad-1")
        body = joining(token, files, "iad-2" if change == "of-another" else "iad-1")
        if change == "short":
            body.active = JoiningKey(body.active.kid, b"short")
        if change == "twice":
            body.standby = body.active
        with pytest.raises((InvalidGrant, InvalidQuery)):
            await world.membership.join(body)
    assert world.primary.trust.node("iad-1") is None


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://x/path", "x" * 300, "https://a b"])
async def test_addresses_must_be_callable(world, files, url):
    token = await world.invited("iad-1")
    with pytest.raises(InvalidQuery):
        await world.membership.join(joining(token, files, "iad-1", url=url))


@pytest.mark.parametrize(
    ("name", "region", "ttl_s"),
    [("", "fra", 60), ("A", "fra", 60), ("a" * 33, "fra", 60), ("a", "", 60), ("a", "fra", 0)],
)
async def test_what_cannot_be_invited(world, name, region, ttl_s):
    with pytest.raises(InvalidQuery):
        await world.invited(name, region, ttl_s=ttl_s)


async def test_a_name_that_is_taken_or_removed_is_not_invited(world):
    await world.joined("iad-1")
    with pytest.raises(Conflict, match="revoke it first"):
        await world.invited("iad-1")
    assert await world.membership.revoke("iad-1", actor="operator") == 2
    again = await world.invited("iad-1")
    assert again
    await world.membership.remove("iad-1", actor="operator")
    with pytest.raises(Conflict, match="removed"):
        await world.invited("iad-1")
    with pytest.raises(Conflict, match="removed"):
        await world.membership.join(joining(again, KeyFiles(world.folder / "x" / "keys"), "iad-1"))


async def test_a_revoked_node_comes_back_by_invitation_with_new_keys(world):
    edge = await world.joined("iad-1")
    await world.membership.revoke("iad-1", actor="operator")
    await edge.trust.refresh()
    with pytest.raises(Unavailable):
        await edge.tokens.sign(to=PRIMARY, method="GET", target="/", body=b"")
    back = await world.joined("iad-1")
    token = await back.tokens.sign(to=PRIMARY, method="GET", target="/", body=b"")
    assert world.primary.tokens.verify(token, method="GET", target="/", body=b"").node == "iad-1"


async def test_the_primary_and_strangers_are_not_removed(world):
    with pytest.raises(Conflict, match="primary"):
        await world.membership.remove(PRIMARY, actor="operator")
    with pytest.raises(NotFound):
        await world.membership.remove("nobody", actor="operator")


async def test_a_removed_node_can_neither_call_nor_found(world):
    edge = await world.joined("iad-1")
    token = await edge.tokens.sign(to=PRIMARY, method="GET", target="/", body=b"")
    assert await world.membership.remove("iad-1", actor="operator") == 2
    with pytest.raises(Unauthenticated):
        world.primary.tokens.verify(token, method="GET", target="/", body=b"")
    listed = {entry.node: entry.state for entry in await world.membership.list()}
    assert listed == {PRIMARY: NodeState.JOINED, "iad-1": NodeState.REMOVED}


async def test_an_edge_takes_nobody_in(world, files):
    membership = Membership(
        world.primary.control, None, world.primary.trust,
        entropy=bytes, now_ms=world.primary.clock.ms,
    )  # fmt: skip
    with pytest.raises(Unavailable):
        await membership.invite("iad-1", "iad", actor="operator")
    with pytest.raises(Unavailable):
        await membership.join(joining("x", files, "iad-1"))
