"""Invitations: worth something once, to the right people, and for as long as the inviter is."""

from dataclasses import replace

import pytest

from edge.errors import Forbidden, InvalidGrant, InvalidQuery, NotFound
from edge.services import invitations as invitations_service
from edge.services import maintenance
from edge.services import spaces as spaces_service
from edge.services.invitations import TTL_S_DEFAULT, TTL_S_MAX, USES_MAX, Wanted
from tests.edge.services.harness import insert, make_device, principal_of, running
from tests.edge.services.test_spaces import administrator, assign, found, make_app, roles_in


@pytest.fixture
async def club(tmp_path):
    async with running(tmp_path, make_app()) as harness:
        yield harness


async def invite(club, space, *, actor="ann", role="member", **options):
    principal = administrator() if actor == "root" else principal_of(actor)
    return await club.tenant.invitations.create(principal, space, Wanted(role, **options))


async def accept(club, person, issued):
    code = issued if isinstance(issued, str) else issued.code
    member = await club.tenant.invitations.accept(principal_of(person), code)
    return (member.person, member.space, member.role)


async def refused(club, person, code):
    with pytest.raises(InvalidGrant) as error:
        await accept(club, person, code)
    return error.value.message


async def uses_left(club, space):
    found = await club.tenant.invitations.list(principal_of("ann"), space)
    return [invitation.uses - invitation.used for invitation in found]


async def test_a_code_lets_one_person_in_and_is_kept_nowhere(club):
    space = await found(club)
    issued = await invite(club, space, email="bob@example.org")
    assert issued.code.startswith("ski_")
    assert issued.expires_ms == club.clock.now_ms + TTL_S_DEFAULT * 1_000
    assert await accept(club, "bob", issued) == ("bob", space, "member")
    await refused(club, "cleo", issued.code)
    dump = repr(await club.sql("SELECT * FROM sk_invitation"))
    assert issued.code not in dump
    assert issued.code.removeprefix("ski_") not in dump


async def test_accepting_again_is_idempotent_and_uses_one_use(club):
    space = await found(club)
    issued = await invite(club, space, uses=2)
    for _ in range(3):
        assert await accept(club, "bob", issued) == ("bob", space, "member")
    assert await uses_left(club, space) == [1]
    await accept(club, "cleo", issued)
    assert await accept(club, "bob", issued) == ("bob", space, "member"), "used up, and repeated"
    await refused(club, "dave", issued)


async def test_a_member_keeps_the_present_role_and_uses_nothing_up(club):
    space = await found(club)
    for role in ("guest", "owner"):
        issued = await invite(club, space, role=role)
        assert await accept(club, "ann", issued) == ("ann", space, "owner")
    await assign(club, "ann", "bob", "guest", space)
    assert await accept(club, "bob", await invite(club, space, role="owner")) == (
        "bob", space, "guest",
    )  # fmt: skip
    assert await uses_left(club, space) == [1, 1, 1]


async def test_all_worthless_codes_get_one_answer(club):
    space = await found(club)
    expired, revoked, used = [await invite(club, space, ttl_s=60) for _ in range(3)]
    await club.tenant.invitations.revoke(principal_of("ann"), space=space, invitation=revoked.id)
    await accept(club, "bob", used)
    wrong = "ski_" + "A" * 32
    answers = {
        await refused(club, "cleo", code)
        for code in (wrong, revoked.code, used.code, "", "x" * 200, "ski_é", expired.code + "A")
    }
    club.clock.now_ms += 60_000
    answers.add(await refused(club, "cleo", expired.code))
    assert len(answers) == 1
    assert await roles_in(club, space) == {"ann": "owner", "bob": "member"}


async def test_an_invitation_is_worth_nothing_once_its_inviter_manages_no_more(club):
    space = await found(club)
    await assign(club, "ann", "bob", "owner", space)
    issued = await invite(club, space, actor="bob", uses=10)
    await accept(club, "cleo", issued)
    await assign(club, "ann", "bob", "member", space)
    await refused(club, "dave", issued)
    await club.tenant.spaces.remove(principal_of("ann"), space=space, person="bob")
    await refused(club, "dave", issued)
    assert "dave" not in await roles_in(club, space)


async def test_an_administrators_invitation_needs_no_membership(club):
    space = await found(club)
    issued = await invite(club, space, actor="root", role="owner")
    assert await accept(club, "bob", issued) == ("bob", space, "owner")


async def test_who_was_removed_does_not_come_back_by_an_older_code(club):
    space = await found(club)
    older = await invite(club, space, uses=10)
    await accept(club, "bob", older)
    await club.tenant.spaces.remove(principal_of("ann"), space=space, person="bob")
    await refused(club, "bob", older)
    newer = await invite(club, space)
    assert await accept(club, "bob", newer) == ("bob", space, "member")
    assert await accept(club, "cleo", older) == ("cleo", space, "member")


