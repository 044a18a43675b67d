"""The vault: hashes by credential, flows that are taken once."""

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from core.errors import DeclarationError
from edge.errors import ConstraintViolated
from edge.ports.identity_records import FlowRecord
from edge.repositories.vault.database import SqlVaultDatabase
from edge.storage.sqlite import SqliteEngine

FLOW = FlowRecord("t", "f1", "mail", "p", "a@b", b"\x00code", "hash", 0, 100)


@pytest.fixture
async def vault(tmp_path):
    engine = SqliteEngine(tmp_path / "vault.db", synchronous="NORMAL")
    await engine.open()
    database = SqlVaultDatabase(engine)
    await database.migrate()
    yield database
    await database.close()


async def test_a_flow_is_taken_by_one_alone(vault):
    await vault.write(lambda unit: unit.flows.add(FLOW))
    await vault.write(lambda unit: unit.flows.failed("t", "f1"))
    tried = replace(FLOW, attempts=1)
    assert await vault.read(lambda unit: unit.flows.get("t", "f1")) == tried
    with pytest.raises(ConstraintViolated):
        await vault.write(lambda unit: unit.flows.add(FLOW))
    taken = await asyncio.gather(
        *(vault.write(lambda unit: unit.flows.take("t", "f1")) for _ in range(4))
    )
    assert sorted(taken, key=bool) == [None, None, None, tried]


async def test_open_flows_are_counted_and_expired_ones_dropped(vault):
    def fill(unit):
        unit.flows.add(FLOW)
        unit.flows.add(replace(FLOW, id="f2", expires_ms=101))
        unit.flows.add(replace(FLOW, id="f3", purpose="reset"))
        unit.flows.add(replace(FLOW, id="f4", tenant="u"))
        return unit.flows.open_count("t", "mail", "a@b")

    assert await vault.write(fill) == 2
    trims = [await vault.write(lambda u: u.flows.trim(now_ms=100, limit=2)) for _ in range(3)]
    assert trims == [2, 1, 0]
    assert await vault.read(lambda unit: unit.flows.open_count("t", "mail", "a@b")) == 1


async def test_secrets_and_erasure(vault):
    def fill(unit):
        unit.secrets.put("t", "c", "first")
        unit.secrets.put("t", "c", "second")
        unit.flows.add(FLOW)
        unit.flows.add(replace(FLOW, id="f2", person="q"))

    await vault.write(fill)

    def left(unit):
        flows = [f for f in ("f1", "f2") if unit.flows.get("t", f) is not None]
        return unit.secrets.get("t", "c"), flows

    await vault.write(lambda unit: unit.erase("t", "p"))
    assert await vault.read(left) == ("second", ["f2"])
    await vault.write(lambda unit: unit.erase("t"))
    assert await vault.read(left) == (None, [])
    await vault.write(lambda unit: unit.secrets.put("t", "c", "third"))
    await vault.write(lambda unit: unit.secrets.remove("t", "c"))
    assert await vault.read(left) == (None, [])


async def test_a_newer_format_is_refused(vault, tmp_path):
    with sqlite3.connect(tmp_path / "vault.db") as connection:
        connection.execute("UPDATE vt_meta SET value = '9' WHERE key = 'format'")
    connection.close()
    with pytest.raises(DeclarationError, match="format 9"):
        await vault.migrate()
