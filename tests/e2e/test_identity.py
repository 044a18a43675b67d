"""Copied phones, another database, a database restored from yesterday: every queue survives."""

import shutil

import pytest

from skerry_client import Add
from tests.e2e.phones import NORTH, phone_of, row_of, settle
from tests.e2e.survey import Note, Site


async def close(*phones):
    for phone in phones:
        await phone.close()


@pytest.mark.parametrize("is_queue_empty", [True, False])
async def test_a_copied_phone_keeps_both_queues(node, tmp_path, is_queue_empty):
    first = phone_of(node, tmp_path, "ada", name="first")
    first.insert(Site, space=NORTH, id="site")
    await settle(first)
    first.edit(Site, "site", visits=Add(1))
    if is_queue_empty:
        await settle(first)
    await first.close()
    shutil.copy(tmp_path / "first.db", tmp_path / "second.db")
    first = phone_of(node, tmp_path, "ada", name="first")
    second = phone_of(node, tmp_path, "ada", name="second")
    first.edit(Site, "site", visits=Add(10), remarks="first")
    second.edit(Site, "site", visits=Add(100), remarks="second")
    await settle(first, second)
    assert first.store.installation != second.store.installation
    for phone in (first, second):
        assert set(row_of(phone, Site, "site").remarks) == {"first", "second"}
        assert not phone.rejected()
        assert row_of(phone, Site, "site").visits == 111
    await close(first, second)


async def test_a_cursor_of_another_database_resets_and_keeps_the_queue(node, tmp_path):
    ada = phone_of(node, tmp_path)
    ada.insert(Site, space=NORTH, id="old", title="of the old database")
    await settle(ada)
    node.stop()
    shutil.rmtree(node.data / "tenants")
    node.start()
    for person in ("ada", "ben"):
        node.set_member(NORTH, person)
    ben = phone_of(node, tmp_path, "ben")
    ben.insert(Site, space=NORTH, id="new", title="of the new database")
    await settle(ben)
    ada.insert(Note, space=NORTH, id="queued", text="written before anybody knew")
    await settle(ada, ben)
    for phone in (ada, ben):
        assert row_of(phone, Note, "queued").text == "written before anybody knew"
        assert phone.get(Site, "new") is not None
        assert phone.get(Site, "old") is None
    await close(ada, ben)


@pytest.mark.parametrize("is_queue_empty", [True, False])
async def test_a_database_restored_from_yesterday_takes_what_comes(node, tmp_path, is_queue_empty):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="site")
    await settle(ada, ben)
    node.stop()
    shutil.copytree(node.data / "tenants", tmp_path / "yesterday")
    node.start()
    ada.edit(Site, "site", visits=Add(1))
    await settle(ada, ben)
    if not is_queue_empty:
        ada.edit(Site, "site", visits=Add(10))
    node.stop()
    shutil.rmtree(node.data / "tenants")
    shutil.copytree(tmp_path / "yesterday", node.data / "tenants")
    node.start()
    await settle(ada, ben)
    expected = 0 if is_queue_empty else 10
    for phone in (ada, ben):
        assert row_of(phone, Site, "site").visits == expected
    ada.edit(Site, "site", visits=Add(100))
    await settle(ada, ben)
    assert row_of(ben, Site, "site").visits == expected + 100
    await close(ada, ben)
