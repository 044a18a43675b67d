"""The query string of a list of rows: `?status=visited&visits.ge=2&sort=-visits,name&limit=50`.

Every mistake is an InvalidQuery that names it: an unknown field or operator, a key given twice, a
value of the wrong type, a limit out of range. Nothing is ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from core.ids import INTEGER_MAX, SpaceId, is_id
from edge.dto.field_schemas import filter_scalar
from edge.errors import InvalidQuery
from edge.services.rows import Filter, RowQuery

if TYPE_CHECKING:
    from core.schema.collection import Collection

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000
"""A page of rows for people; devices that want everything pull instead."""
QUERY_BYTES_MAX: Final = 4_096
FILTERS_MAX: Final = 20
SORT_FIELDS_MAX: Final = 5
IN_VALUES_MAX: Final = 100
AFTER_LENGTH_MAX: Final = 1_024
OPERATORS: Final = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "in", "contains"})
OWN_KEYS: Final = frozenset({"space", "sort", "limit", "after"})
_WHOLE: Final = re.compile(r"-?\d{1,16}", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)


def query_pairs(query: bytes) -> dict[str, str]:
    """Split a query string; raise InvalidQuery when it is too long, not UTF-8 or repeats a key."""
    if len(query) > QUERY_BYTES_MAX:
        raise InvalidQuery(f"A query string may have at most {QUERY_BYTES_MAX} bytes.")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:  # UnicodeError is one of them
        raise InvalidQuery("The query string is not readable as UTF-8 key=value pairs.") from None
    found: dict[str, str] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidQuery(f"The query key {key!r:.60} is given twice.")
        found[key] = value
    return found


def whole_number(text: str, *, name: str, low: int, high: int) -> int:
    """Read a bounded whole number of a query string."""
    if _WHOLE.fullmatch(text) is None or not low <= int(text) <= high:
        raise InvalidQuery(f"{name} is a whole number from {low} to {high}, not {text!r:.40}.")
    return int(text)


def known_only(pairs: dict[str, str], *known: str) -> dict[str, str]:
    """Return the pairs; raise InvalidQuery for a key that is not one of `known`."""
    for key in pairs:
        if key not in known:
            raise InvalidQuery(f"{key!r:.60} is not a query key here; known: {', '.join(known)}.")
    return pairs


def row_query(declared: type[Collection], query: bytes) -> RowQuery:
    """Read the query string of a list of one collection's rows."""
    pairs = query_pairs(query)
    space = pairs.get("space")
    if space is not None and not is_id(space):
        raise InvalidQuery(f"{space!r:.60} is not a space.")
    after = pairs.get("after")
    if after is not None and not 0 < len(after) <= AFTER_LENGTH_MAX:
        raise InvalidQuery("'after' takes the `next` of the page before.")
    where = [_filter(declared, k, v) for k, v in pairs.items() if k not in OWN_KEYS]
    if len(where) > FILTERS_MAX:
        raise InvalidQuery(f"At most {FILTERS_MAX} filters can be combined.")
    return RowQuery(
        space=None if space is None else SpaceId(space),
        where=where,
        sort=_sort(declared, pairs.get("sort")),
        limit=whole_number(
            pairs.get("limit", str(LIMIT_DEFAULT)), name="limit", low=1, high=LIMIT_MAX
        ),
        after=after,
    )


def _filter(declared: type[Collection], key: str, text: str) -> Filter:
    name, _, operator = key.partition(".")
    operator = operator or "eq"
    if operator not in OPERATORS:
        raise InvalidQuery(f"{operator!r:.40} is not an operator; known: {sorted(OPERATORS)}.")
    field = declared.fields.get(name)
    if field is None:
        raise InvalidQuery(f"{name!r:.60} is neither a field nor a query key.")
    scalar = filter_scalar(field)
    if scalar == "none":
        raise InvalidQuery(f"{name!r} cannot be filtered.")
    value: Any
    if operator == "in":
        words = text.split(",")
        if len(words) > IN_VALUES_MAX:
            raise InvalidQuery(f"'in' takes at most {IN_VALUES_MAX} values.")
        value = [_value(name, scalar, word) for word in words]
    else:
        value = _value(name, scalar, text)
    return Filter(field=name, op=cast("Any", operator), value=value)


def _value(name: str, scalar: str, text: str) -> str | int | float | bool:
    if scalar == "text":
        if "\x00" in text:
            raise InvalidQuery(f"{name!r}: text holds a NUL character.")
        return text
    if scalar == "flag":
        if text not in ("true", "false"):
            raise InvalidQuery(f"{name!r} is true or false, not {text!r:.40}.")
        return text == "true"
    if scalar == "integer":
        return whole_number(text, name=repr(name), low=-INTEGER_MAX, high=INTEGER_MAX)
    if _NUMBER.fullmatch(text) is None or abs(float(text)) == float("inf"):
        raise InvalidQuery(f"{name!r} is a number, not {text!r:.40}.")
    return float(text)


def _sort(declared: type[Collection], text: str | None) -> list[tuple[str, bool]]:
    if text is None:
        return []
    words = text.split(",")
    if len(words) > SORT_FIELDS_MAX:
        raise InvalidQuery(f"At most {SORT_FIELDS_MAX} fields can be sorted by.")
    sort: list[tuple[str, bool]] = []
    for word in words:
        name = word.removeprefix("-")
        if name not in declared.fields:
            raise InvalidQuery(f"{name!r:.60} is not a field to sort by.")
        if any(name == known for known, _ in sort):
            raise InvalidQuery(f"{name!r} is sorted by twice.")
        sort.append((name, word.startswith("-")))
    return sort
