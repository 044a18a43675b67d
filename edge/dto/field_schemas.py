"""JSON Schemas of field types: what a client sends (payload), what it reads (value), how to filter.

One line per kind in SHAPES. A kind that is not listed is still served; its schema is then open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from core.crdt.field import Field

Schema = dict[str, Any]
FilterScalar = Literal["text", "integer", "number", "flag", "none"]

_INTEGER: Final[Schema] = {"type": "integer", "minimum": -(2**53 - 1), "maximum": 2**53 - 1}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
_ROW_ID: Final[Schema] = {"type": ["string", "null"], "maxLength": 64}
_DOT: Final[Schema] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "minItems": 2,
    "maxItems": 2,
}
_DOTS: Final[Schema] = {"type": "array", "items": _DOT}
_TYPES: Final = {"text": "string", "integer": "integer", "number": "number", "flag": "boolean"}


class Shape(NamedTuple):
    """How one kind of field looks over REST; the functions take the field's description."""

    payload: Callable[[Schema], Schema]
    value: Callable[[Schema], Schema]
    filter: Callable[[Schema], FilterScalar]


def payload_schema(field: Field[Any]) -> Schema:
    """Return the schema of what a client sends to write the field."""
    shape = SHAPES.get(field.kind)
    return {} if shape is None else shape.payload(field.describe())


def value_schema(field: Field[Any]) -> Schema:
    """Return the schema of what a client reads."""
    shape = SHAPES.get(field.kind)
    return {} if shape is None else shape.value(field.describe())


def filter_scalar(field: Field[Any]) -> FilterScalar:
    """Return the type of value the field is filtered by; `none`: it cannot be."""
    shape = SHAPES.get(field.kind)
    return "none" if shape is None else shape.filter(field.describe())


def _scalar(described: Schema) -> Schema:
    name = described["scalar"]
    if name == "json":
        return {}
    schema: Schema = {"type": _TYPES[name]}
    if name == "integer":
        schema.update(minimum=_INTEGER["minimum"], maximum=_INTEGER["maximum"])
    for limit, keyword in (("low", "minimum"), ("high", "maximum"), ("bytes_max", "maxLength")):
        if limit in described:
            schema[keyword] = described[limit]
    if described.get("nullable"):
        schema["type"] = [schema["type"], "null"]
    return schema


def _scalar_filter(described: Schema) -> FilterScalar:
    name = described["scalar"]
    return "none" if name == "json" else name


def _object(properties: Mapping[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _group(described: Schema) -> Schema:
    members = {name: _scalar(form) for name, form in described["members"].items()}
    return _object(members, required=tuple(members))


def _ranked(described: Schema) -> Schema:
    return {"type": "string", "enum": described["labels"]}


def _ranked_payload(described: Schema) -> Schema:
    reopened = {"type": "array", "prefixItems": [_COUNT, _ranked(described)], "items": False}
    return {"oneOf": [_ranked(described), reopened]}


def _set_payload(described: Schema) -> Schema:
    del described
    return _object(
        {
            "add": _list({"type": "string"}),
            "remove": {"type": "object", "additionalProperties": _DOTS},
        }
    )


def _map_payload(described: Schema) -> Schema:
    return _object(
        {
            "set": {"type": "object", "additionalProperties": _scalar(described)},
            "remove": _list({"type": "string"}),
        }
    )


def _map_value(described: Schema) -> Schema:
    return {"type": "object", "additionalProperties": _scalar(described)}


def _blob(described: Schema) -> Schema:
    schema = _object(
        {
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "size": {"type": "integer", "minimum": 0, "maximum": described["bytes_max"]},
            "type": {"type": "string"},
        },
        required=("sha256", "size", "type"),
    )
    return {**schema, "type": ["object", "null"]}


def _place(described: Schema) -> Schema:
    del described
    return _object({"parent": _ROW_ID, "index": {"type": "string"}}, required=("parent", "index"))


def _scalars(described: Schema) -> Schema:
    return _list(_scalar(described))


def _appending(described: Schema) -> Schema:
    return _object({"append": _scalars(described)}, required=("append",))


def _resolving(described: Schema) -> Schema:
    return _object({"value": _scalar(described), "seen": _DOTS}, required=("value",))


def _three_way(described: Schema) -> Schema:
    scalar = _scalar(described)
    return _object({"base": scalar, "value": scalar}, required=("base", "value"))


def _no_place(described: Schema) -> Schema:
    return {**_place(described), "type": ["object", "null"]}


def _one_of(*choices: Schema) -> Callable[[Schema], Schema]:
    return lambda _: {"oneOf": [_object(c, required=(next(iter(c)),)) for c in choices]}


def _always(schema: Schema) -> Callable[[Schema], Schema]:
    return lambda _: schema


def _by(scalar: FilterScalar) -> Callable[[Schema], FilterScalar]:
    return lambda _: scalar


_REGISTER: Final = Shape(_scalar, _scalar, _scalar_filter)

SHAPES: Final[Mapping[str, Shape]] = {
    "lww": _REGISTER,
    "first_write": _REGISTER,
    "max": _REGISTER,
    "min": _REGISTER,
    "group": Shape(_group, _group, _by("none")),
    "ranked": Shape(_ranked_payload, _ranked, _by("text")),
    "add_wins": Shape(_set_payload, _always(_list({"type": "string"})), _by("text")),
    "flag": Shape(
        _one_of({"on": {"const": True}}, {"off": _DOTS}),
        _always({"type": "boolean"}),
        _by("flag"),
    ),
    "multi_value": Shape(
        _resolving,
        _scalars,
        _scalar_filter,
    ),
    "map": Shape(_map_payload, _map_value, _by("none")),
    "counter": Shape(
        _one_of({"add": _INTEGER, "epoch": _COUNT}, {"reset": _COUNT}),
        _always(_INTEGER),
        _by("integer"),
    ),
    "bounded_counter": Shape(
        _one_of({"add": _COUNT}, {"use": _COUNT}, {"lease": _COUNT}),
        _always({"type": "integer", "minimum": 0}),
        _by("integer"),
    ),
    "list_order": Shape(_place, _no_place, _by("none")),
    "tree_parent": Shape(_always(_ROW_ID), _always(_ROW_ID), _by("text")),
    "append_only": Shape(_appending, _scalars, _scalar_filter),
    "blob_reference": Shape(_blob, _blob, _by("none")),
    "custom": Shape(_three_way, _scalar, _scalar_filter),
}
