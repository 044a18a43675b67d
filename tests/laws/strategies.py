"""Hypothesis strategies: payloads of every kind, and small histories full of conflicts.

Histories have 2-4 devices with up to 6 changes each; a device's stamps are 1 or 2 apart, so that
devices often write at the same clock value; texts and numbers are few, so that writes often meet.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from core.clock import COUNTER_BITS
from core.crdt.field import Field, State, Write
from core.crdt.list_order import between
from core.crdt.registry import SAMPLES
from core.errors import Refusal

DEVICES = (2, 3, 4, 5)
COUNTERS = st.integers(1, 6)
TEXTS = st.sampled_from(["", "a", "A", "b", "é", "\U0001f600"])
ROW_IDS = st.sampled_from(["row-1", "row-2", "row-3"])
JSON_LEAVES = st.sampled_from([0, 1, 1.5, "a", "A", "", True, False])
EPOCHS = st.integers(0, 2)


def scalars(description: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a described scalar: few, so that they meet, and within its limits."""
    low, high = description.get("low", -3), description.get("high", 3)
    bytes_max = description.get("bytes_max", 0)
    few = [min(max(number, low), high) for number in (-3, -1.5, 0, 1, 1.0, 2.5)]
    plain: st.SearchStrategy[Any] = {
        "text": TEXTS.filter(lambda text: len(text.encode()) <= bytes_max),
        "integer": st.sampled_from([int(number) for number in few]) | _integers(low, high),
        "number": st.sampled_from(few) | st.floats(low, high),
        "flag": st.booleans(),
        "json": JSON_LEAVES | st.lists(JSON_LEAVES, max_size=2),
    }[description["scalar"]]
    return st.none() | plain if description.get("nullable") else plain


def _integers(low: float, high: float) -> st.SearchStrategy[int]:
    return st.integers(math.ceil(low), math.floor(high))


def dots() -> st.SearchStrategy[list[list[int]]]:
    """Dots of the small histories; device 0 is the author itself."""
    dot = st.tuples(st.sampled_from((0, *DEVICES)), COUNTERS).map(list)
    return st.lists(dot, max_size=4)


def indexes() -> st.SearchStrategy[str]:
    """Fractional indexes at the start, in the middle and at the end."""
    return st.integers(0, 3).map(lambda jitter: between(None, None, jitter)) | st.just("1")


@st.composite
def _set_payloads(draw: st.DrawFn) -> dict[str, Any]:
    added = draw(st.sets(TEXTS, max_size=2))
    removed = draw(st.dictionaries(TEXTS, dots(), max_size=2))
    return {
        "add": sorted(added - removed.keys()),
        "remove": removed,
    }


@st.composite
def _map_payloads(draw: st.DrawFn, value: st.SearchStrategy[Any]) -> dict[str, Any]:
    written = draw(st.dictionaries(TEXTS, value, max_size=2))
    removed = draw(st.sets(TEXTS, max_size=2))
    return {"set": written, "remove": sorted(removed - written.keys())}


def _operations(*names: str) -> st.SearchStrategy[dict[str, int]]:
    return st.sampled_from(names).flatmap(
        lambda name: st.integers(1, 5).map(lambda quantity: {name: quantity})
    )


def payloads(field: Field[Any]) -> st.SearchStrategy[Any]:
    """Well-formed payloads of a field, as a device would send them."""
    description = field.describe()
    if field.kind in ("lww", "first_write", "max", "min"):
        return scalars(description)
    if field.kind == "group":
        members = description["members"]
        return st.fixed_dictionaries({name: scalars(form) for name, form in members.items()})
    if field.kind in ("multi_value", "map", "append_only", "custom"):
        return _of_scalars(field.kind, scalars(description))
    if field.kind == "ranked":
        labels = st.sampled_from(description["labels"])
        return labels | st.tuples(EPOCHS, labels).map(list)
    return {
        "add_wins": _set_payloads(),
        "flag": st.just({"on": True}) | dots().map(lambda seen: {"off": seen}),
        "counter": st.fixed_dictionaries({"add": st.integers(-5, 5)}, optional={"epoch": EPOCHS})
        | st.fixed_dictionaries({"reset": EPOCHS}),
        "bounded_counter": _operations("add", "use", "lease"),
        "list_order": st.fixed_dictionaries({"parent": st.none() | ROW_IDS, "index": indexes()}),
        "tree_parent": st.none() | ROW_IDS,
        "blob_reference": st.none()
        | st.fixed_dictionaries(
            {
                "sha256": st.sampled_from(["0" * 64, "ab" * 32]),
                "size": st.integers(0, 3),
                "type": st.sampled_from(["image/png", "text/plain"]),
            }
        ),
    }[field.kind]


