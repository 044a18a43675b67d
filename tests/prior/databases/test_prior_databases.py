"""A database of format 1 opens, migrates and serves, for ever; v1.sql is never rewritten."""

import json
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from edge.errors import ClonedDevice
from sync_protocol.messages.push import WireMutation
from tests.edge.services.harness import edit, insert, outcomes, running
from tests.edge.services.replica import Replica
from tests.prior.databases.app_v1 import make_app

HERE = Path(__file__).parent


@asynccontextmanager
async def prior(folder):
    with closing(sqlite3.connect(folder / "main.db")) as connection:
        connection.executescript((HERE / "v1.sql").read_text(encoding="utf-8"))
    async with running(folder, make_app()) as node:
        yield node


async def device_of(node, person):
    return await node.device(person, role=None)


async def test_its_rows_are_read_and_its_digests_hold(tmp_path):
    async with prior(tmp_path) as node:
        ann = await device_of(node, "ann")
        assert ann.number == 2, "the phone is known"
        await ann.pull(rows_max=2)
        row = ann.replica.rows["place", "p1"]
        values = {
            name: field.value(row.fields.get(name))
            for name, field in node.app.collections["place"].fields.items()
        }
        assert values["name"] == "Fugl\u00f8y"
        assert values["length"] == 0.1 + 0.2
        assert values["lit"] is True
        assert values["found_by"] == "ann"
        assert values["best"] == 7
        assert values["status"] == "sent"
        assert values["tags"] == {"grass", "wet \U0001f327"}
        assert values["starred"] is True
        assert values["remarks"] == ("short",)
        assert values["labels"] == {"rwy": 6}
        assert values["visits"] == 7
        assert values["stock"] == 3
        assert not ann.replica.rows["place", "p2"].is_alive
        assert not ann.replica.rows["note", "n1"].is_alive
        stored = await node.rows()
        for space, total in (await node.tenant.database.read(
            lambda unit: unit.digests.spaces(["north"])
        ))["north"].items():  # fmt: skip
            rows = [s for (name, _), s in stored.items() if name == space and s.is_alive]
            assert sum(map(Replica.digest_of, rows)) % 2**128 == total % 2**128


async def test_its_last_push_is_a_repeat(tmp_path):
    last = json.loads((HERE / "v1-last-push.json").read_text())
    mutation = msgspec.convert(last["mutation"], WireMutation)
    async with prior(tmp_path) as node:
        ann = await device_of(node, "ann")
        assert ann.number == last["device"]
        assert outcomes(await ann.send(mutation)) == {mutation.counter: "merged"}
        assert await node.value("place", "p1", "visits") == 7
        mutation.changes[0].fields["visits"] = {"add": 5}
        with pytest.raises(ClonedDevice):
            await ann.send(mutation)


async def test_it_takes_new_writes_and_keeps_its_constraints(tmp_path):
    async with prior(tmp_path) as node:
        ann = await device_of(node, "ann")
        assert await ann.push(edit("place", "p1", visits={"add": 1}, name="new")) is None
        receipt = await ann.push(insert("folder", "f9", name="a"))
        assert receipt is not None
        assert receipt.code == "not-unique"
        assert await node.value("place", "p1", "visits") == 8
        await ann.pull()
        assert await node.tenant.conflicts.list(ann.session.principal)
        kept = await node.tenant.receipts.list(
            ann.session.principal, device=ann.number, after=0, limit=100
        )
        assert {r.outcome for r in kept} >= {"merged", "rejected", "quarantined"}


async def test_opening_it_twice_changes_nothing(tmp_path):
    async with prior(tmp_path) as node:
        await node.reopen()
        first = list(await node.sql("SELECT name, sql FROM sqlite_schema ORDER BY name"))
        await node.reopen()
        assert await node.sql("SELECT name, sql FROM sqlite_schema ORDER BY name") == first
