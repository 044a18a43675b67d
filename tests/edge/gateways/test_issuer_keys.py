"""An issuer's keys: fetched as seldom as possible, remembered as long as allowed, never trusted."""

import asyncio
import json
import threading
import time

import pytest

from edge.errors import InvalidGrant, Unavailable
from edge.gateways.id_tokens import JwtIdTokens
from edge.gateways.issuer_key_set import chosen, parse_keys
from edge.gateways.issuer_keys import (
    BODY_BYTES_MAX,
    FRESH_S_MAX,
    FRESH_S_MIN,
    REFETCH_S_MIN,
    RETRY_S_MIN,
    STALE_S_MAX,
    IssuerKeys,
)
from edge.ports.issuers import Issuer
from tests.edge.gateways.issuer_server import (
    AUDIENCE,
    DISCOVERY,
    KEYS,
    NONCE,
    IssuerServer,
    SigningKey,
)


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def server():
    with IssuerServer() as server:
        yield server


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def keys(clock):
    found = IssuerKeys(clock=clock)
    yield found
    await found.close()


async def unavailable(keys, issuer, kid="key-1"):
    with pytest.raises(Unavailable) as caught:
        await keys.find(issuer, kid)
    assert caught.value.is_retryable


async def test_keys_are_found_by_discovery_and_remembered(server, keys):
    found = await keys.find(server.issuer, "key-1")
    assert (found.kid, found.algorithm) == ("key-1", "ES256")
    assert await keys.find(server.issuer, "key-1") is found
    assert server.requests == [DISCOVERY, KEYS]


async def test_an_issuers_own_path_comes_before_the_well_known_one(server, keys):
    server.discovery = {"issuer": f"{server.url}/tenant/"}
    issuer = Issuer(f"{server.url}/tenant/", (AUDIENCE,))
    server.body = json.dumps({"issuer": issuer.issuer, "jwks_uri": server.url + KEYS}).encode()
    await unavailable(keys, issuer)
    assert server.requests == [f"/tenant{DISCOVERY}", KEYS]


async def test_a_new_key_is_fetched_at_once_and_a_made_up_one_once_a_minute(server, keys, clock):
    issuer = server.direct_issuer
    assert await keys.find(issuer, "key-1")
    clock.now_s += REFETCH_S_MIN
    server.rotate()
    assert (await keys.find(issuer, "key-2")).kid == "key-2"
    assert len(server.requests) == 2
    for number in range(50):
        assert await keys.find(issuer, f"made-up-{number}") is None
    assert len(server.requests) == 2
    clock.now_s += REFETCH_S_MIN
    for number in range(50):
        assert await keys.find(issuer, f"made-up-{number}") is None
    assert len(server.requests) == 3


async def test_a_rotation_ends_in_a_token_that_is_taken(server, clock):
    tokens = JwtIdTokens([server.issuer], keys=IssuerKeys(clock=clock))
    old = server.token()
    assert await tokens.verify(old, nonce=NONCE)
    server.rotate()
    with pytest.raises(InvalidGrant):
        await tokens.verify(server.token(), nonce=NONCE)
    clock.now_s += REFETCH_S_MIN
    assert await tokens.verify(server.token(), nonce=NONCE)
    assert await tokens.verify(old, nonce=NONCE)
    del server.keys[1]
    clock.now_s += 3_600
    with pytest.raises(InvalidGrant):
        await tokens.verify(old, nonce=NONCE)
    await tokens.close()


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ({"cache-control": "public, max-age=3600, must-revalidate"}, 3_600),
        ({"cache-control": "max-age=3600", "age": "600"}, 3_000),
        ({"cache-control": "max-age=1"}, FRESH_S_MIN),
        ({"cache-control": "max-age=999999999"}, FRESH_S_MAX),
        ({"cache-control": "max-age=99999999999999"}, FRESH_S_MIN),
        ({"cache-control": "s-max-age=3600"}, FRESH_S_MIN),
        ({"cache-control": "no-store, max-age=3600"}, FRESH_S_MIN),
        ({"cache-control": ""}, FRESH_S_MIN),
    ],
)
async def test_keys_are_fresh_for_as_long_as_the_issuer_says(server, keys, clock, headers, fresh_s):
    server.headers = headers
    await keys.find(server.direct_issuer, "key-1")
    clock.now_s += fresh_s - 1
    await keys.find(server.direct_issuer, "key-1")
    assert len(server.requests) == 1
    clock.now_s += 1
    await keys.find(server.direct_issuer, "key-1")
    assert len(server.requests) == 2


async def test_old_keys_serve_a_day_while_the_issuer_is_away(server, keys, clock):
    issuer = server.direct_issuer
    await keys.find(issuer, "key-1")
    server.stop()
    clock.now_s += 3_600 + STALE_S_MAX - 1
    assert await keys.find(issuer, "key-1")
    assert await keys.find(issuer, "no-such-key") is None
    clock.now_s += 1
    await unavailable(keys, issuer)
    server.start()
    clock.now_s += REFETCH_S_MIN
    assert await keys.find(issuer, "key-1")


async def test_without_keys_an_issuer_is_asked_every_few_seconds(server, keys, clock):
    server.status = 500
    for _ in range(10):
        await unavailable(keys, server.direct_issuer)
    assert len(server.requests) == 1
    server.status = 200
    clock.now_s += RETRY_S_MIN
    assert await keys.find(server.direct_issuer, "key-1")


