"""Node tokens under attack: who may sign one, and what one is worth."""

import asyncio
import time
from dataclasses import replace

import jwt
import pytest

from core.fleet import NodeState
from core.identity.keys import KeyState
from core.ids import PersonId, TenantId
from edge.errors import ClockApart, Overloaded, Unauthenticated
from edge.services.fleet import node_tokens
from edge.services.fleet.models import node_record
from edge.services.fleet.node_tokens import LIFETIME_S, TOLERANCE_S
from edge.services.session import Principal
from edge.services.tokens import Tokens, mint, signed
from tests.edge.services.fleet.fleet_world import PRIMARY, fleet

CALL = {"method": "POST", "target": "/internal/v1/report?a=1", "body": b"body"}
MESSAGE = "The node token is not one that this node takes."


@pytest.fixture
async def world(tmp_path):
    async with fleet(tmp_path) as opened:
        yield opened


@pytest.fixture
async def edge(world):
    return await world.joined("iad-1", "iad")


def refused(world, token, **change):
    with pytest.raises(Unauthenticated) as error:
        world.primary.tokens.verify(token, **{**CALL, **change})
    assert str(error.value) == MESSAGE


async def active_key(party):
    return await party.signing.usable()


async def forged(party, *, key=None, typ=None, **change):
    """Sign what `party` would sign, with some claims or the key changed."""
    token = await party.tokens.sign(to=PRIMARY, **CALL)
    claims = jwt.decode(token, options={"verify_signature": False})
    claims = {name: value for name, value in {**claims, **change}.items() if value is not None}
    key = key or await active_key(party)
    headers = {"kid": key.kid, "typ": typ or node_tokens.TOKEN_TYPE}
    return jwt.encode(claims, key.private, algorithm="EdDSA", headers=headers)


async def test_a_good_token_names_its_node_and_its_person(world, edge):
    ada = Principal(
        TenantId("main"), PersonId("ada"), frozenset({"admin"}), 99, 9, "s", "d", 5,
        frozenset({"device"}),
    )  # fmt: skip
    token = await edge.tokens.sign(
        to=PRIMARY, **CALL, epoch=4, principal=ada, accepted_ms=12, forwards=True
    )
    caller = world.primary.tokens.verify(token, **CALL)
    assert (caller.node, caller.region) == ("iad-1", "iad")
    assert caller.principal == ada
    assert (caller.claims.epoch, caller.claims.accepted_ms, caller.claims.forwards) == (4, 12, True)


async def test_it_is_worth_one_request_alone(world, edge):
    token = await edge.tokens.sign(to=PRIMARY, **CALL)
    for change in (
        {"method": "PUT"},
        {"target": "/internal/v1/report"},
        {"target": "/internal/v1/join"},
        {"body": b"another"},
        {"body": b""},
    ):
        refused(world, token, **change)
    world.primary.tokens.verify(token, **CALL)
    refused(world, token)


async def test_a_long_target_is_told_apart_too(world, edge):
    target = "/v1/rows/x?" + "a" * 6_000
    token = await edge.tokens.sign(to=PRIMARY, method="GET", target=target, body=b"")
    assert len(token) < 1_000
    refused(world, token, method="GET", target=target + "b", body=b"")
    world.primary.tokens.verify(token, method="GET", target=target, body=b"")


async def test_the_audience_is_one_node(world, edge):
    refused(world, await edge.tokens.sign(to="iad-1", **CALL))
    refused(world, await edge.tokens.sign(to="*", **CALL))
    refused(world, await forged(edge, aud=[PRIMARY, "iad-1"]))
    refused(world, await forged(edge, aud=None))


async def test_a_node_speaks_for_itself(world, edge):
    other = await world.joined("sin-1", "sin")
    for issuer in ("sin-1", PRIMARY, "", "nobody"):
        refused(world, await forged(edge, iss=issuer))
    refused(
        world,
        await forged(edge, key=replace(await active_key(edge), kid=(await active_key(other)).kid)),
    )
    world.primary.tokens.verify(await forged(edge), **CALL)


