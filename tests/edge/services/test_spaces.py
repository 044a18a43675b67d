"""Spaces as people use them: founding, managing, leaving, and what phones learn of it."""

from dataclasses import replace

import pytest

from core import Access, App, Collection, Lww
from edge.errors import Conflict, Forbidden, InvalidQuery, NotFound
from edge.services import spaces as spaces_service
from edge.services.spaces import LastManager
from tests.edge.services.harness import insert, make_device, principal_of, running

ROLES = ("guest", "member", "owner")


def make_app():
    """One kind that people make and manage themselves, and one that administrators do."""
    app = App(
        "club",
        version=1,
        spaces={"team": ROLES, "desk": ("clerk",)},
        founders={"team": "owner"},
        managers={"team": ("owner",)},
    )

    class Note(Collection, space="team"):
        text = Lww(str)
        access = Access(read=ROLES, insert=("member", "owner"), edit=("member", "owner"))

    app.add(Note)
    return app


def administrator():
    return replace(principal_of("root"), scopes=frozenset({"admin"}))


@pytest.fixture
async def club(tmp_path):
    async with running(tmp_path, make_app()) as harness:
        yield harness


async def roles_in(club, space):
    members = await club.tenant.members.list(space)
    return {member.person: member.role for member in members}


async def found(club, person="ann"):
    made = await club.tenant.spaces.found(principal_of(person), kind="team")
    return made.space


async def assign(club, actor, person, role, space, **options):
    principal = administrator() if actor == "root" else principal_of(actor)
    return await club.tenant.spaces.assign(
        principal, space=space, person=person, role=role, **options
    )


async def test_a_founder_manages_the_space_that_the_node_has_named(club):
    first, second = await found(club), await found(club)
    assert first != second
    assert await roles_in(club, first) == {"ann": "owner"}
    await assign(club, "ann", "bob", "member", first)
    assert await roles_in(club, first) == {"ann": "owner", "bob": "member"}
    assert await roles_in(club, second) == {"ann": "owner"}


async def test_founding_is_denied_by_default(club):
    spaces = club.tenant.spaces
    with pytest.raises(Forbidden):
        await spaces.found(principal_of("ann"), kind="desk")
    with pytest.raises(InvalidQuery):
        await spaces.found(principal_of("ann"), kind="castle")
    with pytest.raises(Forbidden):
        await spaces.found(principal_of("ann"), kind="team", space="chosen")
    assert await club.sql("SELECT * FROM sk_space") == []


async def test_administrators_choose_ids_and_make_every_kind(club):
    spaces = club.tenant.spaces
    made = await spaces.found(administrator(), kind="desk", space="desk:1")
    assert (made.space, made.role) == ("desk:1", None)
    assert await roles_in(club, "desk:1") == {}
    with pytest.raises(Conflict):
        await spaces.found(administrator(), kind="team", space="desk:1")
    with pytest.raises(InvalidQuery):
        await spaces.found(administrator(), kind="team", space="no such id")


async def test_a_person_makes_a_bounded_number_of_spaces(club, monkeypatch):
    monkeypatch.setattr(spaces_service, "SPACES_FOUNDED_MAX", 2)
    first = await found(club)
    await found(club)
    with pytest.raises(Forbidden):
        await found(club)
    await assign(club, "ann", "bob", "owner", first)
    await club.tenant.spaces.remove(principal_of("ann"), space=first, person="ann")
    with pytest.raises(Forbidden):
        await found(club)
    await found(club, "bob")


async def test_strangers_get_the_answer_for_a_space_that_is_not_there(club):
    space = await found(club)
    answers = set()
    for asked in (space, "nowhere"):
        for work in (
            club.tenant.spaces.members(principal_of("eve"), asked),
            club.tenant.spaces.remove(principal_of("eve"), space=asked, person="ann"),
            club.tenant.spaces.remove(principal_of("eve"), space=asked, person="eve"),
            assign(club, "eve", "eve", "owner", asked),
            assign(club, "eve", "eve", "owner", asked, kind="desk"),
            assign(club, "eve", "eve", "king", asked),
        ):
            with pytest.raises(NotFound) as refused:
                await work
            answers.add(refused.value.message)
    assert len(answers) == 1
    assert await roles_in(club, space) == {"ann": "owner"}


async def test_members_see_each_other_and_change_nothing(club):
    space = await found(club)
    await assign(club, "ann", "bob", "member", space)
    members = await club.tenant.spaces.members(principal_of("bob"), space)
    assert {member.person for member in members} == {"ann", "bob"}
    for role in ROLES:
        with pytest.raises(Forbidden):
            await assign(club, "bob", "cleo", role, space)
    with pytest.raises(Forbidden):
        await assign(club, "bob", "bob", "owner", space)
    with pytest.raises(Forbidden):
        await club.tenant.spaces.remove(principal_of("bob"), space=space, person="ann")
    assert await roles_in(club, space) == {"ann": "owner", "bob": "member"}


async def test_the_last_manager_stays_unless_an_administrator_decides(club):
    space = await found(club)
    await assign(club, "ann", "bob", "member", space)
    ann = principal_of("ann")
    with pytest.raises(LastManager):
        await club.tenant.spaces.remove(ann, space=space, person="ann")
    with pytest.raises(LastManager):
        await assign(club, "ann", "ann", "member", space)
    await assign(club, "ann", "bob", "owner", space)
    await club.tenant.spaces.remove(ann, space=space, person="ann")
    with pytest.raises(LastManager):
        await club.tenant.spaces.remove(principal_of("bob"), space=space, person="bob")
    await club.tenant.spaces.remove(administrator(), space=space, person="bob")
    assert await roles_in(club, space) == {}


async def test_an_administrators_assignment_makes_a_space(club):
    await assign(club, "root", "ann", "owner", "north", kind="team")
    await assign(club, "root", "bob", "member", "north")
    assert await roles_in(club, "north") == {"ann": "owner", "bob": "member"}
    with pytest.raises(InvalidQuery):
        await assign(club, "root", "bob", "clerk", "north", kind="desk")
    with pytest.raises(InvalidQuery):
        await assign(club, "root", "ann", "owner", "south")
    with pytest.raises(NotFound):
        await club.tenant.spaces.remove(administrator(), space="north", person="cleo")


async def test_managers_bring_a_bounded_number_of_people(club, monkeypatch):
    monkeypatch.setattr(spaces_service, "MEMBERS_MAX", 2)
    space = await found(club)
    await assign(club, "ann", "bob", "member", space)
    with pytest.raises(Forbidden):
        await assign(club, "ann", "cleo", "member", space)
    await assign(club, "ann", "bob", "owner", space)


async def test_a_phone_that_was_away_gains_and_forgets_spaces(club):
    space = await found(club)
    ann, bob = await make_device(club, "ann", "a"), await make_device(club, "bob", "b")
    await ann.push(insert("note", "n1", space, text="hello"))
    await bob.pull()
    assert bob.replica.rows == {}
    await assign(club, "ann", "bob", "member", space)
    await bob.pull()
    assert bob.replica.roles == {space: ("team", "member")}
    assert set(bob.replica.rows) == {("note", "n1")}
    await club.tenant.spaces.remove(principal_of("ann"), space=space, person="bob")
    receipt = await bob.push(insert("note", "n2", space, text="too late"))
    assert receipt is not None
    assert receipt.code == "row-missing"
    await bob.pull()
    assert bob.replica.roles == {}
    assert bob.replica.rows == {}
