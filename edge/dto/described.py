"""Operations as data: the routes, the policies and the OpenAPI document are made from one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge.dto.operations import json_body, json_content, operation, query_parameter
from edge.dto.policies import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]
AFTER_ID: Final[Json] = {"type": "string", "maxLength": 64}
AFTER_NUMBER: Final[Json] = {"type": "integer", "minimum": 0}
LIMIT: Final[Json] = {"type": "integer", "minimum": 1, "maximum": 1_000}


@dataclass(frozen=True, slots=True)
class Described:
    """One operation. `body` and `answer` are structs, `archive` answers a ZIP file."""

    name: str
    method: str
    path: str
    policy: Policy
    summary: str
    body: type | None = None
    answer: type | None = None
    status: int = 200
    query: Mapping[str, Json] = field(default_factory=dict[str, Json])
    is_archive: bool = False


def paths_of(operations: Iterable[Described]) -> Json:
    """Return the OpenAPI paths of described operations."""
    paths: Json = {}
    for described in operations:
        paths.setdefault(described.path, {})[described.method.lower()] = _operation(described)
    for path, item in paths.items():
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        if names:
            item["parameters"] = list(_path_parameters(names))
    return paths


def _operation(described: Described) -> Json:
    content: Json = {}
    if described.is_archive:
        content = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
    elif described.answer is not None:
        content = json_content(described.answer.__name__)
    tag = described.name.partition(".")[0]
    made = operation(described.name, tag, described.summary, content, status=described.status)
    made["description"] = f"Policy: {described.policy}."
    if described.policy is Policy.PUBLIC:
        made["security"] = []
    if described.body is not None:
        made["requestBody"] = json_body(described.body.__name__)
    if described.query:
        made["parameters"] = [query_parameter(n, of) for n, of in described.query.items()]
    return made


def _path_parameters(names: Iterable[str]) -> Iterable[Json]:
    for name in names:
        schema = {"type": "string", "minLength": 1, "maxLength": 64}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
