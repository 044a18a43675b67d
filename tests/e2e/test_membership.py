"""A person who leaves a space loses its rows, never the answer to what was written there."""

from skerry_client import Add
from tests.e2e.phones import NORTH, SOUTH, eventually, phone_of, row_of, settle
from tests.e2e.survey import Note, Site


async def test_a_revoked_member_forgets_the_space_and_the_queue_is_answered(node, tmp_path):
    node.set_member(SOUTH, "ada")
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="north")
    ada.insert(Site, space=SOUTH, id="south")
    await ada.sync()
    await ben.sync()
    assert set(ada.spaces()) == {NORTH, SOUTH}
    ada.edit(Site, "north", visits=Add(1))
    ada.insert(Note, space=NORTH, id="late", text="too late")
    ada.edit(Site, "south", visits=Add(1))
    node.remove_member(NORTH, "ada")
    await ada.sync()
    status = await ada.sync()
    assert status.is_current
    assert status.pending == 0
    assert set(ada.spaces()) == {SOUTH}
    assert set(ada.digests()) == {SOUTH}
    assert [site.row_id for site in ada.rows(Site)] == ["south"]
    assert ada.rows(Note) == []
    assert row_of(ada, Site, "south").visits == 1
    refused = {change.wanted.id: item.code for item in ada.rejected() for change in item.changes}
    assert refused == {"north": "row-missing", "late": "row-missing"}
    await ben.sync()
    assert row_of(ben, Site, "north").visits == 0
    assert ben.get(Note, "late") is None
    await ada.close()
    await ben.close()


async def test_a_member_who_comes_back_gets_everything_again(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="north", title="before")
    await settle(ada, ben)
    node.remove_member(NORTH, "ada")
    await ada.sync()
    assert ada.rows(Site) == []
    ben.edit(Site, "north", title="meanwhile")
    await ben.sync()
    node.set_member(NORTH, "ada")
    await settle(ada, ben)
    assert row_of(ada, Site, "north").title == "meanwhile"
    await ada.close()
    await ben.close()


async def test_a_stream_forgets_a_revoked_space_at_once(node, tmp_path):
    async with phone_of(node, tmp_path, "ada", background=True) as ada:
        await eventually(lambda: ada.status.is_connected and ada.spaces())
        ada.insert(Site, space=NORTH, id="north")
        await eventually(lambda: not ada.pending())
        node.remove_member(NORTH, "ada")
        await eventually(lambda: not ada.spaces() and not ada.rows(Site))


async def test_a_role_that_reads_less_drops_what_it_may_not_read(node, tmp_path):
    ada, ben = phone_of(node, tmp_path, "ada"), phone_of(node, tmp_path, "ben")
    ada.insert(Site, space=NORTH, id="north")
    ada.insert(Note, space=NORTH, id="note", text="for members")
    await settle(ada, ben)
    assert ben.get(Note, "note") is not None
    node.set_member(NORTH, "ben", role="guest")
    await ben.sync()
    assert ben.get(Note, "note") is None
    assert ben.get(Site, "north") is not None
    assert (await ben.sync()).is_current
    node.set_member(NORTH, "ben")
    await settle(ada, ben)
    assert row_of(ben, Note, "note").text == "for members"
    assert ada.digests() == ben.digests()
    await ada.close()
    await ben.close()
