"""Scalars and JSON values that fields may hold, and their limits.

Everything here survives JSON, MessagePack and SQLite unchanged: finite floats, integers of 53 bits,
text without NUL (SQLite's JSON functions cut it there) and without lone surrogates.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, cast

from core.errors import FieldError
from core.ids import INTEGER_MAX

ScalarName = Literal["text", "integer", "number", "flag", "json"]
"""What a register's value is made of; the SQL engine chooses the column type by it."""

type_names: Final[dict[type, ScalarName]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "flag",
}
TEXT_BYTES_MAX: Final = 65_536
JSON_DEPTH_MAX: Final = 16
JSON_NODES_MAX: Final = 10_000

Scalar = str | int | float | bool
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def text(value: object, *, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return `value` if it is storable text of at most `bytes_max` UTF-8 bytes."""
    if not isinstance(value, str):
        raise FieldError("wrong-type", f"expected text, got {_name(value)}")
    if len(value) > bytes_max:
        raise FieldError("too-long", f"text is longer than {bytes_max} bytes")
    if not value.isascii():
        try:
            size_bytes = len(value.encode())
        except UnicodeEncodeError:
            raise FieldError("not-unicode", "text holds a lone surrogate") from None
        if size_bytes > bytes_max:
            raise FieldError("too-long", f"text is longer than {bytes_max} bytes")
    if "\x00" in value:
        raise FieldError("nul-character", "text holds a NUL character")
    return value


def integer(value: object, *, low: int = -INTEGER_MAX, high: int = INTEGER_MAX) -> int:
    """Return `value` if it is an integer (not a bool) within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldError("wrong-type", f"expected an integer, got {_name(value)}")
    if not low <= value <= high:
        raise FieldError("out-of-range", f"the integer is not within [{low}, {high}]")
    return value


def number(value: object, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a finite float within [low, high]; integers of 53 bits are taken too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldError("wrong-type", f"expected a number, got {_name(value)}")
    if isinstance(value, int):
        value = float(integer(value))
    if not math.isfinite(value):
        raise FieldError("not-finite", "NaN and infinities cannot be stored")
    if not low <= value <= high:
        raise FieldError("out-of-range", f"{value} is not within [{low}, {high}]")
    return value + 0.0  # -0.0 becomes 0.0: SQLite does not keep its sign through JSON


def flag(value: object) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise FieldError("wrong-type", f"expected true or false, got {_name(value)}")
    return value


def json(value: object) -> Json:
    """Return `value` in canonical form if it is JSON of bounded depth and size, storable in full.

    Keys are sorted and whole floats of 53 bits become integers, because JavaScript and MessagePack
    encoders cannot tell 1.0 from 1.
    """
    return _canonical(value, 0, [JSON_NODES_MAX])


def _canonical(value: object, depth: int, nodes_left: list[int]) -> Json:
    nodes_left[0] -= 1
    if depth > JSON_DEPTH_MAX or nodes_left[0] < 0:
        raise FieldError("too-deep", f"JSON deeper than {JSON_DEPTH_MAX} or too large")
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        checked = number(value)
        return int(checked) if checked.is_integer() and abs(checked) <= INTEGER_MAX else checked
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_canonical(item, depth + 1, nodes_left) for item in items]
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        keys = sorted(text(key) for key in members)
        return {key: _canonical(members[key], depth + 1, nodes_left) for key in keys}
    return integer(value)


def mapping(value: object, *, keys: frozenset[str] | None = None) -> dict[str, Any]:
    """Return `value` if it is a JSON object whose keys are text, and among `keys` when given."""
    if not isinstance(value, dict):
        raise FieldError("wrong-type", f"expected an object, got {_name(value)}")
    for key in cast("dict[object, object]", value):
        if not isinstance(key, str) or (keys is not None and key not in keys):
            raise FieldError("unknown-key", "the object holds a key that is not expected here")
    return cast("dict[str, Any]", value)


def array(value: object, *, items_max: int) -> list[Any]:
    """Return `value` if it is a JSON array of at most `items_max` items."""
    if not isinstance(value, list):
        raise FieldError("wrong-type", f"expected an array, got {_name(value)}")
    items = cast("list[Any]", value)
    if len(items) > items_max:
        raise FieldError("too-many", f"an array of more than {items_max} items")
    return items


def _name(value: object) -> str:
    return "null" if value is None else type_names.get(type(value), type(value).__name__)
