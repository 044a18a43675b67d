"""Forged, stretched, misplaced and revoked tokens, and keys that never come back."""

import hmac
import itertools
import json
import time
from base64 import urlsafe_b64decode
from hashlib import sha256

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.services.tokens import AUDIENCE, TOKEN_TYPE
from tests.security.attacked import attacked_node
from tests.security.phones import bearer, text_of

DAY_S = 86_400
YEAR_S = 365 * DAY_S


@pytest.fixture
async def node(tmp_path):
    async with attacked_node(tmp_path) as running:
        yield running


def claims_of(**changed):
    """Return good claims; None leaves one out."""
    now = int(time.time())
    good = {"aud": AUDIENCE, "exp": now + 600, "iat": now, "sub": "ada", "tenant": "main"}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token_of(key, claims, **headers):
    named = {"kid": key.kid, "typ": TOKEN_TYPE, **headers}
    present = {name: value for name, value in named.items() if value is not None}
    return jwt.encode(claims, key.private, algorithm="EdDSA", headers=present)


def assembled(header, claims, sign):
    """Return a token of exactly these parts; no library has a say in it."""
    parts = [text_of(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, text_of(sign(".".join(parts).encode()))])


def public_forms(key):
    public = key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return [pem, pem.strip(), raw, text_of(raw).encode()]


async def status_of(node, token):
    return (await node.client.get("/v1/spaces", headers=bearer(token))).status_code


async def test_the_honest_token_is_taken(node):
    """What the refusals below are measured against."""
    key = node.keys.development_key()
    assert await status_of(node, token_of(key, claims_of())) == 200


# --- signatures -----------------------------------------------------------------------------------


async def test_nobody_signs_with_no_algorithm(node):
    key = node.keys.development_key()
    for algorithm in ("none", "None", "NONE", "nOnE", "", None):
        header = {"alg": algorithm, "kid": key.kid, "typ": TOKEN_TYPE}
        for sign in (lambda _content: b"", key.private.sign):
            assert await status_of(node, assembled(header, claims_of(), sign)) == 401


async def test_the_public_key_is_no_shared_secret(node):
    key = node.keys.development_key()
    for algorithm, secret in itertools.product(("HS256", "EdDSA"), public_forms(key)):
        header = {"alg": algorithm, "kid": key.kid, "typ": TOKEN_TYPE}
        forged = assembled(header, claims_of(), lambda c, s=secret: hmac.digest(s, c, "sha256"))
        assert await status_of(node, forged) == 401


async def test_a_stranger_signs_nothing_under_our_key_id(node):
    stranger = Ed25519PrivateKey.generate()
    header = {"alg": "EdDSA", "kid": node.keys.development_key().kid, "typ": TOKEN_TYPE}
    assert await status_of(node, assembled(header, claims_of(), stranger.sign)) == 401


async def test_a_good_signature_is_of_one_content_only(node):
    key = node.keys.development_key()
    header, _, signature = token_of(key, claims_of()).split(".")
    claims = text_of(json.dumps(claims_of(scope="admin operator")).encode())
    assert await status_of(node, f"{header}.{claims}.{signature}") == 401
    assert await status_of(node, f"{header}.{claims}.") == 401
    assert await status_of(node, f"{header}.{claims}") == 401


# --- headers --------------------------------------------------------------------------------------


