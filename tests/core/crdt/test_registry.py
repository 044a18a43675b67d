"""What every field type keeps of its declaration: default, writers, parameters, what rules see."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from core import (
    AddWins,
    AppendOnly,
    Blob,
    BlobReference,
    BoundedCounter,
    Counter,
    Custom,
    FirstWrite,
    Flag,
    Group,
    ListOrder,
    Lww,
    Map,
    Max,
    Min,
    MultiValue,
    Place,
    Ranked,
    TreeParent,
)
from core.crdt.field import Field
from core.crdt.registry import FIELD_TYPES, SAMPLES

BY = ["lead"]
HASH = "0f" * 32
TEXT = {"scalar": "text", "nullable": False, "bytes_max": 9}
LOG = {**TEXT, "entries_max": 3}


class Case(NamedTuple):
    """A declaration, one payload in its raw and its parsed form, and what is seen of both."""

    declare: Callable[[], Field[Any]]
    default: object
    payload: object
    parsed: object
    proposed: object
    described: dict[str, object]


CASES = {
    "lww": Case(lambda: Lww(str, bytes_max=9, default="x", write=BY), "x", "a", "a", "a", TEXT),
    "group": Case(
        lambda: Group(lat=float, write=BY),
        None,
        {"lat": 1},
        {"lat": 1.0},
        Group(lat=float).record(lat=1.0),
        {"members": {"lat": {"scalar": "number", "nullable": False}}},
    ),
    "first_write": Case(
        lambda: FirstWrite(int, low=1, high=9, default=2, write=BY),
        2,
        3,
        3,
        3,
        {"scalar": "integer", "nullable": False, "low": 1, "high": 9},
    ),
    "max": Case(
        lambda: Max(int, low=1, high=9, default=2, write=BY),
        2,
        3,
        3,
        3,
        {"scalar": "integer", "nullable": False, "low": 1, "high": 9},
    ),
    "min": Case(
        lambda: Min(float, low=1, high=9, write=BY),
        9.0,
        3,
        3.0,
        3.0,
        {"scalar": "number", "nullable": False, "low": 1.0, "high": 9.0},
    ),
    "ranked": Case(
        lambda: Ranked("draft", "sent", default="sent", write=BY),
        "sent",
        [2, "draft"],
        [2, 0],
        "draft",
        {"labels": ["draft", "sent"]},
    ),
    "add_wins": Case(
        lambda: AddWins(str, entries_max=3, default=["x"], write=BY),
        {"x"},
        {"add": ["b", "a", "c"], "remove": {"e": [[2, 1]], "d": []}},
        {"add": ["a", "b", "c"], "remove": {"d": [], "e": [[2, 1]]}},
        {"a", "b", "c"},
        {"scalar": "text", "entries_max": 3},
    ),
    "flag": Case(
        lambda: Flag(entries_max=3, write=BY),
        False,
        {"on": True},
        {"on": True},
        True,
        {"entries_max": 3},
    ),
    "multi_value": Case(
        lambda: MultiValue(str, entries_max=3, bytes_max=9, write=BY),
        (),
        {"value": "a", "seen": [[2, 1]]},
        {"seen": [[2, 1]], "value": "a"},
        ("a",),
        LOG,
    ),
    "map": Case(
        lambda: Map(str, entries_max=3, bytes_max=9, write=BY),
        {},
        {"set": {"b": "x", "a": "y"}, "remove": ["e", "c", "d"]},
        {"set": {"a": "y", "b": "x"}, "remove": ["c", "d", "e"]},
        {"a": "y", "b": "x"},
        LOG,
    ),
    "counter": Case(lambda: Counter(write=BY), 0, {"add": 4, "epoch": 2}, [2, 4], 4, {}),
    "bounded_counter": Case(
        lambda: BoundedCounter(lease_ms=5, write=BY), 0, {"use": 4}, {"use": 4}, -4, {"lease_ms": 5}
    ),
    "list_order": Case(
        lambda: ListOrder(write=BY),
        None,
        {"parent": "r", "index": "V"},
        {"index": "V", "parent": "r"},
        Place("r", "V"),
        {},
    ),
    "tree_parent": Case(lambda: TreeParent(write=BY), None, "r", "r", "r", {}),
    "append_only": Case(
        lambda: AppendOnly(str, entries_max=3, bytes_max=9, write=BY),
        (),
        {"append": ["b", "a", "c"]},
        {"append": ["b", "a", "c"]},
        ("b", "a", "c"),
        LOG,
    ),
    "blob_reference": Case(
        lambda: BlobReference(bytes_max=9, write=BY),
        None,
        {"type": "image/png", "size": 9, "sha256": HASH},
        {"sha256": HASH, "size": 9, "type": "image/png"},
        Blob(HASH, 9, "image/png"),
        {"bytes_max": 9},
    ),
    "custom": Case(
        lambda: Custom(str, lambda *versions: versions[1], default="x", bytes_max=9, write=BY),
        "x",
        {"value": "a", "base": "b"},
        {"base": "b", "value": "a"},
        "a",
        TEXT,
    ),
}


def test_every_kind_has_a_case():
    assert set(CASES) == set(FIELD_TYPES) == set(SAMPLES)


@pytest.mark.parametrize("kind", CASES)
def test_a_field_keeps_what_is_declared(kind):
    case = CASES[kind]
    field = case.declare()
    assert field.kind == kind
    assert field.write == {"lead"}
    assert SAMPLES[kind]().write is None
    assert field.default == field.value(None) == case.default
    assert type(field.value(None)) is type(field.default)
    assert field.describe() == case.described


@pytest.mark.parametrize("kind", CASES)
def test_payloads_have_one_form_and_rules_see_a_value(kind):
    case = CASES[kind]
    field = case.declare()
    parsed = field.parse(case.payload)
    assert json.dumps(parsed) == json.dumps(case.parsed)
    if kind == "group":
        assert vars_of(field.proposed(parsed)) == vars_of(case.proposed)
    else:
        assert field.proposed(parsed) == case.proposed


def vars_of(record: Any) -> dict[str, object]:
    """Records of two declarations are of two classes."""
    return {name: getattr(record, name) for name in record.__slots__}


GROWING = {
    "add_wins": (AddWins, lambda n: {"add": [str(i) for i in range(n)]}, str),
    "multi_value": (MultiValue, None, str),
    "map": (Map, lambda n: {"set": {str(i): "" for i in range(n)}}, str),
    "append_only": (AppendOnly, lambda n: {"append": [""] * n}, str),
}


@pytest.mark.parametrize("kind", ["add_wins", "map", "append_only"])
def test_a_payload_may_fill_the_field(kind):
    declare, payload, scalar = GROWING[kind]
    field: Any = declare(scalar, entries_max=3)
    assert payload is not None
    assert field.parse(payload(3))
    with pytest.raises(Exception, match="too-many"):
        field.parse(payload(4))


@pytest.mark.parametrize("kind", ["multi_value", "map", "append_only"])
def test_texts_in_a_field_have_its_limit(kind):
    field: Any = GROWING[kind][0](str, bytes_max=2)
    payloads = {
        "multi_value": lambda text: {"value": text},
        "map": lambda text: {"set": {"a": text}},
        "append_only": lambda text: {"append": [text]},
    }
    assert field.parse(payloads[kind]("ab"))
    with pytest.raises(Exception, match="too-long"):
        field.parse(payloads[kind]("abc"))


@pytest.mark.parametrize("kind", ["add_wins", "flag", "multi_value", "map", "append_only"])
def test_a_growing_field_has_room_for_a_thousand_unless_declared(kind):
    assert SAMPLES[kind]().describe()["entries_max"] == 1_000
