"""Passkeys against a software authenticator, honest and dishonest."""

import copy
import json
import os

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InvalidGrant
from edge.gateways.passkey_origins import require_origins
from edge.gateways.webauthn_passkeys import CREDENTIAL_BYTES_MAX, PRESENT_MAX, WebAuthnPasskeys
from tests.edge.gateways.authenticator import (
    EDDSA,
    ES256,
    RS256,
    SoftAuthenticator,
    cose_key,
    from_base64url,
    to_base64url,
)

DOMAIN, ORIGIN = "example.org", "https://app.example.org"
ANDROID = "android:apk-key-hash:" + "A" * 43
PERSON = "01hx3k9v7d2q8r5t6w4y0z1abc"
CHALLENGE = b"c" * 32


@pytest.fixture
def passkeys():
    return WebAuthnPasskeys(rp_id=DOMAIN, rp_name="Skerry", origins=[ORIGIN, ANDROID])


@pytest.fixture
def phone():
    return SoftAuthenticator(DOMAIN, ORIGIN)


def created(passkeys, phone, *, challenge=CHALLENGE, present=()):
    return phone.create(
        passkeys.registration_options(
            person=PERSON, name="Ada", challenge=challenge, present=present
        )
    )


def registered(passkeys, phone):
    return passkeys.verify_registration(created(passkeys, phone), challenge=CHALLENGE)


def signed(passkeys, phone, new, *, challenge=CHALLENGE, sign_count=None, change=None):
    credential = phone.get(passkeys.sign_in_options(challenge=challenge))
    if change is not None:
        change(credential)
    return passkeys.verify_sign_in(
        credential,
        challenge=CHALLENGE,
        public_key=new.public_key,
        sign_count=new.sign_count if sign_count is None else sign_count,
    )


def refused(work):
    with pytest.raises(InvalidGrant) as caught:
        work()
    assert caught.value.message == "The passkey does not sign in to any account."
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
@pytest.mark.parametrize("origin", [ORIGIN, ANDROID])
def test_a_passkey_registers_and_signs_in(passkeys, algorithm, origin):
    phone = SoftAuthenticator(DOMAIN, origin, algorithm=algorithm)
    new = registered(passkeys, phone)
    assert new.credential_id == phone.passkeys[0].id
    assert (new.sign_count, new.is_backed_up) == (1, False)
    credential = phone.get(passkeys.sign_in_options(challenge=CHALLENGE))
    assert json.loads(json.dumps(credential)) == credential
    assert passkeys.credential_id_of(credential) == new.credential_id
    assert passkeys.user_of(credential) == PERSON
    assert signed(passkeys, phone, new) == 3


def test_options_require_a_verified_person_and_a_discoverable_passkey(passkeys):
    made = passkeys.registration_options(
        person=PERSON, name="", challenge=CHALLENGE, present=[b"one", b"two"]
    )
    assert made["rp"] == {"id": DOMAIN, "name": "Skerry"}
    assert made["user"]["name"] == PERSON
    assert made["challenge"] == to_base64url(CHALLENGE)
    assert made["attestation"] == "none"
    assert made["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert [e["id"] for e in made["excludeCredentials"]] == [
        to_base64url(b"one"),
        to_base64url(b"two"),
    ]
    many = passkeys.registration_options(
        person=PERSON, name="Ada", challenge=CHALLENGE, present=[b"x"] * 1_000
    )
    assert len(many["excludeCredentials"]) == PRESENT_MAX
    asked = passkeys.sign_in_options(challenge=CHALLENGE)
    assert asked["userVerification"] == "required"
    assert asked["allowCredentials"] == []
    assert PERSON not in json.dumps(asked)
    json.dumps(made)


def test_an_authenticator_that_has_one_makes_no_second(passkeys, phone):
    new = registered(passkeys, phone)
    with pytest.raises(ValueError, match="InvalidStateError"):
        created(passkeys, phone, present=[new.credential_id])


def test_a_synced_passkey_without_counts_signs_in_again_and_again(passkeys, phone):
    phone.counts, phone.syncs = False, True
    new = registered(passkeys, phone)
    assert (new.sign_count, new.is_backed_up) == (0, True)
    assert signed(passkeys, phone, new) == signed(passkeys, phone, new) == 0


LIES = [
    ("origin", "https://app.example.org.evil.example"),
    ("origin", "https://example.org"),
    ("origin", "http://app.example.org"),
    ("rp_id", "evil.example"),
    ("challenge", b"another challenge"),
    ("challenge", b""),
    ("is_present", False),
    ("verifies", False),
    ("cross_origin", True),
    ("cross_origin", "yes"),
]


