"""The pieces that OpenAPI operations are made of."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def bearer() -> list[Json]:
    """Return the security requirement of everything that is not public."""
    return [{"bearer": []}]


def schema(name: str) -> Json:
    """Refer to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(name: str) -> Json:
    """Return content that is JSON of a named schema."""
    return {"application/json": {"schema": schema(name)}}


def json_body(name: str) -> Json:
    """Return a required JSON request body of a named schema."""
    return {"required": True, "content": json_content(name)}


def query_parameter(name: str, of: Json, description: str = "") -> Json:
    """Return an optional query parameter."""
    parameter: Json = {"name": name, "in": "query", "required": False, "schema": of}
    if description:
        parameter["description"] = description
    return parameter


def operation(identity: str, tag: str, summary: str, content: Json, *, status: int = 200) -> Json:
    """Return an operation that answers `content`, or a problem."""
    success: Json = {"description": summary}
    if content:
        success["content"] = content
    problem = {
        "description": "A problem (RFC 9457)",
        "content": {"application/problem+json": {"schema": schema("Problem")}},
    }
    return {
        "operationId": identity,
        "tags": [tag],
        "summary": summary,
        "responses": {str(status): success, "default": problem},
    }
