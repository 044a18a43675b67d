"""Credentials: one per subject, used, removed by their person alone, listed by kind."""

from dataclasses import replace

import pytest

from edge.errors import ConstraintViolated
from edge.ports.identity_records import CredentialRecord

ONE = CredentialRecord("t", "c1", "p", "passkey", "subject", b"\x00key", "phone", 1, 5, 6)


async def test_a_subject_is_taken_once_per_kind(control):
    def work(unit):
        add = unit.credentials.add
        return (
            add(ONE),
            add(replace(ONE, id="c2", person="q")),
            add(replace(ONE, id="c3", kind="password")),
            unit.credentials.find("t", "passkey", "subject"),
            unit.credentials.find("t", "passkey", "other"),
        )

    assert await control.write(work) == (True, False, True, ONE, None)
    with pytest.raises(ConstraintViolated):
        await control.write(lambda unit: unit.credentials.add(replace(ONE, subject="new")))


async def test_use_and_removal(control):
    await control.write(lambda unit: unit.credentials.add(ONE))
    await control.write(lambda unit: unit.credentials.used("t", "c1", counter=9, at_ms=99))
    found = await control.read(lambda unit: unit.credentials.of_person("t", "p"))
    assert found == [replace(ONE, counter=9, used_ms=99)]

    def remove(person):
        return control.write(lambda unit: unit.credentials.remove("t", person, "c1"))

    assert [await remove("q"), await remove("p"), await remove("p")] == [False, True, False]


async def test_orders(control):
    def fill(unit):
        for n, created_ms in enumerate((30, 10, 20)):
            unit.credentials.add(replace(ONE, id=f"c{n}", subject=f"s{n}", created_ms=created_ms))

    await control.write(fill)
    oldest = await control.read(lambda unit: unit.credentials.of_person("t", "p"))
    assert [c.id for c in oldest] == ["c1", "c2", "c0"]
    page = await control.read(
        lambda unit: unit.credentials.of_kind("t", "passkey", after="c0", limit=1)
    )
    assert [c.id for c in page] == ["c1"]