@pytest.mark.parametrize(("switch", "value"), [*LIES, ("type", "webauthn.get")])
def test_a_registration_that_is_not_ours_is_refused(passkeys, phone, switch, value):
    setattr(phone, switch, value)
    refused(lambda: registered(passkeys, phone))


@pytest.mark.parametrize(("switch", "value"), [*LIES, ("type", "webauthn.create")])
def test_a_sign_in_that_is_not_ours_is_refused(passkeys, phone, switch, value):
    new = registered(passkeys, phone)
    setattr(phone, switch, value)
    refused(lambda: signed(passkeys, phone, new))


def test_a_client_that_says_nothing_of_frames_is_taken(passkeys, phone):
    phone.cross_origin = None
    assert signed(passkeys, phone, registered(passkeys, phone)) == 2


@pytest.mark.parametrize("count", [0, 4, 5])
def test_a_sign_count_that_did_not_grow_is_refused(passkeys, phone, count):
    new = registered(passkeys, phone)
    phone.next_count = count
    refused(lambda: signed(passkeys, phone, new, sign_count=5))
    phone.next_count = 6
    assert signed(passkeys, phone, new, sign_count=5) == 6


def test_another_passkeys_signature_is_refused(passkeys, phone):
    new = registered(passkeys, phone)
    registered(passkeys, phone)
    refused(lambda: signed(passkeys, phone, new))


@pytest.mark.parametrize("part", ["signature", "authenticatorData", "clientDataJSON"])
def test_a_signature_over_anything_else_is_refused(passkeys, phone, part):
    new = registered(passkeys, phone)

    def change(credential):
        content = bytearray(from_base64url(credential["response"][part]))
        content[-3] ^= 1
        credential["response"][part] = to_base64url(bytes(content))

    refused(lambda: signed(passkeys, phone, new, change=change))


@pytest.mark.parametrize(
    "attestation",
    [
        ("packed", {"alg": -7, "sig": b"no signature", "x5c": [b"no certificate"]}),
        ("tpm", {"ver": "2.0", "certInfo": b"", "pubArea": b""}),
        ("android-safetynet", {"ver": "1", "response": b"a.b.c"}),
        ("of-the-future", {"anything": [1, 2]}),
    ],
)
def test_an_attestation_nobody_asked_for_is_not_read(passkeys, phone, attestation):
    phone.attestation = attestation
    new = registered(passkeys, phone)
    assert signed(passkeys, phone, new) == 2


def with_public_key(credential, cose):
    """Put another public key into a registration."""
    content = cbor2.loads(from_base64url(credential["response"]["attestationObject"]))
    id_size = int.from_bytes(content["authData"][53:55], "big")
    content["authData"] = content["authData"][: 55 + id_size] + cose
    credential["response"]["attestationObject"] = to_base64url(cbor2.dumps(content))
    return credential


def weak_rsa():
    return cose_key(rsa.generate_private_key(public_exponent=65_537, key_size=1_024), RS256)


@pytest.mark.parametrize(
    "cose",
    [
        {},
        {1: 2, 3: ES256, -1: 1, -2: b"\x01" * 32, -3: b"\x01" * 32},  # not on the curve
        cose_key(ec.generate_private_key(ec.SECP384R1()), ES256),
        cose_key(ec.generate_private_key(ec.SECP256R1()), -36),
        cose_key(ec.generate_private_key(ec.SECP256R1()), EDDSA),
        {1: 1, 3: EDDSA, -1: 6, -2: b"short"},
        weak_rsa(),
        {1: 3, 3: RS256, -1: b"\xff" * 1_024, -2: b"\x01\x00\x01"},
        {1: 4, 3: 5, -1: b"symmetric"},
        "text",
        4,
    ],
)
def test_a_key_that_could_never_sign_in_is_refused(passkeys, phone, cose):
    credential = with_public_key(created(passkeys, phone), cbor2.dumps(cose))
    refused(lambda: passkeys.verify_registration(credential, challenge=CHALLENGE))


