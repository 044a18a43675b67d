"""Custom three-way merge."""

import json

import pytest

from core.crdt.custom import Custom
from core.crdt.field import Write
from core.crdt.registry import SAMPLES
from core.errors import FieldError, Refusal


def added_up(base, ours, theirs):
    return ours + theirs - (base or 0)


def test_the_app_decides():
    total = Custom(int, added_up)
    assert total.resolve(10, 12, 15) == 17
    assert total.resolve(None, 1, 2) == 3


def test_base_travels_with_the_payload_and_not_with_the_state():
    total = Custom(int, added_up)
    parsed = total.parse({"base": 1, "value": 2})
    assert total.delta(parsed, Write(5, 2, 1)) == [5, 2, 2]
    assert total.proposed(parsed) == 2
    assert total.parse({"value": 2}) == {"base": None, "value": 2}


def fails(base, ours, theirs):
    raise KeyError(base)


@pytest.mark.parametrize("resolver", [fails, lambda *_: "3", lambda *_: None])
def test_a_failing_resolver_is_a_refusal(resolver):
    with pytest.raises(Refusal) as raised:
        Custom(int, resolver).resolve(1, 2, 3)
    assert raised.value.code == "resolver-failed"


def test_any_json_is_canonical():
    document = Custom(object, lambda *versions: {"b": 2.0, "a": versions[2]})
    assert json.dumps(document.resolve(None, 1, 2)) == '{"a": 2, "b": 2}'
    assert document.scalar_name == "json"
    assert document.value(None) is None


@pytest.mark.parametrize(
    "payload", [3, {}, {"base": 1}, {"value": None}, {"value": 1, "base": "x"}]
)
def test_bad_payloads(payload):
    with pytest.raises(FieldError):
        Custom(int, added_up).parse(payload)


def test_a_refusal_says_whether_the_function_or_its_result_failed():
    with pytest.raises(Refusal, match="raised KeyError"):
        Custom(int, fails).resolve(1, 2, 3)
    with pytest.raises(Refusal, match=r"result: .*wrong-type"):
        Custom(int, lambda *_: "3").resolve(1, 2, 3)  # pyright: ignore[reportArgumentType]


def test_the_sample_keeps_the_longer_text():
    sample = SAMPLES["custom"]()
    assert isinstance(sample, Custom)
    assert sample.resolve(None, "b", "aa") == sample.resolve(None, "aa", "b") == "aa"
    assert sample.resolve(None, "a", "b") == sample.resolve(None, "b", "a") == "b"


def test_it_is_a_register_of_its_scalar():
    assert Custom(int, added_up).scalar_name == "integer"
    with pytest.raises(FieldError, match="too-long"):
        Custom(str, lambda *versions: versions[1], bytes_max=1).parse({"value": "ab"})


@pytest.mark.parametrize(
    ("payload", "code"),
    [({"base": 1}, "wrong-keys"), ({"value": 1, "seen": 1}, "unknown-key"), (3, "wrong-type")],
)
def test_what_is_wrong_is_told(payload, code):
    with pytest.raises(FieldError) as raised:
        Custom(int, added_up).parse(payload)
    assert raised.value.code == code
