"""Tokens: what is taken, and every known way of forging one, refused."""

import json
import time
from base64 import urlsafe_b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.ids import PersonId, TenantId
from edge.errors import Unauthenticated
from edge.services import tokens as module
from edge.services.keys import KEYS_AGE_S_MAX, KeyRing
from edge.services.tokens import Tokens, mint
from edge.storage.key_files import KeyFiles

NOW = 1_800_000_000
LIFETIME_S_MAX = 86_400
CLAIMS = {
    "aud": "skerry",
    "exp": NOW + 600,
    "iat": NOW,
    "sub": "ada",
    "tenant": "main",
}


class Clock:
    def __init__(self):
        self.now = float(NOW)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def files(tmp_path):
    return KeyFiles(tmp_path / "keys")


@pytest.fixture
def key(files):
    return files.development_key()


@pytest.fixture
def verifier(files, clock):
    return Tokens(KeyRing(files, clock=clock), lifetime_s_max=LIFETIME_S_MAX, clock=clock)


def signed(key, *, claims=None, without=(), headers=None, private=None, **changes):
    content = {**CLAIMS, **(claims or {}), **changes}
    for name in without:
        content.pop(name)
    head = {"kid": key.kid, "typ": "at+jwt", **(headers or {})}
    return jwt.encode(content, private or key.private, algorithm="EdDSA", headers=head)


def raw(header, claims, signature=b""):
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts).decode()


def public_pem(key):
    return key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_with_the_public_key(key):
    import hashlib
    import hmac

    token = raw({"alg": "HS256", "kid": key.kid, "typ": "at+jwt"}, CLAIMS)
    body = token.rpartition(".")[0]
    mac = hmac.new(public_pem(key), body.encode(), hashlib.sha256).digest()
    return f"{body}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def without_kid(key):
    return jwt.encode(CLAIMS, key.private, algorithm="EdDSA", headers={"typ": "at+jwt"})


