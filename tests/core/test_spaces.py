"""Who may change who is in a space: deny by default, no probing, a manager stays (M1-M3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import App
from core.spaces import LAST_MANAGER, SPACE_MISSING, is_manager, may_assign, may_found, may_invite

ROLES = ("guest", "member", "owner", "deputy")
MANAGERS = ("owner", "deputy")
PEOPLE = ("ann", "bob", "cleo")
APP = App(
    "club",
    version=1,
    spaces={"team": ROLES, "desk": ("clerk",)},
    founders={"team": "owner"},
    managers={"team": MANAGERS},
)
roles = st.sampled_from(ROLES)
changes = st.tuples(
    st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.none() | st.sampled_from([*ROLES, "king"])
)


def decide(
    *, is_self=False, kind="team", is_admin=False, actor: str | None = "member",
    target=None, new=None, left=1,
):  # fmt: skip
    denied = may_assign(
        APP, kind=kind, actor_role=actor, is_admin=is_admin, is_self=is_self,
        target_present_role=target, new_role=new, managers_left=left,
    )  # fmt: skip
    return None if denied is None else denied.code


def managers_of(space, *, besides=None):
    return [p for p, role in space.items() if role in MANAGERS and p != besides]


@given(st.dictionaries(st.sampled_from(PEOPLE), roles), st.lists(changes, max_size=30))
def test_whatever_members_do_a_managed_space_keeps_a_manager(space, history):
    """M1 and M2, over every history of changes by people without the admin scope."""
    for actor, target, new in history:
        before = dict(space)
        denied = may_assign(
            APP,
            kind="team",
            actor_role=space.get(actor),
            is_admin=False,
            is_self=actor == target,
            target_present_role=space.get(target),
            new_role=new,
            managers_left=len(managers_of(space, besides=target)),
        )
        if denied is None:
            space.update({target: new}) if new else space.pop(target)
        if actor not in before:
            assert denied == SPACE_MISSING
        if space != before:
            assert before[actor] in MANAGERS or (actor == target and new is None)
            assert set(space.values()) <= set(ROLES)
        assert bool(managers_of(space)) == bool(managers_of(before))


@given(roles, st.none() | roles)
def test_managers_may_give_any_role_and_remove(new, target):
    for manager in MANAGERS:
        assert decide(actor=manager, target=target, new=new) is None
        expected = "member-missing" if target is None else None
        assert decide(actor=manager, target=target, new=None) == expected


@given(st.none() | roles, st.none() | roles, st.booleans())
def test_strangers_learn_nothing(target, new, is_self):
    """M3: whatever they ask, and whoever is in it."""
    denied = decide(actor=None, target=target, new=new, is_self=is_self, left=0)
    assert denied == "space-missing"


@given(roles)
def test_anyone_may_leave_but_the_last_manager(role):
    assert decide(actor=role, target=role, is_self=True) is None
    last = decide(actor=role, target=role, is_self=True, left=0)
    assert last == ("last-manager" if role in MANAGERS else None)


def test_the_last_manager_may_become_another_manager_and_nothing_less():
    own = {"actor": "owner", "target": "owner", "is_self": True, "left": 0}
    assert decide(**own, new="deputy") is None
    assert decide(**own, new="member") == LAST_MANAGER.code
    assert decide(**own, new=None) == LAST_MANAGER.code
    assert decide(**own, new="king") == "unknown-role"


def test_administrators_may_do_all_that_is_declared():
    for new in (*ROLES, None):
        assert decide(is_admin=True, actor=None, target="owner", new=new, left=0) is None
    assert decide(is_admin=True, actor=None, target=None, new="king") == "unknown-role"
    assert decide(is_admin=True, actor=None, target=None, new=None) == "member-missing"


@pytest.mark.parametrize("role", ["guest", "member"])
def test_members_do_not_promote_themselves(role):
    assert decide(actor=role, target=role, new="owner", is_self=True) == "forbidden"
    assert decide(actor=role, target="guest", new=None) == "forbidden"


def test_without_managers_administrators_alone_manage():
    assert decide(kind="desk", actor="clerk", target=None, new="clerk") == "forbidden"
    assert decide(kind="desk", actor="clerk", target="clerk", is_self=True, left=0) is None
    assert decide(kind="desk", actor=None, is_admin=True, new="clerk") is None


def test_inviting_is_managing():
    def code(**options):
        denied = may_invite(APP, **{"kind": "team", "is_admin": False, **options})
        return None if denied is None else denied.code

    assert code(actor_role="owner", role="guest") is None
    assert code(actor_role="owner", role="king") == "unknown-role"
    assert code(actor_role="member", role="king") == "forbidden"
    assert code(actor_role=None, role="guest") == "space-missing"
    assert code(actor_role=None, is_admin=True) is None
    assert not is_manager(APP, kind="desk", role="clerk")


def test_founding_is_denied_by_default():
    assert may_found(APP, kind="team", is_admin=False) is None
    forbidden, unknown = (may_found(APP, kind=k, is_admin=False) for k in ("desk", "club"))
    assert forbidden is not None
    assert forbidden.code == "forbidden"
    assert unknown is not None
    assert unknown.code == "unknown-kind"
    assert may_found(APP, kind="desk", is_admin=True) is None


def test_kinds_are_founded_by_people_where_the_app_says_so():
    def code(kind, *, is_admin):
        denied = may_found(APP, kind=kind, is_admin=is_admin)
        return None if denied is None else denied.code

    assert code("team", is_admin=False) is None
    assert code("desk", is_admin=False) == "forbidden"
    assert code("desk", is_admin=True) is None
    assert code("club", is_admin=True) == "unknown-kind"


def test_an_unknown_kind_has_no_roles():
    denied = may_invite(APP, kind="club", actor_role=None, is_admin=True, role="owner")
    assert denied is not None
    assert denied.code == "unknown-role"


def test_inviting_as_nothing_is_looking_at_invitations():
    assert may_invite(APP, kind="team", actor_role="owner", is_admin=False) is None