async def test_many_who_wait_are_one_request(server, keys):
    server.gate = threading.Event()
    waiting = [
        asyncio.create_task(keys.find(server.direct_issuer, kid))
        for kid in ["key-1"] * 20 + ["made-up"] * 20
    ]
    assert await asyncio.to_thread(server.asked.wait, 10)
    waiting[0].cancel()  # whoever began it gives up; the others still get their keys
    server.gate.set()
    found = await asyncio.gather(*waiting[1:])
    assert sum(key is not None for key in found) == 19
    assert server.requests == [KEYS]


async def test_one_issuer_that_hangs_holds_up_no_other(server, keys):
    server.gate = threading.Event()
    with IssuerServer() as other:
        hanging = asyncio.create_task(keys.find(server.direct_issuer, "key-1"))
        assert await keys.find(other.direct_issuer, "key-1")
        assert not hanging.done()
    await keys.close()
    with pytest.raises(Unavailable):
        await hanging
    with pytest.raises(Unavailable):
        await keys.find(server.direct_issuer, "key-1")


async def test_an_issuer_that_does_not_answer_is_given_up(server, keys, monkeypatch):
    monkeypatch.setattr("edge.gateways.issuer_keys.FETCH_S_MAX", 0.05)
    server.gate = threading.Event()
    await unavailable(keys, server.direct_issuer)


def compressed(server):
    server.headers["content-encoding"] = "gzip"


def huge(server):
    server.body = server.answer(KEYS) + b" " * BODY_BYTES_MAX


def too_many(server):
    server.keys = [SigningKey(f"key-{number}") for number in range(1, 52)]


def body(content):
    def misbehave(server):
        server.body = content

    return misbehave


@pytest.mark.parametrize(
    "misbehave",
    [
        compressed,
        huge,
        too_many,
        body(b""),
        body(b"{"),
        body(b"[]"),
        body(b"[" * 100_000),
        body(b"\xff"),
        body(b'{"keys": []}'),
        body(b'{"keys": [5]}'),
        body(b'{"keys": {}}'),
        body(b'{"keys": [{}]}'),
        body(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"}]}'),
    ],
)
async def test_an_answer_that_is_no_set_of_keys_is_none(server, keys, clock, misbehave):
    good_body, good_keys, good_headers = server.body, server.keys, dict(server.headers)
    misbehave(server)
    await unavailable(keys, server.direct_issuer)
    server.status, server.headers = 200, good_headers
    server.body, server.keys = good_body, good_keys
    clock.now_s += RETRY_S_MIN
    found = await keys.find(server.direct_issuer, "key-1")
    misbehave(server)
    clock.now_s += 3_600
    assert await keys.find(server.direct_issuer, "key-1") is found


async def test_a_redirect_is_not_followed(server, keys):
    with IssuerServer() as other:
        server.status = 302
        server.headers["location"] = other.url + KEYS
        await unavailable(keys, server.direct_issuer)
        await unavailable(keys, server.issuer)
        assert other.requests == []


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "http://127.0.0.1/"},
        {"issuer": None},
        {"jwks_uri": "http://evil.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": ""},
        {"jwks_uri": None},
    ],
)
async def test_a_discovery_document_speaks_for_its_issuer_only(server, keys, discovery):
    server.discovery = discovery
    await unavailable(keys, server.issuer)
    assert server.requests == [DISCOVERY]


def jwk(algorithm="ES256", **changes):
    return {**SigningKey("key-1", algorithm).jwk, **changes}


RSA = jwk("RS256")


@pytest.mark.parametrize(
    "member",
    [
        jwk(use="enc"),
        jwk(key_ops=["encrypt"]),
        jwk(alg="ES384"),
        jwk(alg="HS256"),
        jwk(alg="none"),
        jwk(kty="RSA"),
        jwk(kty="oct", k="c2VjcmV0"),
        jwk(crv="P-384"),
        jwk(x="AAAA"),
        jwk(x=5),
        jwk(y="!" * 43),
        jwk(d="AAAA"),
        jwk(kid=5),
        jwk(kid="x" * 256),
        jwk("EdDSA", crv="Ed448"),
        jwk("EdDSA", x=""),
        {**RSA, "alg": "PS256"},
        {**RSA, "n": RSA["n"][: len(RSA["n"]) // 2]},
        {**RSA, "n": "_" * 1_400},
        {**RSA, "n": "_" * 200_000},
        {**RSA, "e": "_" * 100},
        {**RSA, "e": "Ag"},
        {**RSA, "e": ""},
        {"kty": "RSA", "kid": "key-1"},
        {"kty": [], "kid": "key-1"},
    ],
)
def test_a_key_that_must_not_verify_is_passed_over(member):
    good = SigningKey("key-2").jwk
    keys = parse_keys(json.dumps({"keys": [member, good]}).encode())
    assert [key.kid for key in keys] == ["key-2"]
    with pytest.raises(ValueError, match="no usable key"):
        parse_keys(json.dumps({"keys": [member]}).encode())


def test_a_set_with_certificates_is_read():
    keys = parse_keys(json.dumps({"keys": [jwk(x5c=["M" * 4_000]), RSA]}).encode())
    assert [key.algorithm for key in keys] == ["ES256", "RS256"]
    assert chosen(keys, "key-1") is None
    assert chosen(keys[:1], None) is keys[0]


async def test_fetched_keys_verify(server, keys):
    tokens = JwtIdTokens([server.issuer], keys=keys, clock=time.time)
    assert await tokens.verify(server.token(), nonce=NONCE)
