"""Values and payloads of declared fields: few and small, so that concurrent writes meet.

Values stay within what the field declares: its scalar, `low` and `high`, `bytes_max`, its labels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from core.crdt.add_wins import AddWins
from core.crdt.counter import Counter
from core.crdt.custom import Custom
from core.crdt.flag import Flag
from core.crdt.list_order import between
from core.crdt.map import Map
from core.crdt.multi_value import MultiValue
from core.crdt.ranked import Ranked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.crdt.field import Field, State

DEVICES: Final = (2, 3, 4, 5)
"""Device numbers of small histories; 2 is the first that a primary issues."""
ROW_IDS: Final = ("row-1", "row-2", "row-3")
"""Ids that lists and trees name when nobody says which rows there are."""
TEXTS: Final = st.sampled_from(["", "a", "A", "b", "é", "\U0001f600"])
LINES: Final = st.lists(st.sampled_from(["a", "b", "A", ""]), max_size=4).map("\n".join)
"""Texts of a few short lines: what the app's own resolvers mostly merge."""
_JSON_LEAVES: Final = st.sampled_from([0, 1, 1.5, "a", "A", "", True, False])
_COUNTERS: Final = st.integers(1, 6)
_EPOCHS: Final = st.integers(0, 2)
_BLOBS: Final = st.fixed_dictionaries(
    {
        "sha256": st.sampled_from(["0" * 64, "ab" * 32]),
        "size": st.integers(0, 3),
        "type": st.sampled_from(["image/png", "text/plain"]),
    }
)


@lru_cache(maxsize=1_000)
def values(field: Field[Any]) -> st.SearchStrategy[Any]:
    """Single values that writes of the field are made of.

    A register's value (a group's as a dict, a blob reference's as its payload), a label of a ranked
    field, an element of a set or a log, a value under a key of a map, a counter's addition, a
    quantity of stock, True for a flag. A custom text has several short lines now and then.
    """
    description = field.describe()
    if field.kind == "custom" and description["scalar"] == "text":
        return scalars(description) | _fitting(LINES, description["bytes_max"])
    if field.kind == "group":
        members: Mapping[str, Any] = description["members"]
        return st.fixed_dictionaries({name: scalars(form) for name, form in members.items()})
    if field.kind in ("list_order", "tree_parent", "blob_reference"):
        return _plain_payloads(field.kind, ROW_IDS)
    if isinstance(field, Ranked):
        return st.sampled_from(field.labels)
    if isinstance(field, AddWins):
        return TEXTS
    if field.kind in ("counter", "bounded_counter"):
        return st.integers(-5, 5) if field.kind == "counter" else st.integers(1, 5)
    if isinstance(field, Flag):
        return st.just(value=True)
    return scalars(description)


@lru_cache(maxsize=1_000)
def payloads(field: Field[Any]) -> st.SearchStrategy[Any]:
    """Well-formed payloads of a field, as a device might send them (docs/CRDTS.md shows each).

    Dots and epochs are drawn blindly: some name writes that nobody has made.
    """
    description = field.describe()
    if field.kind in ("lww", "first_write", "max", "min", "group"):
        return values(field)
    if field.kind in ("multi_value", "map", "append_only", "custom"):
        return payloads_of(field.kind, values(field))
    if field.kind == "ranked":
        labels = st.sampled_from(description["labels"])
        return labels | st.tuples(_EPOCHS, labels).map(list)
    return _plain_payloads(field.kind, ROW_IDS)


def informed_payloads(
    field: Field[Any], state: State, *, rows: Sequence[str] = ROW_IDS
) -> st.SearchStrategy[Any]:
    """Payloads that a device sends which sees `state` (None: never written).

    Removes carry the dots seen, additions the epoch seen, custom writes their base. `rows` are the
    ids that a place in a list or a tree may name.
    """
    if isinstance(field, Ranked):
        epochs = st.sampled_from((0, 0, 0, 1)).map(lambda later: field.epoch_of(state) + later)
        return st.tuples(epochs, values(field)).map(list)
    if isinstance(field, Counter):
        epoch = field.epoch_of(state)
        added = values(field).map(lambda quantity: {"add": quantity, "epoch": epoch})
        return st.sampled_from((True,) * 5 + (False,)).flatmap(
            lambda is_added: added if is_added else st.just({"reset": epoch + 1})
        )
    if isinstance(field, Flag):
        dots = field.dots(state)
        return st.just({"on": True}) | st.just({"off": dots}) if dots else st.just({"on": True})
    if isinstance(field, AddWins):
        return _set_edits(field, state)
    if isinstance(field, Map):
        return _map_edits(field, state)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(field, MultiValue):
        seen = field.dots(state)  # pyright: ignore[reportUnknownMemberType]
        return values(field).map(lambda value: {"value": value, "seen": seen})  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(field, Custom):
        base: Any = None if state is None else state[2]
        return values(field).map(lambda value: {"base": base, "value": value})  # pyright: ignore[reportUnknownArgumentType]
    if field.kind in ("list_order", "tree_parent"):
        return _plain_payloads(field.kind, rows)
    return payloads(field)