async def test_a_token_brings_no_key_along(node):
    own = Ed25519PrivateKey.generate()
    raw = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": text_of(raw)}
    key = node.keys.development_key()
    brought = [
        {"jwk": jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/key.pem"},
        {"x5c": [text_of(raw)]},
        {"x5t": text_of(sha256(raw).digest())},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
    ]
    for extra in brought:
        header = {"alg": "EdDSA", "kid": key.kid, "typ": TOKEN_TYPE, **extra}
        for signer in (own, key.private):
            assert await status_of(node, assembled(header, claims_of(), signer.sign)) == 401, extra


async def test_a_key_id_is_only_looked_up(node):
    odd = (None, "", "nobody", "../dev", "/etc/passwd", "a\u0000b", "' OR 1=1 --", "k" * 65, 1, [])
    sign = node.keys.development_key().private.sign
    for kid in odd:
        header = {"alg": "EdDSA", "kid": kid, "typ": TOKEN_TYPE}
        assert await status_of(node, assembled(header, claims_of(), sign)) == 401, kid
    del header["kid"]
    assert await status_of(node, assembled(header, claims_of(), sign)) == 401


async def test_only_access_tokens_give_access(node):
    """An ID token, or any other JWT of the same key, is not an access token."""
    key = node.keys.development_key()
    id_token = claims_of(aud="some-client", nonce="n", email="ada@example.org")
    for kind in ("JWT", "jwt", "id+jwt", "application/at+jwt", TOKEN_TYPE.upper()):
        for claims in (claims_of(), id_token):
            assert await status_of(node, token_of(key, claims, typ=kind)) == 401, kind
    assert await status_of(node, token_of(key, id_token)) == 401
    untyped = {"alg": "EdDSA", "kid": key.kid}
    assert await status_of(node, assembled(untyped, claims_of(), key.private.sign)) == 401


async def test_a_header_of_a_thousand_levels_is_refused(node):
    deep = text_of(b"[" * 1_500 + b"]" * 1_500)
    assert await status_of(node, f"{deep}.e30.{'A' * 86}") == 401


# --- claims ---------------------------------------------------------------------------------------


async def test_no_claim_may_be_missing(node):
    key = node.keys.development_key()
    for name in ("exp", "aud", "iat", "sub", "tenant"):
        assert await status_of(node, token_of(key, claims_of(**{name: None}))) == 401, name


async def test_claims_are_taken_as_they_must_be_or_not_at_all(node):
    key, now = node.keys.development_key(), int(time.time())
    for changed in (
        {"exp": now + 10 * YEAR_S},
        {"exp": now + 10 * YEAR_S, "iat": now + 10 * YEAR_S - 60},
        {"exp": now - 1},
        {"exp": 10**30},
        {"exp": str(now + 600)},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": -1},
        {"iat": now + 3_600, "exp": now + 3_660},
        {"iat": -(10**18)},
        {"aud": "another"},
        {"aud": [AUDIENCE]},
        {"aud": ["another", AUDIENCE]},
        {"sub": ""},
        {"sub": "a" * 65},
        {"sub": ["ada"]},
        {"sub": {"$ne": ""}},
        {"tenant": "../main"},
        {"tenant": "main\u0000"},
        {"tenant": 1},
        {"scope": ["admin"]},
        {"amr": "device"},
        {"auth_time": "now"},
    ):
        header = {"alg": "EdDSA", "kid": key.kid, "typ": TOKEN_TYPE}
        token = assembled(header, claims_of(**changed), key.private.sign)
        assert await status_of(node, token) == 401, changed


async def test_a_token_of_a_tenant_that_is_not_served_opens_nothing(node):
    token = token_of(node.keys.development_key(), claims_of(tenant="elsewhere"))
    assert await status_of(node, token) == 404


# --- other things in a token's place --------------------------------------------------------------


async def test_no_other_secret_is_an_access_token(node):
    phone = await node.phone().sign_in()
    made = await node.operate("POST", "/v1/admin/service-tokens", json={"name": "backend"})
    assert made.status_code == 201, made.text
    for secret in (phone.refresh_token, made.json()["token"], phone.session, "x" * 100_000, "."):
        assert await status_of(node, secret) == 401
    assert await status_of(node, phone.access) == 200


async def test_an_access_token_refreshes_nothing(node):
    phone = await node.phone().sign_in()
    for way, body in (
        ("refresh", phone.refresh_body(phone.session)),
        ("service", {"token": phone.refresh_token}),
        ("service", {"token": phone.access[:256]}),
    ):
        assert (await node.client.post(f"/v1/auth/{way}", json=body)).status_code == 400
    assert (await phone.refresh()).status_code == 200


async def test_a_large_token_is_not_parsed(node, monkeypatch):
    asked = []
    monkeypatch.setattr(node.tokens._keys, "find", asked.append)
    key = node.keys.development_key()
    assert await status_of(node, token_of(key, claims_of(padding="x" * 100_000))) == 401
    assert asked == []


async def test_the_token_comes_in_one_bearer_header(node):
    token = (await node.phone().sign_in()).access
    good = (b"authorization", b"Bearer " + token.encode())
    for headers in (
        [(b"authorization", b"Basic " + token.encode())],
        [(b"authorization", token.encode())],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer\t" + token.encode())],
        [(b"authorization", b"Bearer a, Bearer " + token.encode())],
        [good, good],
        [good, (b"authorization", b"Bearer nobody")],
        [(b"authorization", b"Bearer nobody"), good],
        [good, good, good],
        [(b"cookie", b"access_token=" + token.encode())],
        [(b"x-authorization", b"Bearer " + token.encode())],
    ):
        status, _ = await node.raw("GET", "/v1/spaces", headers=headers)
        assert status == 401, headers
    for path in (f"/v1/spaces?access_token={token}", f"/v1/spaces?token={token}"):
        assert (await node.raw("GET", path))[0] == 401
    assert (await node.raw("GET", "/v1/spaces", headers=[good]))[0] == 200


async def test_a_thousand_unknown_keys_read_the_key_folder_once(node, monkeypatch):
    ring = node.trust._files
    reads = []
    public_keys = ring._store.public_keys
    monkeypatch.setattr(ring._store, "public_keys", lambda: reads.append(1) or public_keys())
    now_s = time.monotonic()
    monkeypatch.setattr(ring, "_clock", lambda: now_s)
    key = node.keys.development_key()
    assert await status_of(node, token_of(key, claims_of())) == 200
    kept = (len(node.tokens._verified), len(ring._keys), len(node.trust._known.keys))
    for number in range(1_000):
        assert await status_of(node, token_of(key, claims_of(), kid=f"kid-{number}")) == 401
    assert len(reads) <= 1
    assert kept == (len(node.tokens._verified), len(ring._keys), len(node.trust._known.keys))


# --- keys of nodes --------------------------------------------------------------------------------


async def test_a_node_key_says_neither_who_operates_nor_what_another_node_says(node):
    key, own = node.identity.signing._active, node.identity.signing.node
    assert await status_of(node, token_of(key, claims_of(iss=own))) == 200
    for claims in (
        claims_of(iss=own, scope="operator"),
        claims_of(iss=own, scope="admin operator"),
        claims_of(iss="another"),
        claims_of(iss=""),
        claims_of(),
    ):
        assert await status_of(node, token_of(key, claims)) == 401, claims


async def test_a_revoked_key_never_comes_back(node):
    phone, key = await node.phone().sign_in(), node.identity.signing._active
    assert await phone.is_signed_in()
    answer = await node.operate("POST", f"/v1/operator/keys/{key.kid}/revoke")
    assert answer.status_code == 200, answer.text
    assert not await phone.is_signed_in()
    assert await status_of(node, token_of(key, claims_of(iss=node.identity.signing.node))) == 401
    attacker = Ed25519PrivateKey.generate()
    for signer in (attacker, key.private):
        pem = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for kid in (key.kid, "dropped"):
            (node.settings.keys_folder / f"{kid}.pub").write_bytes(pem)
            node.trust._files._read_at = None  # what five seconds would do
            header = {"alg": "EdDSA", "kid": kid, "typ": TOKEN_TYPE}
            status = await status_of(node, assembled(header, claims_of(), signer.sign))
            assert status == (401 if kid == key.kid else 200)
    published = (await node.client.get("/.well-known/jwks.json")).json()["keys"]
    assert key.kid not in {entry["kid"] for entry in published}
    assert (await phone.refresh()).status_code == 200
    assert await phone.is_signed_in()


async def test_published_keys_are_public_halves(node):
    published = (await node.client.get("/.well-known/jwks.json")).json()["keys"]
    assert published
    for entry in published:
        assert set(entry) == {"kty", "crv", "alg", "use", "kid", "x"}
        assert len(urlsafe_b64decode(entry["x"] + "=")) == 32
