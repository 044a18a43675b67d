"""How each field type lies in its table: columns, codec between states and columns, merge in SQL.

One `Columns` per field; `LAYOUTS` lists them by field kind. The SQL must equal the field's
reference merge on every input (tests/laws/test_sql_engine.py), and each expression has planted
mutants (tests/mutants). In expressions `t` is the stored row and `excluded` the incoming delta.

Invariants
  S1  metadata columns are NOT NULL: a NULL would make a row-value comparison NULL
  S2  values are never compared, stamps are (except max and min, whose values are NOT NULL inside)
  S3  the absent state (None) has exactly one form: the columns' defaults
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.crdt.registry import FIELD_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.crdt.field import Field, State

_json_decode = msgspec.json.Decoder().decode
_json_encode = msgspec.json.Encoder().encode

_SCALAR_COLUMNS: Final = {
    "text": "TEXT",
    "integer": "INTEGER",
    "number": "REAL",
    "flag": "INTEGER",
    "json": "TEXT",
}


def _scalar_name(field: Field[Any]) -> str:
    """Return what a register or an extremum holds; all of these declare it."""
    name: str = getattr(field, "scalar_name")  # noqa: B009  (Field itself has none)
    return name


def to_json(value: object) -> str:
    """Encode a JSON value as text."""
    return _json_encode(value).decode()


class Columns(ABC):
    """The columns of one field. `names` are in table order; `names[0]` holds the value."""

    names: tuple[str, ...]
    declarations: tuple[str, ...]
    is_exact_in_json: bool = True
    """False for REAL columns: SQLite before 3.43 may read a decimal one unit in the last place off,
    so these are bound as parameters instead of travelling as JSON."""

    def __init__(self, field: Field[Any]) -> None:
        self.field = field
        self.name = field.name

    @property
    def quoted(self) -> tuple[str, ...]:
        """The names as SQL identifiers: a field may be called "order" or "group"."""
        return tuple(f'"{name}"' for name in self.names)

    @abstractmethod
    def encode(self, state: State) -> tuple[Any, ...]:
        """Turn a delta into column values."""

    @abstractmethod
    def decode(self, row: Sequence[Any], at: int) -> State:
        """Read the state from a fetched row whose first column of this field is at index `at`."""

    @abstractmethod
    def assignments(self) -> tuple[str, ...]:
        """Return the merged value of each column as a SQL expression."""


class RegisterColumns(Columns):
    """value, h, n: the larger stamp wins (statement W of the design)."""

    comparison = "(excluded.{h}, excluded.{n}) > (t.{h}, t.{n})"

    def __init__(self, field: Field[Any]) -> None:
        super().__init__(field)
        scalar = _scalar_name(field)
        self.names = (self.name, f"{self.name}__h", f"{self.name}__n")
        counted = "INTEGER NOT NULL DEFAULT 0"
        self.declarations = (_SCALAR_COLUMNS[scalar], counted, counted)
        self.is_exact_in_json = scalar != "number"
        self._is_json = scalar == "json"
        self._is_flag = scalar == "flag"
        self._is_number = scalar == "number"
        self.is_plain = not (self._is_json or self._is_flag or self._is_number)
        """Whether the column holds the value as it is."""

    def encode(self, state: State) -> tuple[Any, ...]:
        """Return the column values of a delta."""
        if state is None:
            return (None, 0, 0)
        h, n, value = state
        if self._is_json and value is not None:
            value = to_json(value)
        return (value, h, n)

    def decode(self, row: Sequence[Any], at: int) -> State:
        """Return the state held in the columns."""
        h = row[at + 1]
        if h == 0:
            return None
        value = row[at]
        if value is not None:
            if self._is_json:
                value = _json_decode(value)
            elif self._is_flag:
                value = value != 0
            elif self._is_number:
                value = float(value)  # RETURNING of an upsert gives a whole REAL as an integer.
        return [h, row[at + 2], value]

    def assignments(self) -> tuple[str, ...]:
        """Return the merged columns."""
        value, h, n = self.names
        wins = self.comparison.format(h=h, n=n)
        return tuple(f'iif({wins}, excluded."{name}", t."{name}")' for name in (value, h, n))


class FirstWriteColumns(RegisterColumns):
    """As a register, but the smaller stamp wins; h = 0 means never written and never wins."""

    comparison = (
        "excluded.{h} <> 0 AND (t.{h} = 0 OR (excluded.{h}, excluded.{n}) < (t.{h}, t.{n}))"
    )


class ExtremumColumns(Columns):
    """One value: the larger (or smaller) of both, where NULL is "never written"."""

    def __init__(self, field: Field[Any]) -> None:
        super().__init__(field)
        scalar = _scalar_name(field)
        self.names = (self.name,)
        self.declarations = (_SCALAR_COLUMNS[scalar],)
        self.is_exact_in_json = scalar != "number"
        self._is_number = scalar == "number"
        self._function = field.kind

    def encode(self, state: State) -> tuple[Any, ...]:
        """Return the column values of a delta."""
        return (None,) if state is None else (state[0],)

    def decode(self, row: Sequence[Any], at: int) -> State:
        """Return the state held in the columns."""
        value = row[at]
        if value is None:
            return None
        return [float(value)] if self._is_number else [value]

    def assignments(self) -> tuple[str, ...]:
        """Return the merged columns."""
        (x,) = self.quoted
        return (f"{self._function}(coalesce(t.{x}, excluded.{x}), coalesce(excluded.{x}, t.{x}))",)


class EpochColumns(Columns):
    """value, epoch: shared by ranked (larger pair) and counter (larger epoch replaces, equal adds).

    An epoch of -1 means "never written".
    """

    def __init__(self, field: Field[Any]) -> None:
        super().__init__(field)
        self.names = (self.name, f"{self.name}__e")
        self.declarations = ("INTEGER NOT NULL DEFAULT 0", "INTEGER NOT NULL DEFAULT -1")

    def encode(self, state: State) -> tuple[Any, ...]:
        """Return the column values of a delta."""
        return (0, -1) if state is None else (state[1], state[0])

    def decode(self, row: Sequence[Any], at: int) -> State:
        """Return the state held in the columns."""
        epoch = row[at + 1]
        return None if epoch < 0 else [epoch, row[at]]


class RankedColumns(EpochColumns):
    """The larger (epoch, rank) wins."""

    def assignments(self) -> tuple[str, ...]:
        """Return the merged columns."""
        x, e = self.quoted
        wins = f"(excluded.{e}, excluded.{x}) > (t.{e}, t.{x})"
        return tuple(f"iif({wins}, excluded.{name}, t.{name})" for name in (x, e))


class CounterColumns(EpochColumns):
    """A larger epoch replaces the sum, an equal one adds to it, an older one is dropped."""

    def assignments(self) -> tuple[str, ...]:
        """Return the merged columns."""
        x, e = self.quoted
        merged = (
            f"CASE WHEN excluded.{e} > t.{e} THEN excluded.{x} "
            f"WHEN excluded.{e} = t.{e} THEN t.{x} + excluded.{x} ELSE t.{x} END"
        )
        return merged, f"max(t.{e}, excluded.{e})"


class JsonColumns(Columns):
    """One TEXT column holding the state as canonical JSON; subclasses give the merged array.

    `merged` selects from the entries of both states; `{entries}` stands for those (column `value`).
    """

    merged: str

    def __init__(self, field: Field[Any]) -> None:
        super().__init__(field)
        self.names = (self.name,)
        self.declarations = ("TEXT",)

    def encode(self, state: State) -> tuple[Any, ...]:
        """Return the column values of a delta."""
        return (None,) if state is None else (to_json(state),)

    def decode(self, row: Sequence[Any], at: int) -> State:
        """Return the state held in the columns."""
        return None if row[at] is None else _json_decode(row[at])

    def assignments(self) -> tuple[str, ...]:
        """Return the merged columns."""
        (x,) = self.quoted
        entries = (
            f"(SELECT value FROM json_each(t.{x}) UNION ALL "
            f"SELECT value FROM json_each(excluded.{x}))"
        )
        merged = (
            f"CASE WHEN t.{x} IS NULL THEN excluded.{x} WHEN excluded.{x} IS NULL THEN t.{x} "
            f"ELSE ({self.merged.format(entries=entries)}) END"
        )
        return (merged,)


class AddWinsColumns(JsonColumns):
    """[element, n, add, removed]: both dots by max, per element and device."""

    merged = (
        "SELECT json_group_array(json_array(k, n, a, r)) FROM ("
        "SELECT value->>0 AS k, value->>1 AS n, max(value->>2) AS a, max(value->>3) AS r "
        "FROM {entries} GROUP BY 1, 2 ORDER BY 1, 2)"
    )


class FlagColumns(JsonColumns):
    """[n, add, removed]: both dots by max, per device."""

    merged = (
        "SELECT json_group_array(json_array(n, a, r)) FROM ("
        "SELECT value->>0 AS n, max(value->>1) AS a, max(value->>2) AS r "
        "FROM {entries} GROUP BY 1 ORDER BY 1)"
    )


class MultiValueColumns(JsonColumns):
    """[n, add, removed, h, value]: the larger add brings its h and value; removed clears them."""

    merged = (
        "SELECT json_group_array(json_array(n, a, r, iif(r >= a, 0, h), "
        "json(iif(r >= a, 'null', x)))) FROM ("
        "SELECT n, a, max(r) OVER same AS r, h, x, row_number() OVER latest AS place FROM ("
        "SELECT value->>0 AS n, value->>1 AS a, value->>2 AS r, value->>3 AS h, value->4 AS x "
        "FROM {entries}) "
        "WINDOW same AS (PARTITION BY n), latest AS (PARTITION BY n ORDER BY a DESC, h DESC) "
        "ORDER BY n) WHERE place = 1"
    )


class MapColumns(JsonColumns):
    """[key, h, n, deleted, value]: the larger stamp wins, per key."""

    merged = (
        "SELECT json_group_array(json(entry)) FROM ("
        "SELECT value AS entry, value->>0 AS k, "
        "row_number() OVER (PARTITION BY value->>0 ORDER BY value->>1 DESC, value->>2 DESC) "
        "AS place FROM {entries} ORDER BY k) WHERE place = 1"
    )


class BoundedCounterColumns(JsonColumns):
    """[n, added, granted, used, until]: amounts add up, the lease's end by max, per device."""

    merged = (
        "SELECT json_group_array(json_array(n, added, granted, used, until)) FROM ("
        "SELECT value->>0 AS n, sum(value->>1) AS added, sum(value->>2) AS granted, "
        "sum(value->>3) AS used, max(value->>4) AS until "
        "FROM {entries} GROUP BY 1 ORDER BY 1)"
    )


