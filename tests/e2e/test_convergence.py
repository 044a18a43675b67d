"""Two real phones and a real node: offline edits converge, and a stream brings news at once."""

import time

import pytest

from skerry_client import Add, AddElements, RemoveElements
from tests.e2e.phones import NORTH, eventually, phone_of, row_of, settle
from tests.e2e.survey import Note, Site

POKE_SECONDS_MAX = 5.0


async def test_offline_edits_of_two_phones_converge(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="tempelhof", title="Tempelhof", tags={"wet"})
    await settle(ada, ben)
    ada.edit(Site, "tempelhof", title="from Ada", visits=Add(1), tags=RemoveElements("wet"))
    ada.edit(Site, "tempelhof", remarks="gate shut")
    ben.edit(Site, "tempelhof", title="from Ben", visits=Add(2), tags=AddElements("wet", "far"))
    ben.edit(Site, "tempelhof", remarks="gate open")
    ben.insert(Note, space=NORTH, id="only-ben", text="Ben was here")
    digests = await settle(ada, ben)
    assert list(digests) == [NORTH]
    for phone in (ada, ben):
        site = row_of(phone, Site, "tempelhof")
        assert site.title == "from Ben"
        assert site.visits == 3
        assert site.tags == {"wet", "far"}
        assert set(site.remarks) == {"gate shut", "gate open"}
        assert phone.rows(Note)[0].text == "Ben was here"
        assert phone.pending() == []
    log = node.ask("GET", "/v1/conflicts", person="ada", is_admin=False).json()["conflicts"]
    assert [(c["field"], c["winner"]["value"], c["loser"]["value"]) for c in log] == [
        ("title", "from Ben", "from Ada")
    ]
    await ada.close()
    await ben.close()


async def test_a_refused_mutation_is_told_and_blocks_nothing(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    for number, text in enumerate(("quiet", "SHOUT", "quiet again")):
        ada.insert(Note, space=NORTH, id=f"note-{number}", text=text)
    await settle(ada, ben)
    assert [note.text for note in ben.rows(Note)] == ["quiet", "quiet again"]
    (refused,) = ada.rejected()
    assert (refused.code, refused.fields) == ("no-shouting", ("text",))
    assert refused.mutation_changes[0].fields == {"text": "SHOUT"}
    await ada.close()
    await ben.close()


@pytest.mark.parametrize("kind", ["edit", "delete"])
async def test_a_stream_pokes_the_other_phone(node, tmp_path, kind):
    ada = phone_of(node, tmp_path, "ada", background=True)
    ben = phone_of(node, tmp_path, "ben", background=True)
    async with ada, ben:
        await eventually(lambda: ada.status.is_connected and ben.status.is_connected)
        ada.insert(Note, space=NORTH, id="news", text="first")
        await eventually(lambda: ben.get(Note, "news") is not None, seconds=POKE_SECONDS_MAX)
        started = time.monotonic()
        if kind == "edit":
            ada.edit(Note, "news", text="second")
            await eventually(lambda: ben.rows(Note)[0].text == "second")
        else:
            ada.delete(Note, "news")
            await eventually(lambda: ben.get(Note, "news") is None)
        assert time.monotonic() - started < POKE_SECONDS_MAX
        await eventually(lambda: not ada.pending())
        await eventually(lambda: ada.digests() == ben.digests())


async def test_a_stream_comes_back_after_the_node_was_started_again(node, tmp_path):
    async with phone_of(node, tmp_path, "ada", background=True) as ada:
        await eventually(lambda: ada.status.is_connected)
        node.kill()
        ada.insert(Note, space=NORTH, id="meanwhile", text="written while the node was away")
        node.start()
        await eventually(lambda: not ada.pending(), seconds=30)
    ben = phone_of(node, tmp_path, "ben")
    await settle(ben)
    assert ben.get(Note, "meanwhile") is not None
    await ben.close()
