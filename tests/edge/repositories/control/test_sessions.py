"""Sessions: one rotation per generation, ending once, trimming what is over."""

import asyncio
from dataclasses import replace

from edge.ports.identity_records import SessionRecord

FIRST = SessionRecord(
    "t", "s1", "p", "d", "active", 1, b"now", b"before", b"salt", 10, 20, 1_000, 3, ("pw",), ""
)
SECOND = replace(
    FIRST, generation=2, current=b"next", previous=b"now", salt=b"x", refreshed_ms=30,
    expires_ms=2_000, proved_s=4, methods=("pw", "otp"),
)  # fmt: skip


def get(session="s1"):
    return lambda unit: unit.sessions.get("t", session)


async def test_a_session_is_rotated_once_per_generation(control):
    await control.write(lambda unit: unit.sessions.put(FIRST))
    answers = await asyncio.gather(
        *(
            control.write(lambda unit: unit.sessions.rotate(SECOND, from_generation=1))
            for _ in range(5)
        )
    )
    assert sorted(answers) == [False] * 4 + [True]
    assert await control.read(get()) == SECOND


async def test_an_ended_session_is_not_rotated_and_keeps_its_first_reason(control):
    await control.write(lambda unit: unit.sessions.put(FIRST))
    await control.write(lambda unit: unit.sessions.end("t", ["s1", "unknown"], reason="reuse"))
    await control.write(lambda unit: unit.sessions.end("t", ["s1"], reason="sign-out"))
    assert not await control.write(lambda unit: unit.sessions.rotate(SECOND, from_generation=1))
    ended = await control.read(get())
    assert ended == replace(FIRST, state="ended", reason="reuse")


async def test_active_ones_are_listed_newest_first(control):
    def fill(unit):
        unit.sessions.put(FIRST)
        unit.sessions.put(replace(FIRST, id="s2", created_ms=11))
        unit.sessions.put(replace(FIRST, id="s3", expires_ms=500))
        unit.sessions.put(replace(FIRST, id="s4", state="ended"))
        unit.sessions.put(replace(FIRST, id="s5", person="q"))

    await control.write(fill)
    found = await control.read(lambda unit: unit.sessions.active("t", "p", now_ms=500))
    assert [session.id for session in found] == ["s2", "s1"]


async def test_trimming_drops_expired_and_ended_ones_of_all_tenants_within_a_limit(control):
    def fill(unit):
        unit.sessions.put(FIRST)
        unit.sessions.put(replace(FIRST, id="expired", expires_ms=99))
        unit.sessions.put(replace(FIRST, id="both", expires_ms=99, state="ended"))
        unit.sessions.put(replace(FIRST, id="ended", tenant="u", state="ended", refreshed_ms=99))
        unit.sessions.put(replace(FIRST, id="ended later", state="ended", refreshed_ms=100))

    await control.write(fill)
    dropped = [
        await control.write(lambda unit: unit.sessions.trim(before_ms=100, limit=2))
        for _ in range(3)
    ]
    assert dropped == [2, 1, 0]
    assert await control.read(get()) == FIRST
    assert await control.read(get("ended later")) is not None