async def test_an_operators_key_signs_no_node_token(world, edge):
    operator = world.primary.files.development_key()
    assert world.primary.trust.find(operator.kid) is not None
    refused(world, await forged(edge, key=operator))
    refused(world, await forged(edge, key=operator, iss=""))


async def test_a_stranger_is_refused(world, edge, tmp_path):
    refused(world, await forged(edge, key=edge.files.make("iad-1")))


async def test_a_revoked_key_stops_by_itself(world, edge):
    key = await active_key(edge)
    fresh = [await edge.tokens.sign(to=PRIMARY, **CALL) for _ in range(2)]
    follower = await world.party(PRIMARY)
    follower.tokens.verify(fresh[0], **CALL)
    await world.membership.revoke("iad-1", actor="operator")
    refused(world, fresh[1])
    for _ in range(500):  # it follows by itself
        if follower.trust.find(key.kid) is None:
            break
        await asyncio.sleep(0.01)
    with pytest.raises(Unauthenticated):
        follower.tokens.verify(fresh[1], **CALL)


async def test_a_removed_nodes_good_key_is_worth_nothing(world, edge):
    token = await edge.tokens.sign(to=PRIMARY, **CALL)
    entry = replace(world.primary.trust.node("iad-1"), state=NodeState.REMOVED)
    await world.primary.control.write(lambda unit: unit.nodes.put(node_record(entry)))
    await world.primary.trust.refresh()
    assert world.primary.trust.find((await active_key(edge)).kid) is not None
    refused(world, token)


async def test_a_key_of_no_node_is_worth_nothing(world, edge):
    ghost = await world.party("ghost-1")
    made = ghost.files.make("ghost-1")
    own = world.primary.signing._new(made, KeyState.ACTIVE, 1)
    from edge.services.identity.models import key_record

    record = key_record(replace(own, node="ghost-1"))
    await world.primary.control.write(lambda unit: unit.keys.put(record))
    await world.primary.trust.refresh()
    await ghost.trust.refresh()
    refused(world, await ghost.tokens.sign(to=PRIMARY, **CALL))


async def test_access_tokens_and_node_tokens_do_not_mix(world, edge):
    tokens = Tokens(world.primary.trust, lifetime_s_max=86_400)
    node_token = await edge.tokens.sign(to=PRIMARY, **CALL)
    as_user = await forged(edge, aud="skerry", sub="ada", tenant="main", scope="admin")
    for token in (node_token, as_user):
        with pytest.raises(Unauthenticated):
            tokens.verify(token)
    now_s = int(time.time())
    ada = {
        "iss": "iad-1", "aud": "skerry", "sub": "ada", "tenant": "main",
        "iat": now_s, "exp": now_s + 25,
    }  # fmt: skip
    access = signed(await active_key(edge), ada)
    tokens.verify(access)
    refused(world, access)
    refused(world, await forged(edge, typ="at+jwt"))
    operator = mint(
        world.primary.files.development_key(), tenant=TenantId("main"), person=PersonId("root"),
        is_operator=True, lifetime_s=25, now_unix_s=now_s,
    )  # fmt: skip
    refused(world, operator)


@pytest.mark.parametrize("lifetime_s", [0, -1, LIFETIME_S + 1, 10**9])
async def test_it_lives_half_a_minute_at_most(world, edge, lifetime_s):
    now_s = int(time.time())
    refused(world, await forged(edge, iat=now_s, exp=now_s + lifetime_s))


@pytest.mark.parametrize(
    "ahead_s", [-3_600, -(LIFETIME_S + TOLERANCE_S + 2), TOLERANCE_S + 2, 3_600]
)
async def test_a_clock_that_is_apart_is_told_the_time(world, edge, ahead_s):
    edge.clock.ahead_s = ahead_s
    token = await edge.tokens.sign(to=PRIMARY, **CALL)
    with pytest.raises(ClockApart) as apart:
        world.primary.tokens.verify(token, **CALL)
    assert abs(apart.value.now_unix_s - time.time()) <= 2
    right = await edge.tokens.sign(to=PRIMARY, **CALL, ahead_s=-ahead_s)
    world.primary.tokens.verify(right, **CALL)