def test_a_registration_under_another_passkeys_id_is_refused(passkeys, phone):
    credential = created(passkeys, phone)
    credential["id"] = credential["rawId"] = to_base64url(os.urandom(32))
    refused(lambda: passkeys.verify_registration(credential, challenge=CHALLENGE))


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x81" * 5_000,
        cbor2.dumps({"fmt": "none"}),
        cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": b"short"}),
        cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": 5}),
        bytes.fromhex("d81ca1") + b"\x68authData" + bytes.fromhex("d81d00"),  # holds itself
    ],
)
def test_odd_attestation_objects_are_refused(passkeys, phone, content):
    credential = created(passkeys, phone)
    credential["response"]["attestationObject"] = to_base64url(content)
    refused(lambda: passkeys.verify_registration(credential, challenge=CHALLENGE))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.clear(),
        lambda c: c.update(id=5),
        lambda c: c.update(id="not base64url!"),
        lambda c: c.update(id=c["id"] + "="),
        lambda c: c.update(id="\ud83d"),
        lambda c: c.update(type="password"),
        lambda c: c.pop("response"),
        lambda c: c.update(response=[]),
        lambda c: c.update(padding="x" * CREDENTIAL_BYTES_MAX),
        lambda c: c.update(padding=nested(100_000)),
        lambda c: c["response"].update(clientDataJSON=to_base64url(b"[" * 9_000)),
        lambda c: c["response"].update(clientDataJSON=to_base64url(b"{}")),
        lambda c: c["response"].update(clientDataJSON=to_base64url(b"\xff\xfe")),
        lambda c: c["response"].update(clientDataJSON=None),
    ],
)
def test_odd_credentials_are_refused(passkeys, phone, change):
    credential = created(passkeys, phone)
    change(credential)
    refused(lambda: passkeys.verify_registration(credential, challenge=CHALLENGE))
    new = registered(passkeys, phone)
    refused(lambda: signed(passkeys, phone, new, change=change))


@pytest.mark.parametrize("id_", [None, 5, "", "a", "=", "A" * 2_000, "ä"])
def test_odd_ids_are_refused(passkeys, id_):
    refused(lambda: passkeys.credential_id_of({"id": id_, "type": "public-key"}))


@pytest.mark.parametrize("handle", [5, "a", to_base64url(b"\xff"), []])
def test_odd_user_handles_are_refused(passkeys, phone, handle):
    registered(passkeys, phone)
    credential = phone.get(passkeys.sign_in_options(challenge=CHALLENGE))
    credential["response"]["userHandle"] = handle
    refused(lambda: passkeys.user_of(credential))


@pytest.mark.parametrize("handle", [None, ""])
def test_a_user_handle_may_be_missing(passkeys, phone, handle):
    registered(passkeys, phone)
    credential = phone.get(passkeys.sign_in_options(challenge=CHALLENGE))
    credential["response"]["userHandle"] = handle
    assert passkeys.user_of(credential) is None
    del credential["response"]["userHandle"]
    assert passkeys.user_of(credential) is None


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), part=st.integers(0, 1))
def test_no_flipped_bit_raises_anything_else(at, bit, part):
    passkeys = WebAuthnPasskeys(rp_id=DOMAIN, rp_name="Skerry", origins=[ORIGIN])
    credential = copy.deepcopy(created(passkeys, SoftAuthenticator(DOMAIN, ORIGIN)))
    name = ("attestationObject", "clientDataJSON")[part]
    content = bytearray(from_base64url(credential["response"][name]))
    content[at % len(content)] ^= 1 << bit
    credential["response"][name] = to_base64url(bytes(content))
    try:
        passkeys.verify_registration(credential, challenge=CHALLENGE)
    except InvalidGrant:
        return


@pytest.mark.parametrize(
    ("domain", "origin"),
    [
        (DOMAIN, "https://example.org"),
        (DOMAIN, "https://a.b.example.org:8443"),
        (DOMAIN, ANDROID),
        ("localhost", "http://localhost:3000"),
    ],
)
def test_origins_of_the_domain_are_taken(domain, origin):
    require_origins(domain, [origin])


@pytest.mark.parametrize(
    ("domain", "origins"),
    [
        (DOMAIN, []),
        (DOMAIN, ["https://evil.example"]),
        (DOMAIN, ["https://notexample.org"]),
        (DOMAIN, ["http://example.org"]),
        (DOMAIN, ["https://example.org/"]),
        (DOMAIN, ["https://example.org:443"]),
        (DOMAIN, ["https://EXAMPLE.org"]),
        (DOMAIN, ["https://user@example.org"]),
        (DOMAIN, ["https://example.org:port"]),
        (DOMAIN, ["example.org"]),
        (DOMAIN, ["*"]),
        (DOMAIN, ["android:apk-key-hash:short"]),
        (DOMAIN, [ORIGIN] * 51),
        ("Example.org", [ORIGIN]),
        ("https://example.org", [ORIGIN]),
        ("127.0.0.1", ["http://127.0.0.1"]),
        ("", [ORIGIN]),
    ],
)
def test_other_origins_are_a_mistake_of_the_operator(domain, origins):
    with pytest.raises(ValueError, match=r"origin|domain"):
        WebAuthnPasskeys(rp_id=domain, rp_name="Skerry", origins=origins)
