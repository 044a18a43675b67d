"""Exports equal the database and vouch for themselves; erasures leave no name behind."""

import asyncio
import io
import json
from base64 import b64decode
from hashlib import sha256
from zipfile import ZipFile

import pytest

from edge.errors import UnknownDevice, UnknownTenant
from edge.services import archive, erasure
from edge.services.rows import to_json_value
from edge.services.session import DeviceSession
from tests.edge.services.harness import (
    TENANT,
    delete,
    edit,
    insert,
    make_device,
    principal_of,
)

PHOTO = {"sha256": "ab" * 32, "size": 17, "type": "image/png"}
CANARY = "canary-7c1f"


@pytest.fixture(autouse=True)
def _no_delay(node):
    node.tenant.archive._erasure.learn_delay_s = 0


def read_archive(target):
    """Return the manifest and every entry's lines, after checking that both agree."""
    with ZipFile(target) as unzipped:
        manifest = json.loads(unzipped.read("manifest.json"))
        assert {*unzipped.namelist()} == {"manifest.json", *manifest["entries"]}
        lines = {}
        for name, entry in manifest["entries"].items():
            content = unzipped.read(name)
            assert sha256(content).hexdigest() == entry["sha256"]
            assert len(content) == entry["size_bytes"]
            lines[name] = [json.loads(line) for line in content.splitlines()]
            assert len(lines[name]) == entry["count"]
    return manifest, lines


async def export(node, extra=None, **options):
    target = io.BytesIO()
    returned = await node.tenant.archive.export(target, extra or {}, **options)
    manifest, lines = read_archive(target)
    assert manifest == json.loads(json.dumps(returned))
    return manifest, lines


async def as_lines(node):
    """The rows of the database as an archive has them."""
    found = {}
    for (collection, row), state in (await node.rows()).items():
        fields = node.app.collections[collection].fields
        values = {
            name: to_json_value(spec.value(state.fields.get(name))) for name, spec in fields.items()
        }
        found[collection, row] = (state.space, state.sequence, state.is_alive, values)
    return json.loads(json.dumps([[*key, *row] for key, row in sorted(found.items())]))


def overlaid(lines):
    """The rows of an archive, with what changed meanwhile laid over them (A2)."""
    found = {}
    for name, entries in lines.items():
        for line in entries if name.startswith("rows/") else []:
            key = (name.removeprefix("rows/").removesuffix(".ndjson"), line["id"])
            assert key not in found
            found[key] = line
    for line in lines["changed.ndjson"]:
        held = found.get((line["collection"], line["id"]))
        if held is None or held["sequence"] <= line["sequence"]:
            found[line["collection"], line["id"]] = line
    return [
        [*key, line["space"], line["sequence"], line["alive"], line["values"]]
        for key, line in sorted(found.items())
    ]


async def conflicting(first, second):
    """Two devices write one register without having seen each other: the second one wins."""
    await first.push(insert("item", "i1", title="start", photo=PHOTO, tags={"add": ["x"]}))
    await second.pull()
    seen = second.versions("item", "i1")
    earlier = first.mutation(edit("item", "i1", base=seen, title="first-title"))
    await second.push(edit("item", "i1", base=seen, title="second-title"))
    answer = await first.send(earlier)
    assert answer.receipts[0].outcome == "superseded"


async def unjudged(device, word):
    """Push a mutation that cannot be read; it is quarantined as it came."""
    device.counter += 1
    answer = await device.send({"counter": device.counter, "h": device.clock(), "changes": word})
    assert answer.receipts[0].outcome == "quarantined"


