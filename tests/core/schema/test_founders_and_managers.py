"""Who may make and manage spaces, and who may read, is declared completely or not at all."""

from collections.abc import Sequence

import pytest

from core import Access, App, Collection, Lww
from core.errors import DeclarationError
from sync_protocol.fingerprint import fingerprint

SPACES: dict[str, Sequence[str]] = {"team": ["owner", "guest"], "desk": ["clerk"]}


def declare(**options):
    return App("survey", version=1, spaces=SPACES, **options)


def collection(access):
    return type("Note", (Collection,), {"title": Lww(str), "access": access}, space="team")


def test_by_default_administrators_alone_make_and_manage_spaces():
    app = declare()
    assert app.founders == {}
    assert app.managers == {}


def test_founders_and_managers_are_kept_by_kind():
    app = declare(founders={"team": "owner"}, managers={"team": ["owner"], "desk": []})
    assert app.founders == {"team": "owner"}
    assert app.managers == {"team": {"owner"}, "desk": set()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"founders": {"club": "owner"}},
        {"founders": {"team": "clerk"}},
        {"founders": {"team": ""}},
        {"managers": {"club": ["owner"]}},
        {"managers": {"team": ["owner", "clerk"]}},
        {"managers": {"team": "owner"}},
    ],
)
def test_what_is_not_declared_does_not_start(wrong):
    with pytest.raises(DeclarationError):
        declare(**wrong)


def test_phones_are_not_told():
    plain = declare()
    managed = declare(founders={"team": "owner"}, managers={"team": ["owner"]})
    assert managed.describe() == plain.describe()
    assert fingerprint(managed) == fingerprint(plain)


def test_a_collection_that_nobody_may_read_does_not_start():
    with pytest.raises(DeclarationError, match="no role that may read"):
        declare().add(collection(Access(read=[], insert=["owner"])))


@pytest.mark.parametrize("operation", ["read", "insert", "edit", "delete", "restore"])
def test_a_policy_of_unknown_roles_does_not_start(operation):
    roles = {"read": ["owner"], operation: ["owner", "stranger"]}
    with pytest.raises(DeclarationError, match="unknown roles"):
        declare().add(collection(Access(**roles)))


def test_a_collection_without_a_policy_does_not_start():
    with pytest.raises(DeclarationError, match="access"):
        type("Open", (Collection,), {"title": Lww(str)}, space="team")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"founders": {"club": "owner"}}, "founders names the undeclared"),
        ({"managers": {"club": ["owner"]}}, "managers names the undeclared"),
        ({"managers": {"team": "owner"}}, "not one text"),
        ({"managers": {"team": ["zoe", "eve"]}}, r"unknown roles: \['eve', 'zoe'\]"),
    ],
)
def test_what_is_wrong_is_told(wrong, reason):
    with pytest.raises(DeclarationError, match=reason):
        declare(**wrong)


def test_unknown_roles_of_a_policy_are_told_in_order():
    with pytest.raises(DeclarationError, match=r"unknown roles: \['eve', 'zoe'\]"):
        declare().add(collection(Access(read=["owner"], edit=["zoe", "eve"])))