class AppendOnlyColumns(JsonColumns):
    """[h, n, counter, i, value]: the union, once per (n, counter, i), in stamp order."""

    merged = (
        "SELECT json_group_array(json(entry)) FROM ("
        "SELECT min(value) AS entry FROM {entries} "
        "GROUP BY value->>1, value->>2, value->>3 "
        "ORDER BY value->>0, value->>1, value->>2, value->>3)"
    )


LAYOUTS: Final[dict[str, type[Columns]]] = {
    "lww": RegisterColumns,
    "group": RegisterColumns,
    "first_write": FirstWriteColumns,
    "max": ExtremumColumns,
    "min": ExtremumColumns,
    "ranked": RankedColumns,
    "add_wins": AddWinsColumns,
    "flag": FlagColumns,
    "multi_value": MultiValueColumns,
    "map": MapColumns,
    "counter": CounterColumns,
    "bounded_counter": BoundedCounterColumns,
    "list_order": RegisterColumns,
    "tree_parent": RegisterColumns,
    "append_only": AppendOnlyColumns,
    "blob_reference": RegisterColumns,
    "custom": RegisterColumns,
}


def columns_of(field: Field[Any]) -> Columns:
    """Return the layout of a declared field."""
    return LAYOUTS[field.kind](field)


assert LAYOUTS.keys() >= FIELD_TYPES.keys(), "every registered field type needs a layout"
