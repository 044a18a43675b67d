"""The part of the OpenAPI document that one declared collection makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.dto.field_schemas import filter_scalar, payload_schema, value_schema
from edge.dto.operations import json_body, json_content, operation, query_parameter, schema
from edge.dto.row_query import LIMIT_DEFAULT, LIMIT_MAX

if TYPE_CHECKING:
    from core.schema.collection import Collection

Json = dict[str, Any]
_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"}
_CLOCK: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_FILTER_TYPES: Final = {
    "text": "string",
    "integer": "integer",
    "number": "number",
    "flag": "boolean",
}


def collection_components(declared: type[Collection]) -> Json:
    """Return the concrete schemas of one collection: row, page, new row, edit, outcome."""
    title = _title(declared)
    payloads = _closed({name: payload_schema(f) for name, f in declared.fields.items()})
    values = _closed({name: value_schema(f) for name, f in declared.fields.items()})
    clocks = _closed(dict.fromkeys(declared.fields, _CLOCK))
    row = _closed(
        {
            "id": _ID,
            "space": _ID,
            "sequence": _CLOCK,
            "alive": {"type": "boolean"},
            "values": values,
            "versions": clocks,
        },
        required=["id", "space", "sequence", "alive", "values", "versions"],
    )
    row["description"] = declared.__doc__ or f"A row of {declared.collection_name}."
    return {
        title: row,
        f"{title}Page": _closed(
            {
                "rows": {"type": "array", "items": schema(title)},
                "next": {"type": ["string", "null"]},
            },
            required=["rows", "next"],
        ),
        f"New{title}": _closed(
            {"space": _ID, "fields": payloads, "id": {"oneOf": [_ID, {"type": "null"}]}},
            required=["space"],
        ),
        f"{title}Edit": _closed(
            {"fields": payloads, "base": {"oneOf": [clocks, {"type": "null"}]}},
            required=["fields"],
        ),
        f"{title}Written": _closed(
            {
                "receipt": schema("Receipt"),
                "row": {"oneOf": [schema(title), {"type": "null"}]},
            },
            required=["receipt", "row"],
        ),
    }


def collection_paths(declared: type[Collection]) -> Json:
    """Return the paths of one collection."""
    name, title = declared.collection_name, _title(declared)
    written = json_content(f"{title}Written")

    def described(verb: str, summary: str, content: Json, *, status: int = 200) -> Json:
        return operation(f"{name}.{verb}", name, summary, content, status=status)

    browse = described("list", f"List {name} rows", json_content(f"{title}Page"))
    browse["parameters"] = _list_parameters(declared)
    insert = described("insert", f"Insert a row of {name}", written, status=201)
    insert["requestBody"] = json_body(f"New{title}")
    edit = described("edit", f"Write fields of a row of {name}", written)
    edit["requestBody"] = json_body(f"{title}Edit")
    remove = described("delete", f"Delete a row of {name}", written)
    for conditional in (edit, remove):
        conditional["parameters"] = [
            {
                "name": "If-Match",
                "in": "header",
                "required": False,
                "description": "The row's sequence as it was read.",
                "schema": {"type": "string"},
            }
        ]
    identity = {"name": "row_id", "in": "path", "required": True, "schema": _ID}
    path = f"/v1/rows/{name}"
    return {
        path: {"get": browse, "post": insert},
        f"{path}/{{row_id}}": {
            "parameters": [identity],
            "get": described("get", f"Read a row of {name}", json_content(title)),
            "patch": edit,
            "delete": remove,
        },
        f"{path}/{{row_id}}/restore": {
            "parameters": [identity],
            "post": described("restore", f"Bring a deleted {name} row back", written),
        },
    }


def _list_parameters(declared: type[Collection]) -> list[Json]:
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    parameters = [
        query_parameter("space", _ID),
        query_parameter("sort", {"type": "string"}, "Field names; a leading - sorts descending."),
        query_parameter("limit", limit),
        query_parameter("after", {"type": "string"}, "The `next` of the page before."),
    ]
    for name, field in declared.fields.items():
        scalar = filter_scalar(field)
        if scalar != "none":
            hint = f"Equal; also {name}.ne .lt .le .gt .ge .in .contains"
            parameters.append(query_parameter(name, {"type": _FILTER_TYPES[scalar]}, hint))
    return parameters


def _closed(properties: Json, required: list[str] | None = None) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def _title(declared: type[Collection]) -> str:
    return "".join(word.capitalize() for word in declared.collection_name.split("_")) + "Row"
