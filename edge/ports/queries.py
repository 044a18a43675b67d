"""REST reads as data: filters, order and page, already checked against the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Comparison = Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "contains"]


@dataclass(frozen=True, slots=True)
class Filter:
    """`field` is a declared field or `id`; `value` is a column value (a list for `in`)."""

    field: str
    comparison: Comparison
    value: Any


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key."""

    field: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Living rows of one collection in some spaces, sorted (the id always last), from a position.

    `after` holds the sort values and the id of the last row of the page before.
    """

    collection: str
    spaces: tuple[str, ...]
    where: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 50
    after: tuple[Any, ...] | None = None
