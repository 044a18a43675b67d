"""Password hashes: what verifies, what is bounded, and that nothing tells which accounts exist."""

import asyncio
import threading

import pytest
from argon2 import low_level
from argon2.exceptions import VerifyMismatchError

from edge.errors import InvalidQuery, Overloaded, Unavailable
from edge.gateways import argon2_hashes
from edge.gateways.argon2_hashes import WAITING_PER_THREAD_MAX, Argon2Hashes

# `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32`, from the reference
# implementation's test vectors (phc-winner-argon2, src/test.c, version 0x13).
REFERENCE = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
FAST = {"memory_kib": 64, "time_cost": 1}
UNREADABLE = (
    "",
    "$",
    "plain",
    "$argon2id$",
    "$2b$12$abcdefghijklmnopqrstuv",
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
    "$argon2id$v=19$m=64,t=1,p=1$!!!!$????",
    "$argon2id$v=19$m=64,t=1,p=x$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
    "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
    "$argon2id$v=19$m=64,t=99999,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
    "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8\0",
    "$argon2id$v=19$m=64,t=1,p=1$ÄÖÜ$CTFh",
    "$" * 10_000,
)


@pytest.fixture
async def hashes():
    hasher = Argon2Hashes(**FAST)
    yield hasher
    await hasher.close()


@pytest.fixture
def verified(monkeypatch):
    """The encoded hashes that Argon2 computed; one that it cannot read costs nothing."""
    seen = []
    verify = low_level.verify_secret

    def counted(encoded, secret, kind):
        try:
            matches = verify(encoded, secret, kind)
        except VerifyMismatchError:
            seen.append(encoded)
            raise
        seen.append(encoded)
        return matches

    monkeypatch.setattr(argon2_hashes.low_level, "verify_secret", counted)
    return seen


async def test_a_password_verifies_against_its_hash_only(hashes):
    hashed = await hashes.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await hashes.verify(hashed, "correct horse")
    assert not await hashes.verify(hashed, "correct horsf")
    assert await hashes.hash("correct horse") != hashed


async def test_the_reference_vector_verifies(hashes):
    assert await hashes.verify(REFERENCE, "password")
    assert not await hashes.verify(REFERENCE, "Password")
    assert hashes.needs_rehash(REFERENCE)


async def test_the_default_parameters_are_those_of_owasp():
    hasher = Argon2Hashes()
    hashed = await hasher.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not hasher.needs_rehash(hashed)
    await hasher.close()


@pytest.mark.parametrize("hashed", UNREADABLE)
async def test_a_malformed_hash_is_no_match_and_is_to_be_renewed(hashes, verified, hashed):
    assert not await hashes.verify(hashed, "correct horse")
    assert len(verified) == 1
    is_decodable = hashed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert is_decodable or hashes.needs_rehash(hashed)


async def test_an_unknown_account_costs_what_a_known_one_does(hashes, verified):
    hashed = await hashes.hash("correct horse")
    assert not await hashes.verify(hashed, "wrong")
    assert not await hashes.verify(None, "wrong")
    known, unknown = verified
    assert known.rsplit(b"$", 2)[0] == unknown.rsplit(b"$", 2)[0]
    assert len(known) == len(unknown)


async def test_no_password_matches_the_missing_account(hashes, monkeypatch):
    monkeypatch.setattr(Argon2Hashes, "_matches", lambda *_: True)
    assert not await hashes.verify(None, "anything")


async def test_passwords_are_normalised(hashes):
    composed, decomposed = "caf\u00e9 \ufb01nal", "cafe\u0301 final"
    assert await hashes.verify(await hashes.hash(composed), decomposed)
    long = "\u00e9" * 256
    assert await hashes.verify(await hashes.hash(long), "e\u0301" * 256)


@pytest.mark.parametrize("password", ["x" * 257, "\ufdfa" * 200, "x" * 10**6, "half \ud83d"])
async def test_an_impossible_password_is_refused_before_any_work(hashes, verified, password):
    with pytest.raises(InvalidQuery):
        await hashes.hash(password)
    assert not await hashes.verify(REFERENCE, password)
    assert not await hashes.verify(None, password)
    assert verified == []


@pytest.mark.parametrize("password", ["", "x" * 256, "\U0001f600" * 256, "nul\0nul"])
async def test_every_possible_password_is_taken(hashes, password):
    hashed = await hashes.hash(password)
    assert await hashes.verify(hashed, password)
    assert not await hashes.verify(hashed, password + "x")


async def test_the_loop_runs_on_and_the_queue_is_bounded(monkeypatch):
    gate = threading.Event()
    running = threading.Event()

    def waits(*_):
        running.set()
        gate.wait(20)
        return True

    monkeypatch.setattr(Argon2Hashes, "_matches", waits)
    hasher = Argon2Hashes(**FAST, concurrency=1)
    verify = hasher.verify
    tasks = [asyncio.create_task(verify(REFERENCE, "x")) for _ in range(1 + WAITING_PER_THREAD_MAX)]
    await asyncio.sleep(0)
    assert await asyncio.to_thread(running.wait, 20)
    with pytest.raises(Overloaded):
        await verify(REFERENCE, "x")
    # The place of an abandoned request that runs is not free, that of one that waits is.
    tasks[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await verify(REFERENCE, "x")
    tasks[-1].cancel()
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(verify(REFERENCE, "x")))
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(answer is True for answer in answers) == WAITING_PER_THREAD_MAX
    assert await verify(REFERENCE, "x")
    await hasher.close()
    with pytest.raises(Unavailable):
        await verify(REFERENCE, "x")
