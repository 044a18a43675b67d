"""Schema versions: lenses for old phones, additive migrations, refused ones."""

# pyright: reportOptionalSubscript=false

import pytest

from core import App, Collection, Lww
from core.errors import DeclarationError
from edge.errors import SchemaAhead
from edge.repositories import migrations
from tests.edge.services.harness import Device, as_bytes, edit, insert, running
from tests.edge.services.replica import Replica
from tests.edge.services.survey import OPEN, make_app, make_first_version, make_second_version


async def old_device(node, person):
    """A phone whose app is of version 1."""
    device: Device = await node.device(person)
    device.schema_version = 1
    device.replica = Replica(make_first_version())
    return device


async def test_an_old_phone_writes_and_reads_its_own_names(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        new, old = await node.device("new"), await old_device(node, "old")
        await old.push(insert("good", "g1", title="tea", cents=250, visits={"add": 1}))
        assert await node.value("good", "g1", "name") == "tea"
        assert await node.value("good", "g1", "price") == 2.5
        node.clock.now_ms += 10
        await new.push(edit("good", "g1", price=3.75, colour="red"))
        await old.pull()
        held = old.replica.rows["good", "g1"].fields
        assert held["title"][2] == "tea"
        assert held["cents"][2] == 375
        assert held["colour"][2] == "red", "unknown fields are carried"
        assert held["visits"] == [0, 1]
        await new.pull()
        assert new.replica.rows["good", "g1"].fields["name"][2] == "tea"
        await node.check()


async def test_bases_are_translated_too(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        new, old = await node.device("new"), await old_device(node, "old")
        await new.push(insert("good", "g1", name="tea", price=1.0, colour="red"))
        await old.pull()
        held = old.replica.rows["good", "g1"].fields
        base = {name: held[name][0] for name in ("title", "cents")}
        assert await old.push(edit("good", "g1", base=base, title="coffee", cents=2)) is None
        assert await node.tenant.conflicts.list(new.session.principal) == []
        state = await node.row("good", "g1")
        assert state.fields["colour"][2] == "red", "what the old app does not know stays"
        assert state.fields["price"][2] == 0.02
        node.clock.now_ms += 10
        assert await new.push(edit("good", "g1", name="cocoa")) is None
        receipt = await old.push(edit("good", "g1", base=base, cents=9))
        assert receipt is None or receipt.outcome == "superseded"


async def test_a_converter_that_fails_is_a_quarantine(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        old = await old_device(node, "old")
        receipt = await old.push(insert("good", "g1", title="tea", cents="much"))
        assert receipt is not None
        assert receipt.outcome == "quarantined"
        assert await old.push(insert("good", "g2", title="tea", cents=1)) is None


async def test_a_phone_of_the_future_waits(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        new = await node.device("new")
        with pytest.raises(SchemaAhead):
            await node.tenant.devices.session(new.session.principal, new.number, 3)


async def test_an_additive_change_writes_no_rows(node):
    ann = await node.device("ann")
    await ann.push(*(insert("item", f"i{n}", title=str(n)) for n in range(20)))
    await ann.pull()
    before = as_bytes(await node.rows())
    sequence = await node.sql("SELECT value FROM sk_meta WHERE key = 'sequence'")
    await node.reopen(make_app(with_more=True))
    assert as_bytes(await node.rows()) == before
    assert await node.sql("SELECT value FROM sk_meta WHERE key = 'sequence'") == sequence
    assert await node.value("item", "i3", "colour") == "grey"
    received = ann.replica.rows_received
    await ann.pull()
    assert ann.replica.rows_received == received
    ann.replica._app = node.app
    await ann.push(edit("item", "i3", colour="blue"), insert("extra", "e1", text="new"))
    await ann.pull()
    assert await node.value("item", "i3", "colour") == "blue"
    assert ("extra", "e1") in ann.replica.rows
    await node.check()


async def test_a_dropped_field_comes_back_with_its_values(node):
    await node.reopen(make_app(with_more=True))
    ann = await node.device("ann")
    await ann.push(insert("item", "i1", colour="blue", title="a"))
    await node.reopen(make_app())
    ann = await node.device("ann")
    await ann.push(edit("item", "i1", title="b"))
    await node.reopen(make_app(with_more=True))
    assert await node.value("item", "i1", "colour") == "blue"
    assert await node.value("item", "i1", "title") == "b"


def other_app(name="survey", version=1):
    app = App(name, version=version, spaces={"team": ("member",), "desk": ("owner",)})

    class Item(Collection, space="team"):
        title = Lww(int)
        access = OPEN

    Item.access = type(OPEN)(read=["member"])
    app.add(Item)
    return app


@pytest.mark.parametrize("wrong", [other_app(), other_app("another")])
async def test_a_change_that_rows_cannot_follow_is_refused(tmp_path, wrong):
    async with running(tmp_path) as node:
        ann = await node.device("ann")
        await ann.push(insert("item", "i1", title="a"))
        await node.close()
        with pytest.raises(DeclarationError):
            await node.open(wrong)
        await node.open(make_app())
        assert await node.value("item", "i1", "title") == "a"


async def test_neither_an_older_app_nor_a_newer_format_is_taken(tmp_path):
    async with running(tmp_path, make_second_version()) as node:
        await node.close()
        with pytest.raises(DeclarationError):
            await node.open(make_first_version())
        await node.open(make_second_version())
        await node.plant("UPDATE sk_meta SET value = ? WHERE key = 'format'",
                         str(migrations.FORMAT + 1))  # fmt: skip
        await node.close()
        with pytest.raises(DeclarationError):
            await node.open()
        await _set_format(node, migrations.FORMAT)
        await node.open()


async def _set_format(node, value):
    import sqlite3

    connection = sqlite3.connect(node.folder / "main.db")
    with connection:
        connection.execute("UPDATE sk_meta SET value = ? WHERE key = 'format'", (str(value),))
    connection.close()
