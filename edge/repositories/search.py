"""REST reads as SQL: filters, order and keyset pages over plain columns.

Values arrive as column values, already checked against the schema (edge.services.rows). A field
that was never written reads as its default, also here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.repositories.sql.columns import EpochColumns, RegisterColumns, to_json

if TYPE_CHECKING:
    from edge.ports.queries import Filter, Order, RowQuery
    from edge.repositories.sql.table import Table

_OPERATORS: Final = {"ne": "IS NOT", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "IS"}


def search_statement(table: Table, query: RowQuery) -> tuple[str, list[Any]]:
    """Return the statement and its parameters; rows come in query order, the id breaking ties."""
    parameters: list[Any] = [to_json(list(query.spaces))]
    conditions = ["t.alive = 1", "t.space IN (SELECT value FROM json_each(?))"]
    conditions += [_condition(table, condition, parameters) for condition in query.where]
    keys = [_expression(table, order.field) for order in query.order]
    if query.after is not None:
        conditions.append(_position(keys, query.order, query.after, parameters))
    order = [
        f"{key} {'DESC' if wanted.is_descending else 'ASC'}"
        for key, wanted in zip(keys, query.order, strict=True)
    ]
    parameters.append(query.limit)
    sql = (
        f"SELECT {table.select_list} FROM {table.name} AS t WHERE {' AND '.join(conditions)} "
        f"ORDER BY {', '.join([*order, 't.id ASC'])} LIMIT ?"
    )
    return sql, parameters


def _expression(table: Table, name: str) -> str:
    """Return what a field compares as; NULL (an optional field without value) sorts first."""
    if name in {"id", "sequence", "space"}:
        return f"t.{name}"
    columns = table.columns[name]
    default = table.declared.fields[name].default
    if isinstance(columns, RegisterColumns) and default is not None:
        literal = to_json(default)
        if isinstance(default, str):
            literal = "'" + default.replace("'", "''") + "'"
        elif isinstance(default, bool):
            literal = "1" if default else "0"
        return f'iif(t."{name}__h" = 0, {literal}, t."{name}")'
    if isinstance(columns, EpochColumns):
        return f'iif(t."{name}__e" < 0, 0, t."{name}")'
    return f't."{name}"'


def _condition(table: Table, condition: Filter, parameters: list[Any]) -> str:
    if condition.comparison == "contains":
        parameters.append(condition.value)
        return (
            f'EXISTS (SELECT 1 FROM json_each(t."{condition.field}") AS entry '
            "WHERE entry.value->>0 = ? AND entry.value->>2 > entry.value->>3)"
        )
    expression = _expression(table, condition.field)
    if condition.comparison == "in":
        parameters.append(to_json(condition.value))
        return f"{expression} IN (SELECT value FROM json_each(?))"
    parameters.append(condition.value)
    return f"{expression} {_OPERATORS[condition.comparison]} ?"


def _position(
    keys: list[str], order: tuple[Order, ...], after: tuple[Any, ...], parameters: list[Any]
) -> str:
    """Return the keyset condition "after this row": the first differing key decides."""
    alternatives: list[str] = []
    *values, row_id = after
    for index in range(len(keys) + 1):
        equal = [f"{key} IS ?" for key in keys[:index]]
        parameters.extend(values[:index])
        if index == len(keys):
            parameters.append(row_id)
            last = "t.id > ?"
        else:
            parameters.append(values[index])
            last = f"{keys[index]} < ?" if order[index].is_descending else f"({keys[index]} > ?)"
            if values[index] is None:
                last = "0" if order[index].is_descending else f"{keys[index]} IS NOT NULL"
                parameters.pop()
            elif order[index].is_descending:
                last = f"({keys[index]} < ? OR {keys[index]} IS NULL)"
        alternatives.append("(" + " AND ".join([*equal, last]) + ")")
    return "(" + " OR ".join(alternatives) + ")"