@pytest.mark.parametrize("ahead_s", [-TOLERANCE_S + 5, TOLERANCE_S - 5])
async def test_clocks_within_the_tolerance_are_one(world, edge, ahead_s):
    edge.clock.ahead_s = ahead_s
    world.primary.tokens.verify(await edge.tokens.sign(to=PRIMARY, **CALL), **CALL)


async def test_only_a_good_key_learns_the_time(world, edge):
    edge.clock.ahead_s = 3_600
    refused(world, await forged(edge, key=edge.files.make("iad-1")))
    refused(world, await forged(edge, aud="sin-1"))


async def test_an_id_is_remembered_for_as_long_as_the_token_is_good(world, edge):
    edge.clock.ahead_s = TOLERANCE_S - 1
    token = await edge.tokens.sign(to=PRIMARY, **CALL)
    world.primary.tokens.verify(token, **CALL)
    for ahead_s in (0, 60, 120, node_tokens.REPLAY_S - 5):
        world.primary.clock.ahead_s = ahead_s
        refused(world, token)
    world.primary.clock.ahead_s = node_tokens.REPLAY_S + 60
    with pytest.raises(ClockApart):
        world.primary.tokens.verify(token, **CALL)


async def test_what_is_remembered_is_bounded_and_ends(world, edge, monkeypatch):
    monkeypatch.setattr(node_tokens, "REPLAYS_PER_NODE_MAX", 3)
    other = await world.joined("sin-1", "sin")
    for _ in range(3):
        world.primary.tokens.verify(await edge.tokens.sign(to=PRIMARY, **CALL), **CALL)
    with pytest.raises(Overloaded):
        world.primary.tokens.verify(await edge.tokens.sign(to=PRIMARY, **CALL), **CALL)
    world.primary.tokens.verify(await other.tokens.sign(to=PRIMARY, **CALL), **CALL)
    for jump_s in (3_600, -3_600):  # neither a clock set forward nor one set back stops a node
        world.primary.clock.ahead_s = edge.clock.ahead_s = jump_s
        world.primary.tokens.verify(await edge.tokens.sign(to=PRIMARY, **CALL), **CALL)
    assert sum(map(len, world.primary.tokens._seen.values())) <= 4


@pytest.mark.parametrize(
    "change",
    [
        {"jti": None},
        {"jti": "short"},
        {"jti": "x" * 65},
        {"jti": 12},
        {"bd": None},
        {"htm": None},
        {"htu": 3},
        {"iat": "now"},
        {"exp": None},
        {"iat": -1, "exp": 20},
        {"iat": 2**60, "exp": 2**60 + 20},
        {"epoch": -1},
        {"accepted_ms": 2**60},
        {"more": 1},
        {"principal": {"tenant": "main"}},
        {"principal": {"tenant": "../x", "person": "a", "expires": 1}},
        {"principal": {"tenant": "main\n", "person": "a", "expires": 1}},
        {"principal": {"tenant": "main", "person": "a", "expires": 1, "more": 1}},
        {"forwards": "yes"},
    ],
)
async def test_malformed_claims_are_refused(world, edge, change):
    refused(world, await forged(edge, **change))


async def test_malformed_tokens_are_refused(world, edge):
    good = await edge.tokens.sign(to=PRIMARY, **CALL)
    head, claims, signature = good.split(".")
    none = jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", algorithm="none")
    for token in (
        "", ".", "..", "x" * 9_000, "\N{SNOWMAN}", f"{head}.{claims}.", f"{head}.{claims}",
        f"{head}.{claims}.{signature[::-1]}", none, f"{good}.{good}", good + " ",
    ):  # fmt: skip
        refused(world, token)
    world.primary.tokens.verify(good, **CALL)


async def test_a_node_whose_active_key_alone_is_revoked_goes_on_with_its_standby(world, edge):
    before = await active_key(edge)
    token = await edge.tokens.sign(to=PRIMARY, **CALL)
    await world.primary.signing.revoke(before.kid, actor="operator")
    refused(world, token)
    await edge.trust.refresh()
    assert (await active_key(edge)).kid != before.kid
    world.primary.tokens.verify(await edge.tokens.sign(to=PRIMARY, **CALL), **CALL)