async def test_only_managers_invite_list_and_revoke(club):
    space = await found(club)
    await assign(club, "ann", "bob", "member", space)
    issued = await invite(club, space)
    invitations = club.tenant.invitations
    for person, error in (("bob", Forbidden), ("eve", NotFound)):
        with pytest.raises(error):
            await invite(club, space, actor=person)
        with pytest.raises(error):
            await invitations.list(principal_of(person), space)
        with pytest.raises(error):
            await invitations.revoke(principal_of(person), space=space, invitation=issued.id)
    assert len(await invitations.list(administrator(), space)) == 1


async def test_a_manager_of_one_space_has_no_say_in_another(club):
    ours, theirs = await found(club, "ann"), await found(club, "bob")
    issued = await invite(club, theirs, actor="bob")
    with pytest.raises(NotFound):
        await club.tenant.invitations.revoke(principal_of("ann"), space=ours, invitation=issued.id)
    assert await accept(club, "cleo", issued) == ("cleo", theirs, "member")


@pytest.mark.parametrize(
    "wrong",
    [
        Wanted("king"),
        Wanted("clerk"),
        Wanted("member", uses=0),
        Wanted("member", uses=USES_MAX + 1),
        Wanted("member", ttl_s=0),
        Wanted("member", ttl_s=TTL_S_MAX + 1),
        Wanted("member", email="x" * 255),
    ],
)
async def test_what_an_invitation_may_be_is_bounded(club, wrong):
    space = await found(club)
    with pytest.raises(InvalidQuery):
        await club.tenant.invitations.create(principal_of("ann"), space, wanted=wrong)


async def test_open_invitations_are_bounded(club, monkeypatch):
    monkeypatch.setattr(invitations_service, "INVITATIONS_OPEN_MAX", 2)
    space = await found(club)
    first = await invite(club, space)
    await invite(club, space)
    with pytest.raises(Forbidden):
        await invite(club, space)
    await accept(club, "bob", first)
    await invite(club, space)


async def test_used_up_invitations_are_kept_in_a_bounded_number(club, monkeypatch):
    monkeypatch.setattr(invitations_service, "USED_UP_KEPT_MAX", 1)
    space = await found(club)
    for person in ("bob", "cleo", "dave"):
        await accept(club, person, await invite(club, space))
        club.clock.now_ms += 1
    await invite(club, space)
    assert await club.sql("SELECT count(*) FROM sk_invitation") == [(2,)]


async def test_a_full_space_takes_nobody_and_uses_nothing_up(club, monkeypatch):
    monkeypatch.setattr(spaces_service, "MEMBERS_MAX", 1)
    space = await found(club)
    issued = await invite(club, space)
    with pytest.raises(Forbidden):
        await accept(club, "bob", issued)
    assert await uses_left(club, space) == [1]


async def test_maintenance_drops_what_has_expired(club, monkeypatch):
    monkeypatch.setattr(maintenance, "INVITATIONS_DROPPED_MAX", 2)
    space = await found(club)
    for _ in range(3):
        await invite(club, space, ttl_s=60)
    kept = await invite(club, space, ttl_s=120)
    club.clock.now_ms += 60_000
    await club.tenant.maintenance.run_once()
    assert await club.sql("SELECT count(*) FROM sk_invitation") == [(2,)]
    await club.tenant.maintenance.run_once()
    assert await club.sql("SELECT id FROM sk_invitation") == [(kept.id,)]


async def test_invitations_outlive_a_restart_of_the_node(club):
    space = await found(club)
    issued = await invite(club, space)
    await club.reopen()
    assert await accept(club, "bob", issued) == ("bob", space, "member")


async def test_a_role_that_the_app_has_given_up_is_worth_nothing(club):
    space = await found(club)
    issued = await invite(club, space, role="guest")
    club.tenant.invitations._app.spaces["team"] = ("member", "owner")
    await refused(club, "bob", issued)


async def test_a_phone_offline_during_its_removal_forgets_the_space(club):
    space = await found(club)
    ann = await make_device(club, "ann", "a")
    await ann.push(insert("note", "n1", space, text="hello"))
    bob = await make_device(club, "bob", "b")
    await accept(club, "bob", await invite(club, space, role="guest"))
    await bob.pull()
    assert bob.replica.roles == {space: ("team", "guest")}
    assert set(bob.replica.rows) == {("note", "n1")}
    await assign(club, "ann", "bob", "member", space)
    await club.tenant.spaces.remove(principal_of("ann"), space=space, person="bob")
    await ann.push(insert("note", "n2", space, text="not for bob"))
    await bob.pull()
    assert (bob.replica.roles, bob.replica.rows) == ({}, {})
    await accept(club, "bob", await invite(club, space))
    await bob.pull()
    assert bob.replica.roles == {space: ("team", "member")}
    assert set(bob.replica.rows) == {("note", "n1"), ("note", "n2")}


async def test_a_scope_is_not_carried_from_one_acceptance_to_another(club):
    """A person with the admin scope who accepts gets the role that was offered, no more."""
    space = await found(club)
    issued = await invite(club, space, role="guest")
    admin = replace(principal_of("bob"), scopes=frozenset({"admin"}))
    member = await club.tenant.invitations.accept(admin, issued.code)
    assert member.role == "guest"
