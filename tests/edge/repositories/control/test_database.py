"""The control database: its format, its version in writing and reading processes, its units."""

import asyncio
import sqlite3

import pytest

from core.errors import DeclarationError
from edge.errors import Unavailable
from edge.ports.identity_records import (
    AccountRecord,
    AuditRecord,
    CredentialRecord,
    DeviceKeyRecord,
    KeyRecord,
    TenantRecord,
)
from edge.repositories.control.database import SqlControlDatabase
from edge.storage.sqlite import READERS_MAX, SqliteEngine

TENANT = TenantRecord("t", "active", ("eu", "us"), {"mail": {"from": "a@b"}, "n": 1}, 5)


def meta(path):
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT key, value FROM ct_meta"))
    connection.close()
    return found


async def test_migrating_again_changes_nothing(control, tmp_path):
    await control.write(lambda unit: unit.tenants.put(TENANT))
    before, version = meta(tmp_path / "control.db"), await control.version()
    await control.migrate()
    assert meta(tmp_path / "control.db") == before
    assert before["format"] == "1"
    assert len(before["database"]) == 32
    assert await control.version() == version
    assert await control.read(lambda unit: unit.tenants.get("t")) == TENANT


async def test_a_newer_format_is_refused(control, tmp_path):
    with sqlite3.connect(tmp_path / "control.db") as connection:
        connection.execute("UPDATE ct_meta SET value = '2' WHERE key = 'format'")
    connection.close()
    with pytest.raises(DeclarationError, match="format 2"):
        await control.migrate()
    assert meta(tmp_path / "control.db")["format"] == "2"


async def test_the_version_follows_every_commit_in_the_writing_process(control):
    seen = [await control.version()]
    assert await control.version() == seen[0], "nothing was written"
    for _ in range(READERS_MAX + 2):
        await control.write(lambda unit: unit.tenants.put(TENANT))
        seen.append(await control.version())
    await control.write(lambda unit: unit.revocations.add("t", "person", "p", at_s=1, until_s=2))
    seen.append(await control.version())
    await control.write(lambda unit: unit.revocations.trim(now_s=9))
    seen.append(await control.version())
    assert len(set(seen)) == len(seen)
    await control.write(lambda unit: unit.revocations.trim(now_s=9))
    assert await control.version() == seen[-1], "nothing changed"
    await control.write(lambda unit: unit.audit.add(AuditRecord(0, "t", 1, "a", "b", "c", "")))
    assert await control.version() == seen[-1], "nobody has to know of it at once"


async def test_the_version_follows_in_a_reading_process_whatever_reader_answers(control, tmp_path):
    engine = SqliteEngine(tmp_path / "control.db", is_writer=False)
    await engine.open()
    reading = SqlControlDatabase(engine)
    for _ in range(READERS_MAX + 2):
        await control.write(lambda unit: unit.tenants.put(TENANT))
        version = await control.version()
        assert await reading.version() == version
        versions = await asyncio.gather(*(reading.version() for _ in range(READERS_MAX * 2)))
        assert set(versions) == {version}
    with sqlite3.connect(tmp_path / "control.db") as connection:
        connection.execute("UPDATE ct_tenant SET state = 'closed'")
    connection.close()
    assert await reading.version() == await control.version() != version
    with pytest.raises(Unavailable):
        await reading.write(lambda unit: unit.tenants.put(TENANT))
    await reading.close()


async def test_a_unit_that_raises_leaves_nothing_not_even_a_version(control):
    version = await control.version()

    def work(unit):
        unit.tenants.put(TENANT)
        raise LookupError

    with pytest.raises(LookupError):
        await control.write(work)
    assert await control.version() == version
    assert await control.read(lambda unit: unit.tenants.all()) == []


async def test_records_come_back_as_they_were_put_and_put_again(control):
    first = [
        ("tenants", TENANT, lambda s: s.get("t")),
        (
            "accounts",
            AccountRecord("t", "p", "person", "active", "N", ("a", "b"), 5),
            lambda s: s.get("t", "p"),
        ),
        (
            "devices",
            DeviceKeyRecord("t", "d", "p", b"\x00" * 32, "N", 5),
            lambda s: s.get("t", "d"),
        ),
        (
            "keys",
            KeyRecord("k", "node", "active", b"\xff" * 32, {"x": [1]}, 5, 6),
            lambda s: s.all()[0],
        ),
    ]
    again = [
        ("tenants", TenantRecord("t", "closed", (), {}, 5)),
        ("accounts", AccountRecord("t", "p", "service", "closed", "M", (), 5)),
        ("devices", DeviceKeyRecord("t", "d", "q", b"\x00" * 32, "M", 7)),
        ("keys", KeyRecord("k", "node", "retired", b"\xff" * 32, {}, 5, 9)),
    ]
    for (store, record, get), (_, other) in zip(first, again, strict=True):
        for value in (record, other):
            await control.write(lambda unit, s=store, v=value: getattr(unit, s).put(v))
            assert await control.read(lambda unit, s=store, g=get: g(getattr(unit, s))) == value


async def test_erasing_an_account_or_a_tenant_leaves_what_belongs_to_others(control):
    def fill(unit):
        unit.tenants.put(TENANT)
        for person in ("p", "q"):
            unit.accounts.put(AccountRecord("t", person, "person", "active", "", (), 5))
            unit.credentials.add(
                CredentialRecord("t", f"c{person}", person, "passkey", person, b"", "", 0, 5, 5)
            )
            unit.devices.put(DeviceKeyRecord("t", f"d{person}", person, b"", "", 5))
        unit.revocations.add("t", "person", "p", at_s=1, until_s=2)

    await control.write(fill)
    await control.write(lambda unit: unit.accounts.erase("t", "p"))

    def left(unit):
        people = [a.person for a in unit.accounts.list("t", after="", limit=9)]
        credentials = unit.credentials.of_kind("t", "passkey", after="", limit=9)
        devices = [*unit.devices.of_person("t", "p"), *unit.devices.of_person("t", "q")]
        return people, [c.id for c in credentials], [d.id for d in devices]

    assert await control.read(left) == (["q"], ["cq"], ["dq"])
    await control.write(lambda unit: unit.tenants.erase("t"))
    assert await control.read(left) == ([], [], [])
    assert await control.read(lambda unit: unit.tenants.get("t")) == TENANT
    assert await control.read(lambda unit: unit.revocations.after(0, limit=9)) == []
