"""Addresses, passwords, names, keys and authority."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refusal
from core.identity.accounts import (
    Account,
    AccountKind,
    AccountState,
    checked_name,
    checked_password,
    normalized_email,
)
from core.identity.keys import TRANSITIONS, Authority, KeyState, moved
from core.identity.proofs import Proof, device_id, is_timely, is_weak, signed_bytes
from core.ids import PersonId, TenantId


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        ("  ada@example.org ", "ada@example.org"),
        ("\uff21\uff24\uff21@example.org", "ada@example.org"),
        ("Stra\u00dfe@example.org", "stra\u00dfe@example.org"),
        ("ada+tag@sub.example.org", "ada+tag@sub.example.org"),
    ],
)
def test_addresses_have_one_form(text, normal):
    assert normalized_email(text) == normal


@pytest.mark.parametrize(
    "text", ["", "ada", "@b.org", "a@b", "a b@c.org", "a@b.org\nBcc: c@d.org", "a" * 250 + "@b.org"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Refusal):
        normalized_email(text)


@given(st.text(max_size=300))
def test_normalising_twice_changes_nothing(text):
    try:
        once = normalized_email(text)
    except Refusal:
        return
    assert normalized_email(once) == once


@pytest.mark.parametrize("password", ["short", "a" * 20, "x" * 257, "ada@example.org"])
def test_weak_passwords_are_refused(password):
    with pytest.raises(Refusal, match="weak-password"):
        checked_password(password, email="ada@example.org")


def test_a_long_phrase_is_a_password_and_is_composed():
    assert checked_password("correct horse battery") == "correct horse battery"
    assert checked_password("e\u0301" * 3 + "another word") == "\u00e9" * 3 + "another word"


def test_names_lose_control_characters():
    assert checked_name(" A\x00d\u202ea\n") == "Ada"


def test_a_revoked_key_goes_nowhere():
    for (state, step), after in TRANSITIONS.items():
        if state is KeyState.REVOKED:
            assert after is KeyState.REVOKED
        assert moved(state, step) is after
    with pytest.raises(KeyError):
        moved(KeyState.PREVIOUS, "activate")


@pytest.mark.parametrize(
    ("regions", "pinned", "is_covered"),
    [
        ({"*"}, (), True),
        ({"*"}, ("fra",), True),
        ({"fra"}, (), True),
        ({"fra"}, ("fra", "iad"), True),
        ({"fra"}, ("iad",), False),
    ],
)
def test_a_node_signs_for_tenants_of_its_regions(regions, pinned, is_covered):
    authority = Authority(frozenset(regions))
    assert authority.covers(tenant_regions=pinned, scopes=["admin"]) is is_covered


def test_a_node_signs_only_its_scopes():
    authority = Authority(scopes=frozenset({"reader"}))
    assert authority.covers(tenant_regions=(), scopes=["reader"])
    assert not authority.covers(tenant_regions=(), scopes=["reader", "admin"])


def test_what_is_signed_depends_on_every_part():
    whole = {"subject": "t", "at_unix_s": 1, "nonce": "n"}
    variants = {
        signed_bytes("refresh", **whole),
        signed_bytes("sign-in", **whole),
        *(signed_bytes("refresh", **{**whole, name: value}) for name, value in
          [("subject", "u"), ("at_unix_s", 2), ("nonce", "m")]),
    }  # fmt: skip
    assert len(variants) == 5
    assert device_id(b"a" * 32) != device_id(b"b" * 32)


def refusal_of(call, *arguments, **named):
    with pytest.raises(Refusal) as raised:
        call(*arguments, **named)
    return raised.value.code


def test_addresses_are_bounded_and_hold_no_control_characters():
    longest = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.org"
    assert len(longest) == 254
    assert normalized_email(longest) == longest
    assert refusal_of(normalized_email, longest.replace(".org", "x.org")) == "bad-email"
    assert refusal_of(normalized_email, "a\u202eb@example.org") == "bad-email"
    assert refusal_of(normalized_email, "no address") == "bad-email"


def test_passwords_have_a_least_and_a_greatest_length():
    phrase = "abcdefghij"
    assert checked_password(phrase) == phrase
    assert refusal_of(checked_password, phrase[:-1]) == "weak-password"
    longest = (phrase * 26)[:256]
    assert checked_password(longest) == longest
    assert refusal_of(checked_password, longest + "a") == "weak-password"


def test_a_password_has_five_different_characters_at_least():
    assert checked_password("abcdeabcde") == "abcdeabcde"
    assert refusal_of(checked_password, "abcdabcdabcd") == "weak-password"


@pytest.mark.parametrize("password", ["lovelace.ada@example.org", "Lovelace.ADA", "lovelace.ada"])
def test_neither_the_address_nor_its_first_part_is_a_password(password):
    email = "lovelace.ada@example.org"
    assert refusal_of(checked_password, password, email=email) == "weak-password"
    assert checked_password(password) == password
    assert checked_password("example.org", email=email) == "example.org"


def test_names_have_eighty_characters_at_most():
    assert checked_name("a" * 80) == "a" * 80
    assert refusal_of(checked_name, "a" * 81) == "long-name"
    assert checked_name(" " + "a" * 80 + "\n") == "a" * 80


def test_an_account_is_active_until_it_is_disabled():
    account = Account(
        TenantId("main"), PersonId("ada"), AccountKind.NAMED, AccountState.ACTIVE,
        name="Ada", scopes=frozenset(), created_ms=1,
    )  # fmt: skip
    assert account.is_active
    assert not replace(account, state=AccountState.DISABLED).is_active


def test_keys_move_along_their_life_and_no_other_way():
    moves = {
        (state, step): moved(state, step)
        for state in KeyState
        for step in ("activate", "replace", "revoke")
        if (state, step) in TRANSITIONS
    }
    assert moves == {
        ("standby", "activate"): "active",
        ("active", "replace"): "previous",
        ("standby", "revoke"): "revoked",
        ("active", "revoke"): "revoked",
        ("previous", "revoke"): "revoked",
        ("revoked", "revoke"): "revoked",
    }


@pytest.mark.parametrize(
    ("off_s", "is_good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_proof_is_good_for_five_minutes_on_both_sides(off_s, is_good):
    proof = Proof(at_unix_s=1_790_000_000 + off_s, nonce="n", signature=b"")
    assert is_timely(proof, now_unix_s=1_790_000_000) is is_good


def test_keys_of_a_small_order_are_weak_whatever_their_sign_bit():
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    for weak in (bytes(32), b"\x01" + bytes(31), order_8, b"\xec" + b"\xff" * 30 + b"\x7f"):
        assert is_weak(weak)
        assert is_weak(weak[:31] + bytes([weak[31] | 0x80]))
    assert not is_weak(b"\x02" + bytes(31))
    assert not is_weak(bytes(30) + b"\x01\x00")
    assert not is_weak(bytes(31) + b"\x01")
    assert not is_weak(bytes(31) + b"\x02")


def test_a_device_is_named_after_the_hash_of_its_key():
    assert device_id(b"") == "e3b0c44298fc1c149afbf4c8996fb924"