def scalars(description: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a described scalar: few, so that they meet, and within its limits."""
    low, high = description.get("low"), description.get("high")
    low = min(-3, math.inf if high is None else high) if low is None else low
    high = max(3, low) if high is None else high
    bytes_max = description.get("bytes_max", 0)
    few = [min(max(number, low), high) for number in (-3, -1.5, 0, 1, 1.0, 2.5)]
    plain: dict[str, st.SearchStrategy[Any]] = {
        "text": _fitting(TEXTS, bytes_max),
        "integer": st.sampled_from([int(number) for number in few]) | _integers(low, high),
        "number": st.sampled_from(few) | st.floats(low, high),
        "flag": st.booleans(),
        "json": _JSON_LEAVES | st.lists(_JSON_LEAVES, max_size=2),
    }
    chosen = plain[description["scalar"]]
    return st.none() | chosen if description.get("nullable") else chosen


def payloads_of(kind: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Payloads of a multi-value register, map, log or custom field over the given values."""
    made: dict[str, st.SearchStrategy[Any]] = {
        "multi_value": st.fixed_dictionaries({"value": value}, optional={"seen": _dots()}),
        "map": _map_payloads(value),
        "append_only": st.fixed_dictionaries({"append": st.lists(value, max_size=3)}),
        "custom": st.fixed_dictionaries({"value": value}, optional={"base": st.none() | value}),
    }
    return made[kind]


def _plain_payloads(kind: str, rows: Sequence[str]) -> st.SearchStrategy[Any]:
    row_or_none = st.sampled_from((None, *rows))
    made: dict[str, st.SearchStrategy[Any]] = {
        "add_wins": _set_payloads(),
        "flag": st.just({"on": True}) | _dots().map(lambda seen: {"off": seen}),
        "counter": st.fixed_dictionaries({"add": st.integers(-5, 5)}, optional={"epoch": _EPOCHS})
        | st.fixed_dictionaries({"reset": _EPOCHS}),
        "bounded_counter": _operations("add", "use", "lease"),
        "list_order": st.fixed_dictionaries({"parent": row_or_none, "index": _indexes()}),
        "tree_parent": row_or_none,
        "blob_reference": st.none() | _BLOBS,
    }
    return made[kind]


def _fitting(texts: st.SearchStrategy[str], bytes_max: int) -> st.SearchStrategy[str]:
    return texts.filter(lambda text: len(text.encode()) <= bytes_max)


def _integers(low: float, high: float) -> st.SearchStrategy[int]:
    return st.integers(math.ceil(low), math.floor(high))


def _dots() -> st.SearchStrategy[list[list[int]]]:
    """Dots of small histories; device 0 is the author itself."""
    dot = st.tuples(st.sampled_from((0, *DEVICES)), _COUNTERS).map(list)
    return st.lists(dot, max_size=4)


def _indexes() -> st.SearchStrategy[str]:
    """Fractional indexes at the start, in the middle and at the end."""
    return st.integers(0, 3).map(lambda jitter: between(None, None, jitter)) | st.just("1")


def _operations(*names: str) -> st.SearchStrategy[dict[str, int]]:
    return st.sampled_from(names).flatmap(
        lambda name: st.integers(1, 5).map(lambda quantity: {name: quantity})
    )


@st.composite
def _set_payloads(draw: st.DrawFn) -> dict[str, Any]:
    added = draw(st.sets(TEXTS, max_size=2))
    removed = draw(st.dictionaries(TEXTS, _dots(), max_size=2))
    return {"add": sorted(added - removed.keys()), "remove": removed}


@st.composite
def _set_edits(draw: st.DrawFn, field: AddWins, state: State) -> dict[str, Any]:
    present = sorted(field.value(state))
    removed = draw(st.sets(st.sampled_from(present), max_size=2)) if present else set[str]()
    added = draw(st.sets(TEXTS, min_size=0 if removed else 1, max_size=2))
    return {
        "add": sorted(added - removed),
        "remove": {element: field.dots(state, element) for element in sorted(removed)},
    }


@st.composite
def _map_payloads(draw: st.DrawFn, value: st.SearchStrategy[Any]) -> dict[str, Any]:
    written = draw(st.dictionaries(TEXTS, value, max_size=2))
    removed = draw(st.sets(TEXTS, max_size=2))
    return {"set": written, "remove": sorted(removed - written.keys())}


@st.composite
def _map_edits(draw: st.DrawFn, field: Map[Any], state: State) -> dict[str, Any]:
    present = sorted(field.value(state))
    removed = draw(st.sets(st.sampled_from(present), max_size=2)) if present else set[str]()
    written = draw(st.dictionaries(TEXTS, values(field), min_size=0 if removed else 1, max_size=2))
    return {
        "set": {key: value for key, value in written.items() if key not in removed},
        "remove": sorted(removed),
    }