def _of_scalars(kind: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return {
        "multi_value": st.fixed_dictionaries({"value": value}, optional={"seen": dots()}),
        "map": _map_payloads(value),
        "append_only": st.fixed_dictionaries({"append": st.lists(value, max_size=3)}),
        "custom": st.fixed_dictionaries({"value": value}, optional={"base": st.none() | value}),
    }[kind]


def fields() -> st.SearchStrategy[Field[Any]]:
    """A sample of any registered kind."""
    return st.sampled_from(sorted(SAMPLES)).map(lambda kind: SAMPLES[kind]())


@st.composite
def writes(draw: st.DrawFn) -> list[Write]:
    """Who writes when: each device's counters are contiguous and its stamps grow by 1 or 2."""
    made: list[Write] = []
    for n in DEVICES[: draw(st.integers(2, 4))]:
        h = 0
        for counter, step in enumerate(draw(st.lists(st.sampled_from((1, 2)), max_size=6)), 1):
            h += step
            made.append(Write(h=h, n=n, counter=counter))
    return made


@st.composite
def histories(draw: st.DrawFn, field: Field[Any]) -> list[tuple[Write, Any]]:
    """Writes of one field by several devices, with their parsed payloads, in any commit order."""
    made = draw(st.permutations(draw(writes())))
    drawn = draw(st.lists(payloads(field), min_size=len(made), max_size=len(made)))
    return [(at, field.parse(payload)) for at, payload in zip(made, drawn, strict=True)]


@st.composite
def deltas(draw: st.DrawFn, field: Field[Any]) -> list[State]:
    """The deltas of a history: as their authors make them, or as the primary admits them."""
    history = draw(histories(field))
    if draw(st.booleans()):
        return [field.delta(payload, at) for at, payload in history]
    state: State = None
    admitted: list[State] = []
    for at, payload in history:
        # Whole milliseconds apart, so that leases end at different times.
        at_primary = at._replace(h=at.h << COUNTER_BITS)
        try:
            admitted.append(field.admit(state, payload, at_primary))
        except Refusal:
            continue
        state = field.merge(state, admitted[-1])
    return admitted


HUGE = st.sampled_from([2**31 + 1, 2**53, 2**64, -(2**70), 10**4_000, 1e308, 1e-320, -0.0])
ODD = st.sampled_from(
    [float("nan"), float("inf"), "\ud800", "a\x00b", "x" * 70_000, b"", (), frozenset(), object()]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | HUGE | ODD
WORDS = st.sampled_from(
    [
        "add",
        "remove",
        "on",
        "off",
        "value",
        "seen",
        "set",
        "epoch",
        "reset",
        "use",
        "lease",
        "parent",
        "index",
        "append",
        "base",
        "lat",
        "lon",
        "sha256",
        "size",
        "type",
        "draft",
    ]
)


def anything() -> st.SearchStrategy[Any]:
    """What a decoder may hand over: JSON, and things that no JSON holds."""
    return st.recursive(
        LEAVES | WORDS,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(WORDS | st.text(max_size=3) | st.integers(), inner, max_size=4)
        ),
        max_leaves=12,
    )


@st.composite
def damaged(draw: st.DrawFn, field: Field[Any]) -> Any:
    """A well-formed payload in which one place was replaced, added or taken away."""
    return _damage(draw, draw(payloads(field)))


def _damage(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        change = draw(st.sampled_from(("inside", "drop", "extra")))
        if change == "drop":
            return {name: item for name, item in value.items() if name != key}
        if change == "extra":
            return {**value, draw(WORDS | st.integers()): draw(anything())}
        return {**value, key: _damage(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        position = draw(st.integers(0, len(value) - 1))
        return [*value[:position], _damage(draw, value[position]), *value[position + 1 :]]
    return draw(anything())
