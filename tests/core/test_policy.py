"""Access policies: deny by default, and no probing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import Access, Lww, Operation
from core.errors import DeclarationError
from core.policy import decide

ROLES = ("owner", "member", "guest")
FIELDS = {"title": Lww(str), "price": Lww(int, write=["owner"])}
ACCESS = Access(read=ROLES, insert=["owner", "member"], edit=["owner", "member"])


def code(access=ACCESS, *, role, operation=Operation.EDIT, written=()):
    denied = decide(access, FIELDS, role=role, operation=operation, written=written)
    return None if denied is None else denied.code


@given(st.sampled_from(Operation), st.none() | st.sampled_from([*ROLES, "stranger"]))
def test_an_operation_without_roles_does_not_exist(operation, role):
    assert code(Access(read=[]), role=role, operation=operation) == "row-missing"
    nobody_writes = code(Access(read=ROLES), role=role, operation=operation)
    assert nobody_writes == ("forbidden" if role in ROLES else "row-missing")


@pytest.mark.parametrize("operation", Operation)
def test_strangers_cannot_tell_a_forbidden_row_from_none(operation):
    everybody = Access(read=["owner"], **{o.value: ["member", "owner"] for o in Operation})
    assert code(everybody, role=None, operation=operation) == "row-missing"
    assert code(everybody, role="member", operation=operation) == "row-missing"
    assert code(everybody, role="owner", operation=operation) is None


def test_fields_may_be_narrower_than_their_row():
    assert code(role="member", written=["title"]) is None
    assert code(role="owner", written=["title", "price"]) is None
    denied = decide(
        ACCESS, FIELDS, role="member", operation=Operation.INSERT, written=["title", "price"]
    )
    assert denied is not None
    assert (denied.code, denied.fields) == ("field-forbidden", ("price",))


def test_each_operation_has_its_own_roles():
    assert code(role="member", operation=Operation.INSERT) is None
    assert code(role="member", operation=Operation.DELETE) == "forbidden"
    assert code(role="guest", operation=Operation.EDIT) == "forbidden"


def test_one_text_is_not_a_list_of_roles():
    with pytest.raises(DeclarationError):
        Access(read="owner")
