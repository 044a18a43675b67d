"""Hypothesis strategies: small histories of one field, full of conflicts, and damaged payloads.

Payloads are those of the public testing module; an app's author sees the same.

Histories have 2-4 devices with up to 6 changes each; a device's stamps are 1 or 2 apart, so that
devices often write at the same clock value; texts and numbers are few, so that writes often meet.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from core.clock import COUNTER_BITS
from core.crdt.field import Field, State, Write
from core.errors import Refusal
from skerry_testing.payloads import DEVICES, payloads


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
