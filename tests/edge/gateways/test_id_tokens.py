"""ID tokens against a real issuer on loopback: the known attacks."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.errors import InvalidGrant
from edge.gateways.id_tokens import TOKEN_BYTES_MAX, JwtIdTokens
from edge.ports.issuers import IssuedIdentity, Issuer
from tests.edge.gateways.issuer_server import AUDIENCE, NONCE, IssuerServer, SigningKey


@pytest.fixture
def server():
    with IssuerServer() as server:
        yield server


@pytest.fixture
async def tokens(server):
    verifier = JwtIdTokens([server.direct_issuer])
    yield verifier
    await verifier.close()


async def refused(tokens, token, *, nonce=NONCE):
    with pytest.raises(InvalidGrant) as caught:
        await tokens.verify(token, nonce=nonce)
    assert caught.value.message == "The identity token is not one that this node takes."
    assert caught.value.__suppress_context__


class FromNow(float):
    """Seconds from the moment a test runs: parameters are made long before."""


def as_of_now(claims):
    now = time.time()
    return {
        name: now + value if isinstance(value, FromNow) else value for name, value in claims.items()
    }


def encoded(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_says_who_somebody_is(algorithm):
    with IssuerServer(algorithm=algorithm) as server:
        tokens = JwtIdTokens([server.issuer])
        assert await tokens.verify(server.token(), nonce=NONCE) == IssuedIdentity(
            issuer=server.url,
            subject="person-1",
            email="ada@example.org",
            is_email_verified=True,
            name="Ada Lovelace",
        )
        await tokens.close()


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None},
        {"iss": "https://accounts.google.com"},
        {"iss": 5},
        {"iss": []},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "nul\0"},
        {"sub": 5},
        {"aud": None},
        {"aud": ""},
        {"aud": []},
        {"aud": "another-client"},
        {"aud": [AUDIENCE, "another-client"]},
        {"aud": [AUDIENCE, "another-client"], "azp": "another-client"},
        {"aud": [AUDIENCE, AUDIENCE], "azp": AUDIENCE},
        {"aud": [AUDIENCE] + ["x"] * 20, "azp": AUDIENCE},
        {"aud": {AUDIENCE: 1}},
        {"aud": [[AUDIENCE]]},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"exp": True},
        {"exp": FromNow(-61)},
        {"iat": None},
        {"iat": float("nan")},
        {"iat": float("-inf")},
        {"iat": FromNow(-3_700)},
        {"iat": FromNow(100)},
        {"nbf": FromNow(100)},
        {"nbf": "now"},
        {"nonce": None},
        {"nonce": ""},
        {"nonce": NONCE.upper()},
        {"nonce": NONCE + " "},
        {"nonce": hashlib.sha256(NONCE.encode()).hexdigest().upper()},
        {"nonce": "\ud83d"},
        {"nonce": [NONCE]},
        {"email": 5},
    ],
)
async def test_a_token_with_wrong_claims_is_refused(server, tokens, claims):
    await refused(tokens, server.token(**as_of_now(claims)))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE]},
        {"aud": [AUDIENCE, "another-client"], "azp": AUDIENCE},
        {"azp": "android-client"},
        {"exp": FromNow(-5)},
        {"iat": FromNow(30)},
        {"iat": FromNow(-3_000.5)},
        {"nonce": hashlib.sha256(NONCE.encode()).hexdigest()},
        {"nonce": encoded(hashlib.sha256(NONCE.encode()).digest())},
    ],
)
async def test_what_issuers_may_do_is_taken(server, tokens, claims):
    assert (
        await tokens.verify(server.token(**as_of_now(claims)), nonce=NONCE)
    ).subject == "person-1"


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ({"email_verified": "true"}, ("ada@example.org", True, "Ada Lovelace")),
        ({"email_verified": "false"}, ("ada@example.org", False, "Ada Lovelace")),
        ({"email_verified": False}, ("ada@example.org", False, "Ada Lovelace")),
        ({"email_verified": None}, ("ada@example.org", False, "Ada Lovelace")),
        ({"email": None}, (None, False, "Ada Lovelace")),
        ({"email": "x" * 255}, (None, False, "Ada Lovelace")),
        ({"name": None}, ("ada@example.org", True, None)),
        ({"name": "x" * 201}, ("ada@example.org", True, None)),
        ({"name": "line\nend"}, ("ada@example.org", True, None)),
    ],
)
async def test_email_and_name_are_optional(server, tokens, claims, shown):
    found = await tokens.verify(server.token(**as_of_now(claims)), nonce=NONCE)
    assert (found.email, found.is_email_verified, found.name) == shown


async def test_another_issuers_key_signs_nothing_here(server):
    with IssuerServer() as other:
        tokens = JwtIdTokens([server.direct_issuer, other.direct_issuer])
        assert await tokens.verify(other.token(), nonce=NONCE)
        await refused(tokens, other.token(iss=server.url))
        await refused(tokens, server.token(key=other.keys[0]))
        await tokens.close()


async def test_an_unsigned_token_is_refused(server, tokens):
    _, payload, signature = server.token().split(".")
    for alg in ("none", "None", "NONE", "nOnE", ""):
        header = encoded({"alg": alg, "kid": "key-1", "typ": "JWT"})
        await refused(tokens, f"{header}.{payload}.")
        await refused(tokens, f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_public_key_is_no_secret_to_sign_with(algorithm):
    with IssuerServer(algorithm=algorithm) as server:
        tokens = JwtIdTokens([server.direct_issuer])
        key = server.keys[0]
        public = key.private.public_key()
        payload = server.token().split(".")[1]
        secrets = [
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(key.jwk).encode(),
            b"",
        ]
        for secret in secrets:
            for alg, kind in (("HS256", "sha256"), ("HS512", "sha512"), (algorithm, "sha256")):
                signed = f"{encoded({'alg': alg, 'kid': key.kid})}.{payload}"
                signature = hmac.new(secret, signed.encode(), kind).digest()
                await refused(tokens, f"{signed}.{encoded(signature)}")
        await tokens.close()


async def test_a_published_secret_is_not_used(server, tokens):
    secret = b"k" * 64
    server.body = json.dumps(
        {"keys": [{"kty": "oct", "kid": "s", "k": encoded(secret)}, server.keys[0].jwk]}
    ).encode()
    payload = jwt.decode(server.token(), options={"verify_signature": False})
    await refused(tokens, jwt.encode(payload, secret, "HS256", headers={"kid": "s"}))
    assert await tokens.verify(server.token(), nonce=NONCE)


async def test_the_algorithm_must_be_the_keys_own(server, tokens):
    rsa_key = SigningKey("key-1", "RS256")
    await refused(tokens, server.token(key=rsa_key))
    payload = jwt.decode(server.token(), options={"verify_signature": False})
    server.keys.insert(0, rsa_key)
    for alg in ("PS256", "RS512"):
        await refused(tokens, jwt.encode(payload, rsa_key.private, alg, headers={"kid": "key-1"}))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["MIIB"]},
        {"jwk": SigningKey("key-1").jwk},
        {"crit": ["exp"]},
        {"zip": "DEF"},
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"kid": "no-such-key"},
        {"kid": "../../../../dev/null"},
        {"kid": ""},
        {"kid": "' OR 1=1 --"},
    ],
)
async def test_headers_that_lead_astray_are_refused(server, tokens, header):
    await refused(tokens, server.token(header=header))
    assert await tokens.verify(server.token(header={"x5t": "hash"}), nonce=NONCE)


async def test_a_key_in_the_header_does_not_verify_its_own_token(server, tokens):
    mine = SigningKey("key-1")
    await refused(tokens, server.token(key=mine, header={"jwk": mine.jwk}))
    await refused(tokens, server.token(key=mine))


async def test_a_token_needs_a_kid_once_there_are_several_keys(server):
    tokens = JwtIdTokens([server.direct_issuer])
    nameless = SigningKey(None)
    server.keys = [nameless]
    assert await tokens.verify(server.token(), nonce=NONCE)
    await tokens.close()
    tokens = JwtIdTokens([server.direct_issuer])
    server.keys = [nameless, SigningKey("key-2")]
    await refused(tokens, server.token(key=nameless))
    await tokens.close()


async def test_two_keys_of_one_name_are_ambiguous(server, tokens):
    server.keys.append(SigningKey("key-1"))
    await refused(tokens, server.token())


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_any_change_breaks_the_signature(server, tokens, part):
    token = server.token()
    parts = token.split(".")
    for at in range(0, len(parts[part]), 7):
        changed = "B" if parts[part][at] == "A" else "A"
        other = parts.copy()
        other[part] = parts[part][:at] + changed + parts[part][at + 1 :]
        await refused(tokens, ".".join(other))
    assert await tokens.verify(token, nonce=NONCE)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "ä.b.c",
        "\ud83d",
        "x" * (TOKEN_BYTES_MAX + 1),
        f"{encoded(b'[' * 9_000)}.{encoded({})}.",
        f"{encoded({'alg': 'ES256'})}.{encoded(b'[' * 9_000)}.",
        f"{encoded([])}.{encoded([])}.",
        f"{encoded({'alg': 'ES256'})}.{encoded([])}.",
        f"{encoded({'alg': ['ES256']})}.{encoded({})}.",
        f"{encoded({'alg': 'ES256', 'kid': 5})}.{encoded({})}.",
        f"{encoded({'alg': 'ES256'})}.{encoded(b'9' * 9_000)}.",
        f"{encoded({'alg': 'ES256'})}.{encoded(bytes([255]))}.",
    ],
)
async def test_what_is_no_token_is_refused_without_asking_anybody(server, tokens, token):
    await refused(tokens, token)
    assert server.requests == []


async def test_a_token_that_is_too_large_is_refused(server, tokens):
    await refused(tokens, server.token(groups="x" * TOKEN_BYTES_MAX))
    assert await tokens.verify(server.token(groups="x" * 8_000), nonce=NONCE)


async def test_a_token_for_another_flow_is_refused(server, tokens):
    await refused(tokens, server.token(), nonce="another nonce")
    hashed = hashlib.sha256(NONCE.encode()).hexdigest()
    await refused(tokens, server.token(), nonce=hashed)


async def test_several_client_ids_of_one_app_are_taken_one_at_a_time(server):
    both = Issuer(server.url, ("ios", "web"), server.direct_issuer.jwks_url)
    tokens = JwtIdTokens([both])
    assert await tokens.verify(server.token(aud="ios"), nonce=NONCE)
    assert await tokens.verify(server.token(aud="web"), nonce=NONCE)
    await refused(tokens, server.token(aud=["ios", "web"], azp="ios"))
    await refused(tokens, server.token(aud="ios|web"))
    await tokens.close()


async def test_time_is_the_injected_clocks(server):
    tokens = JwtIdTokens([server.direct_issuer], clock=lambda: 1_000_000.0)
    await refused(tokens, server.token())
    assert await tokens.verify(server.token(now_s=1_000_000), nonce=NONCE)
    await tokens.close()