async def test_the_export_equals_the_database(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    await conflicting(ann, bob)
    await ann.push(insert("task", "t1", text="gone"))
    await ann.push(delete("task", "t1"))
    await unjudged(bob, "no text")
    extra = {"accounts": [{"id": "ann"}], "audit": ({"at": i} for i in range(2_500))}
    manifest, lines = await export(node, extra)
    assert overlaid(lines) == await as_lines(node)
    assert lines["changed.ndjson"] == []
    assert manifest["sequence"]["begin"] == manifest["sequence"]["end"] == node.tenant.sequence
    assert lines["blobs.ndjson"] == [
        {
            "collection": "item", "row": "i1", "space": "north", "field": "photo",
            "sha256": PHOTO["sha256"], "size_bytes": 17, "media_type": "image/png",
        }
    ]  # fmt: skip
    assert [line["person"] for line in lines["members.ndjson"]] == ["ann", "bob"]
    assert {line["person"] for line in lines["devices.ndjson"]} >= {"ann", "bob"}
    merged = {
        (line["device"], counter)
        for line in lines["receipts.ndjson"]
        for counter in range(line["first"], line["last"] + 1)
    }
    assert merged == {(ann.number, i) for i in range(1, 5)} | {(bob.number, i) for i in (1, 2)}
    conflict = lines["conflicts.ndjson"][0]
    assert conflict["loser"]["value"] == "first-title"
    assert conflict["winner"]["device"] == bob.number
    assert b"no text" in b64decode(lines["quarantine.ndjson"][0]["payload"])
    assert lines["accounts.ndjson"] == [{"id": "ann"}]
    assert len(lines["audit.ndjson"]) == 2_500


async def test_small_pages_lose_and_repeat_nothing(node, monkeypatch):
    monkeypatch.setattr(archive, "PAGE_RECORDS", 2)
    ann, bob = await node.device("ann"), await node.device("bob")
    await conflicting(ann, bob)
    for i in range(7):
        await bob.push(insert("task", f"t{i}", text=str(i)))
    _, lines = await export(node)
    assert overlaid(lines) == await as_lines(node)
    assert len(lines["members.ndjson"]) == 2
    assert sum(line["last"] - line["first"] + 1 for line in lines["receipts.ndjson"]) == 10


async def test_rows_written_while_exporting_are_read_once_more(node, monkeypatch):
    monkeypatch.setattr(archive, "PAGE_RECORDS", 2)
    ann = await node.device("ann")
    for i in range(6):
        await ann.push(insert("task", f"t{i}", text="before"))

    async def audit():
        await ann.push(edit("task", "t0", text="late"))
        yield {"at": 1}

    async def writing():
        for i in range(8):
            await ann.push(edit("task", f"t{i % 6}", text=f"during {i}"))
            await ann.push(insert("ticket", f"a{i}", code=f"code {i}"))

    (manifest, lines), _ = await asyncio.gather(export(node, {"audit": audit()}), writing())
    assert lines["audit.ndjson"] == [{"at": 1}]
    end = manifest["sequence"]["end"]
    assert manifest["sequence"]["begin"] <= end
    stored = {(row[0], row[1]): row for row in await as_lines(node)}
    exported = {(row[0], row[1]): row for row in overlaid(lines)}
    settled = {key for key, row in stored.items() if row[3] <= end}
    assert {key: exported.get(key) for key in settled} == {key: stored[key] for key in settled}
    assert exported.keys() <= stored.keys()


async def test_a_person_gets_what_is_theirs(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    await conflicting(ann, bob)
    await bob.push(insert("task", "b1", text="of bob, shared"))
    await node.join("bob", space="south")
    await bob.push(insert("task", "b2", space="south", text="of bob alone"))
    await node.join("ann", space="west")
    await node.join("bob", space="west")
    await ann.push(insert("item", "w1", space="west", price=1.5, tags={"add": ["of ann"]}))
    await bob.push(edit("item", "w1", title="of bob", tags={"add": ["of bob"]}))
    await node.tenant.members.remove("west", "ann")
    manifest, lines = await export(node, person="ann")
    assert manifest["person"] == "ann"
    rows = {(row[0], row[1]): row[5] for row in overlaid(lines)}
    assert rows.keys() == {("item", "i1"), ("task", "b1"), ("item", "w1")}
    assert rows["item", "w1"] == {"price": 1.5, "tags": ["of ann"]}
    assert {line["person"] for line in lines["members.ndjson"]} == {"ann"}
    assert {line["device"] for line in lines["devices.ndjson"]} == {ann.number}
    assert {line["device"] for line in lines["receipts.ndjson"]} == {ann.number}
    assert len(lines["conflicts.ndjson"]) == 1


async def test_an_export_that_fails_leaves_no_whole_archive(node):
    def broken():
        yield {}
        raise BrokenPipeError

    target = io.BytesIO()
    with pytest.raises(BrokenPipeError):
        await node.tenant.archive.export(target, {"audit": broken()})
    with ZipFile(target) as unzipped:
        assert "manifest.json" not in unzipped.namelist()


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def erasable(node):
    """Ann writes everywhere, alone and with Bob, and asks for an invitation's worth of traces."""
    ann, bob = await node.device("annabel"), await node.device("bob")
    await conflicting(ann, bob)
    await conflicting_loser(ann, bob)
    await node.join("annabel", space="alone")
    for i in range(30):
        text = f"{CANARY} {i} " + "x" * 500
        await ann.push(insert("task", f"p{i}", space="alone", text=text))
    for i in range(30):
        await ann.push(edit("task", f"p{i}", text=f"{CANARY} again {i} " + "y" * 900))
    await unjudged(ann, CANARY)
    await node.tenant.devices.rest_device(principal_of("annabel"))
    await bob.push(insert("task", "kept", text="of bob"))
    return ann, bob


async def conflicting_loser(ann, bob):
    """Bob loses to Ann: his receipt and the log hold her value."""
    await bob.pull()
    await ann.pull()
    seen = bob.versions("item", "i1")
    earlier = bob.mutation(edit("item", "i1", base=seen, price=1.0))
    ann.last_h = bob.last_h + 1
    await ann.push(edit("item", "i1", base=seen, price=2.5))
    answer = await bob.send(earlier)
    assert answer.receipts[0].conflicts[0].winner.value == 2.5


async def test_nothing_in_the_files_names_the_erased(node):
    _, bob = await erasable(node)
    await bob.pull()
    assert CANARY.encode() in bytes_of(node.folder)
    erased = await node.tenant.archive.erase_person("annabel")
    assert erased.is_scrubbed
    assert (erased.memberships, erased.spaces, erased.rows) == (2, 1, 30)
    assert erased.devices == 2
    assert erased.conflicts == 2
    assert erased.receipts > 0
    for word in (b"annabel", CANARY.encode(), b"first-title"):
        assert word not in bytes_of(node.folder), word
    await bob.pull()
    fresh = await node.device("carl")
    await fresh.pull()
    assert fresh.replica.living().keys() == {("item", "i1"), ("task", "kept")}
    receipt = (await node.tenant.receipts.list(principal_of("bob"), device=bob.number, after=0,
                                               limit=100))  # fmt: skip
    values = [c.winner.value for r in receipt for c in r.conflicts]
    assert values == [None]
    node.journal[:] = [e for e in node.journal if isinstance(e, int) or e[0].space != "alone"]
    await node.check()
    await node.close()
    for word in (b"annabel", CANARY.encode()):
        assert word not in bytes_of(node.folder)
    await node.open()


async def test_the_erased_reads_and_writes_nothing_more(node):
    ann, _ = await erasable(node)
    await ann.pull()
    stream = await node.tenant.live.subscribe(ann.session, node.tenant.sequence)
    await node.tenant.devices.session(principal_of("annabel"), ann.number, 1)
    await node.tenant.archive.erase_person("annabel")
    async with asyncio.timeout(5):
        async for poke in stream:
            assert poke.pull
    with pytest.raises(UnknownDevice):
        await node.tenant.devices.session(principal_of("annabel"), ann.number, 1)
    with pytest.raises(UnknownDevice):
        await ann.push(edit("task", "kept", text="no"))
    again = await make_device(node, "annabel", "annabel-phone")
    assert again.number > ann.number
    assert isinstance(again.session, DeviceSession)


async def test_an_erasure_that_was_cut_off_is_finished(node, monkeypatch):
    await erasable(node)
    monkeypatch.setattr(erasure, "BATCH", 7)
    for budget in range(1, 60):
        await node.reopen()
        node.tenant.archive._erasure.learn_delay_s = 0
        writes = [0]
        write = node.tenant.database.write

        async def failing(work, write=write, writes=writes, budget=budget):
            writes[0] += 1
            if writes[0] > budget:
                raise OSError
            return await write(work)

        node.tenant.archive._erasure._database = _Failing(node.tenant.database, failing)
        try:
            await node.tenant.archive.erase_person("annabel")
            break
        except OSError:
            assert await node.tenant.archive.unfinished_erasures() == ["annabel"]
    assert await node.tenant.archive.unfinished_erasures() == []
    assert b"annabel" not in bytes_of(node.folder)
    assert CANARY.encode() not in bytes_of(node.folder)


class _Failing:
    def __init__(self, inner, write):
        self._inner = inner
        self.write = write

    def __getattr__(self, name):
        return getattr(self._inner, name)


async def test_a_space_that_somebody_joins_meanwhile_is_kept(node):
    await erasable(node)
    write = node.tenant.database.write
    calls = []

    async def joining(work):
        calls.append(work)
        if len(calls) == 2:
            await node.join("bob", space="alone")
        return await write(work)

    node.tenant.archive._erasure._database = _Failing(node.tenant.database, joining)
    erased = await node.tenant.archive.erase_person("annabel")
    assert (erased.spaces, erased.rows) == (0, 0)
    await node.check()


async def test_erasing_nobody_changes_nothing(node):
    await erasable(node)
    before = await node.rows()
    erased = await node.tenant.archive.erase_person("nobody")
    assert (erased.memberships, erased.devices, erased.rows) == (0, 0, 0)
    assert await node.rows() == before


async def test_an_erased_tenant_comes_back_only_when_configured(node):
    await erasable(node)
    await node.node.create_tenant("other")
    other = await node.node.tenant("other")
    await other.members.set("north", "team", "ann", "member")
    await node.node.erase_tenant("other")
    with pytest.raises(UnknownTenant):
        await node.node.tenant("other")
    with pytest.raises(UnknownTenant):
        await node.node.erase_tenant("other")
    assert not list(node.folder.glob("other*"))
    await node.reopen()
    assert node.node.tenants() == [TENANT]
    await node.node.erase_tenant(TENANT)
    assert not list(node.folder.glob("main*"))
    await node.reopen()
    assert await node.rows() == {}
