"""The OpenAPI 3.1 document of one app, made from its declaration.

Request bodies are read by hand and collections are declared by the app, so the document is made
here and not by the framework; a test holds it against the routes that are really served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dto.collection_paths import collection_components, collection_paths
from edge.dto.described import paths_of
from edge.dto.identity_operations import IDENTITY_OPERATIONS, identity_types
from edge.dto.logs import ConflictPage, ReceiptPage
from edge.dto.operations import bearer, json_content, operation, query_parameter
from edge.dto.space_paths import SPACE_TYPES, space_paths
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.welcome import Welcome

if TYPE_CHECKING:
    from core.schema.app import App

Json = dict[str, Any]
REFERENCE: Final = "#/components/schemas/{name}"
SYNC: Final = (
    ("hello", Hello, Welcome, "Introduce a device"),
    ("push", Push, Pushed, "Push mutations"),
    ("pull", Pull, Page, "Pull what came after a cursor"),
    ("repair", Repair, Repaired, "Fetch what a digest mismatch has shown to be damaged"),
)
PROBLEM: Final[Json] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "fault"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "Names the request as the logs do."},
        "fault": {"type": "string", "description": "Stable; docs/ERRORS.md lists them."},
        "retry_after_ms": {"type": ["integer", "null"]},
    },
}


def openapi(app: App, *, version: str) -> Json:
    """Return the document; `version` is Skerry's."""
    messages = [message for _, request, answer, _ in SYNC for message in (request, answer)]
    types: list[Any] = [
        *messages,
        WireMutation,
        Receipt,
        ReceiptPage,
        ConflictPage,
        *identity_types(),
        *SPACE_TYPES,
    ]
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    paths: Json = {**_sync_paths(), **_log_paths(), **space_paths(), **_node_paths()}
    paths.update(paths_of(IDENTITY_OPERATIONS))
    for declared in app.collections.values():
        paths.update(collection_paths(declared))
        schemas.update(collection_components(declared))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{app.name} on Skerry",
            "version": f"{app.version}",
            "summary": f"Served by Skerry {version}; generated from the app's declaration.",
        },
        "servers": [{"url": "/"}],
        "security": bearer(),
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _sync_paths() -> Json:
    paths: Json = {}
    for name, request, answer, summary in SYNC:
        body = {
            media: {"schema": {"$ref": REFERENCE.format(name=request.__name__)}}
            for media in ("application/msgpack", "application/json")
        }
        content = {
            media: {"schema": {"$ref": REFERENCE.format(name=answer.__name__)}} for media in body
        }
        described = operation(f"sync.{name}", "sync", summary, content)
        described["requestBody"] = {"required": True, "content": body}
        paths[f"/v1/sync/{name}"] = {"post": described}
    return paths


def _log_paths() -> Json:
    page = [
        query_parameter("after", {"type": "integer", "minimum": 0, "default": 0}),
        query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000}),
    ]
    receipts = operation(
        "receipts.list", "logs", "List the outcomes of your mutations", json_content("ReceiptPage")
    )
    device = query_parameter("device", {"type": "integer", "minimum": 1})
    receipts["parameters"] = [{**device, "required": True}, *page]
    conflicts = operation(
        "conflicts.list", "logs", "List concurrent writes that lost", json_content("ConflictPage")
    )
    text: Json = {"type": "string"}
    conflicts["parameters"] = [query_parameter("collection", text), query_parameter("row", text)]
    conflicts["parameters"] += page
    return {"/v1/receipts": {"get": receipts}, "/v1/conflicts": {"get": conflicts}}


def _node_paths() -> Json:
    live = operation("health.live", "node", "Is the process alive?", {})
    ready = operation("health.ready", "node", "Can the node serve?", {})
    fresh = operation("health.fresh", "node", "Are the node's rows up to date?", {})
    for public in (live, ready, fresh):
        public["security"] = []
    metrics = operation(
        "metrics", "node", "Metrics for Prometheus", {"text/plain": {"schema": {"type": "string"}}}
    )
    return {
        "/health/live": {"get": live},
        "/health/ready": {"get": ready},
        "/health/fresh": {"get": fresh},
        "/metrics": {"get": metrics},
    }