ATTACKS = {
    "no signature": lambda key: raw({"alg": "none", "kid": key.kid, "typ": "at+jwt"}, CLAIMS),
    "an empty signature": lambda key: signed(key).rpartition(".")[0] + ".",
    "another signature": lambda key: signed(key).rpartition(".")[0] + "." + "A" * 86,
    "the public key as a shared secret": hmac_with_the_public_key,
    "another key under our kid": lambda key: signed(key, private=Ed25519PrivateKey.generate()),
    "no kid": without_kid,
    "an unknown kid": lambda key: signed(key, headers={"kid": "nobody"}),
    "a kid that is a path": lambda key: signed(key, headers={"kid": "../../etc/passwd"}),
    "a kid that is a number": lambda _key: raw({"alg": "EdDSA", "kid": 1, "typ": "at+jwt"}, CLAIMS),
    "a place to fetch keys from": lambda key: signed(key, headers={"jku": "https://evil.example"}),
    "a certificate address": lambda key: signed(key, headers={"x5u": "https://evil.example"}),
    "a key of its own": lambda key: signed(key, headers={"jwk": {"kty": "OKP"}}),
    "a critical header": lambda key: signed(key, headers={"crit": ["exp"]}),
    "an unencoded payload": lambda key: signed(key, headers={"b64": False, "crit": ["b64"]}),
    "any other header": lambda key: signed(key, headers={"zip": "DEF"}),
    "a refresh token": lambda key: signed(key, headers={"typ": "rt+jwt"}),
    "an id token": lambda key: signed(key, headers={"typ": "JWT"}),
    "no type": lambda key: jwt.encode(
        CLAIMS, key.private, algorithm="EdDSA", headers={"kid": key.kid, "typ": None}
    ),
    "another audience": lambda key: signed(key, aud="elsewhere"),
    "many audiences": lambda key: signed(key, aud=["skerry", "elsewhere"]),
    "expired": lambda key: signed(key, iat=NOW - 700, exp=NOW - 100),
    "expiring now": lambda key: signed(key, exp=NOW),
    "for ever": lambda key: signed(key, exp=NOW + 10**9),
    "a lifetime too long by its own count": lambda key: signed(key, iat=NOW - LIFETIME_S_MAX),
    "from the future": lambda key: signed(key, iat=NOW + 500),
    "not yet valid": lambda key: signed(key, nbf=int(time.time()) + 10**6),
    "an infinite expiry": lambda key: signed(key, exp=float("inf")),
    "an expiry that is text": lambda key: signed(key, exp="tomorrow"),
    "an expiry that is true": lambda key: signed(key, exp=True),
    "a fractional expiry": lambda key: signed(key, exp=NOW + 1.5),
    "a person that is a number": lambda key: signed(key, claims={"sub": 7}),
    "a person that is a path": lambda key: signed(key, sub="../ada"),
    "no person": lambda key: signed(key, sub=""),
    "a tenant that is a path": lambda key: signed(key, tenant="../main"),
    "a scope that is a list": lambda key: signed(key, scope=["admin"]),
    "nothing": lambda _key: "",
    "two parts": lambda key: signed(key).rpartition(".")[0],
    "four parts": lambda key: signed(key) + ".x",
    "text": lambda _key: "not a token",
    "not ASCII": lambda _key: "\u00e9" * 20,
    "a list as header": lambda _key: raw([], CLAIMS),
    "a deep header": lambda _key: urlsafe_b64encode(b"[" * 2_000).decode() + ".e30.x",
    "4 KiB and more": lambda key: signed(key, padding="x" * 4_096),
    **{
        f"no {name}": lambda key, name=name: signed(key, without=(name,))
        for name in ("aud", "exp", "iat", "sub", "tenant")
    },
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_forged_token_is_refused(verifier, key, name):
    with pytest.raises(Unauthenticated):
        verifier.verify(ATTACKS[name](key))


def test_a_token_that_is_too_long_is_not_parsed(verifier, monkeypatch):
    def explode(*_arguments):
        raise AssertionError("parsed")

    monkeypatch.setattr(module.jwt, "get_unverified_header", explode)
    with pytest.raises(Unauthenticated):
        verifier.verify("x" * 100_000)


def test_a_good_token_names_the_person(verifier, key):
    principal = verifier.verify(signed(key, scope="admin other"))
    assert (principal.tenant, principal.person) == ("main", "ada")
    assert principal.is_admin
    assert principal.expires_unix_s == NOW + 600


def test_a_minted_token_is_taken(verifier, key):
    token = mint(
        key, tenant=TenantId("main"), person=PersonId("ada"), lifetime_s=60, now_unix_s=NOW
    )
    assert not verifier.verify(token).is_admin


def test_a_cached_token_still_expires(verifier, key, clock):
    token = signed(key)
    assert verifier.verify(token) is verifier.verify(token)
    clock.now += 600
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_a_cached_token_falls_with_its_key(verifier, key, clock, tmp_path):
    token = signed(key)
    verifier.verify(token)
    (tmp_path / "keys" / f"{key.kid}.pub").unlink()
    clock.now += KEYS_AGE_S_MAX
    with pytest.raises(Unauthenticated):
        verifier.verify(token)


def test_the_cache_is_bounded(verifier, key, monkeypatch):
    monkeypatch.setattr(module, "CACHED_TOKENS_MAX", 3)
    tokens = [signed(key, sub=f"p{n}") for n in range(5)]
    for token in tokens:
        verifier.verify(token)
    assert len(verifier._verified) == 3
    assert verifier.verify(tokens[0]).person == "p0"


def test_a_new_key_counts_after_a_while(verifier, key, files, clock, tmp_path):
    verifier.verify(signed(key))
    other = Ed25519PrivateKey.generate()
    pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "keys" / "issuer-1.pub").write_bytes(pem)
    token = signed(key, private=other, headers={"kid": "issuer-1"})
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
    clock.now += KEYS_AGE_S_MAX
    assert verifier.verify(token).person == "ada"
