"""Refresh tokens: rotation, lost answers, reuse; against a model of one device and a thief."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity.sessions import (
    RefreshAnswer,
    RefreshToken,
    Session,
    SessionState,
    hash_secret,
    judge_refresh,
    next_secret,
)
from core.ids import PersonId, TenantId

NOW_MS = 1_790_000_000_000
FIRST = bytes(range(32))


def new_session(secret=FIRST):
    return Session(
        TenantId("main"), "s1", PersonId("ada"), "d1", SessionState.ACTIVE,
        generation=0, current=hash_secret(secret), previous=b"", salt=b"",
        created_ms=NOW_MS, refreshed_ms=NOW_MS, expires_ms=NOW_MS + 1_000,
        proved_s=NOW_MS // 1_000, methods=("password",),
    )  # fmt: skip


def rotated(session, secret, salt):
    following = next_secret(secret, salt)
    after = replace(
        session,
        generation=session.generation + 1,
        current=hash_secret(following),
        previous=session.current,
        salt=salt,
    )
    return after, following


def token(session, generation, secret):
    return RefreshToken(session.tenant, session.id, generation, secret)


@given(st.lists(st.booleans(), max_size=40))
def test_a_device_whose_answers_get_lost_is_never_refused(losses):
    """Each refresh may lose its answer; the device then presents what it had."""
    session, held, generation = new_session(), FIRST, 0
    for number, is_lost in enumerate(losses):
        presented = token(session, generation, held)
        answer = judge_refresh(session, presented, now_ms=NOW_MS)
        if answer is RefreshAnswer.ROTATE:
            session, given_out = rotated(session, held, number.to_bytes(16, "big"))
        else:
            assert answer is RefreshAnswer.REPEAT
            given_out = next_secret(held, session.salt)
            assert hash_secret(given_out) == session.current
        if not is_lost:
            held, generation = given_out, session.generation


@given(st.integers(2, 20), st.data())
def test_a_token_two_or_more_generations_old_is_reuse(rotations, data):
    session, secret, secrets = new_session(), FIRST, [FIRST]
    for number in range(rotations):
        session, secret = rotated(session, secret, bytes([number]) * 16)
        secrets.append(secret)
    old = data.draw(st.integers(0, rotations - 2))
    presented = token(session, old, secrets[old])
    assert judge_refresh(session, presented, now_ms=NOW_MS) is RefreshAnswer.REUSE


@pytest.mark.parametrize("generation", [0, 1, 2, 7])
def test_another_secret_is_refused_in_the_current_and_previous_and_future_generations(generation):
    session, _ = rotated(new_session(), FIRST, b"salt")
    session, _ = rotated(session, b"x" * 32, b"pepper")
    presented = token(session, generation, b"?" * 32)
    answer = judge_refresh(session, presented, now_ms=NOW_MS)
    assert answer is (RefreshAnswer.REUSE if generation == 0 else RefreshAnswer.REFUSE)


def test_an_ended_and_an_expired_session_refuse_even_the_right_token():
    session = new_session()
    presented = token(session, 0, FIRST)
    ended = replace(session, state=SessionState.ENDED)
    assert judge_refresh(ended, presented, now_ms=NOW_MS) is RefreshAnswer.REFUSE
    late = session.expires_ms
    assert judge_refresh(session, presented, now_ms=late) is RefreshAnswer.REFUSE


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**31 - 1))
def test_a_token_survives_its_text(secret, generation):
    written = RefreshToken(TenantId("a.b:c"), "s-1", generation, secret)
    assert RefreshToken.parse(written.text()) == written


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_none(text):
    assert RefreshToken.parse(text) is None
    RefreshToken.parse("skr_" + text)  # never raises


def test_secrets_follow_one_another_as_clients_of_old_versions_compute_them():
    """The text and the derivation are kept by phones: neither may ever change."""
    assert next_secret(FIRST, b"salt").hex() == (
        "3a1cb9ce95b4af96ed58b29e979764c23c598c9eb7306131732307a5eea90350"
    )
    written = RefreshToken(TenantId("main"), "s1", 7, FIRST).text()
    assert written == "skr_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8.7.s1.main"


@pytest.mark.parametrize(
    ("change", "is_token"),
    [
        (("", ""), True),
        (("skr_", "skx_"), False),
        (("skr_", ""), False),
        (("AAEC", "AA!C"), False),
        (("AAEC", "AAECA"), False),
        ((".7.", ".2147483647."), True),
        ((".7.", ".12345678901."), False),
        ((".7.", ".x."), False),
        ((".7.", ".\u0663."), False),
        ((".s1.", ".-s."), False),
        ((".main", ".-main"), False),
        ((".main", ""), False),
        ((".s1.main", f".{'s' * 64}.{'t' * 64}"), True),
        ((".s1.main", f".{'s' * 65}.main"), False),
    ],
)
def test_every_part_of_a_token_is_read(change, is_token):
    old, new = change
    written = RefreshToken(TenantId("main"), "s1", 7, FIRST).text().replace(old, new, 1)
    assert (RefreshToken.parse(written) is not None) is is_token


def test_a_session_is_over_at_its_last_moment():
    session = new_session()
    assert session.is_active(now_ms=session.expires_ms - 1)
    assert not session.is_active(now_ms=session.expires_ms)
    assert not replace(session, state=SessionState.ENDED).is_active(now_ms=NOW_MS)
