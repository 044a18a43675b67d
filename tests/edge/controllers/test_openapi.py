"""The OpenAPI document: valid, complete, concrete, and in step with the routes."""

import re

import msgspec
import pytest
from litestar.routes import HTTPRoute

from core.crdt.registry import FIELD_TYPES, SAMPLES
from edge.app import build_application
from edge.dto.field_schemas import SHAPES, payload_schema, value_schema
from edge.identity_wiring import prepare_limits
from tests.edge.controllers.fakes import app

HIDDEN = {"/openapi.json", "/docs", "/docs/page.js", "/docs/page.css"}


@pytest.fixture
async def document(served):
    return (await served.client.get("/openapi.json")).json()


async def test_it_lists_exactly_the_routes_that_are_served(settings, document):
    prepare_limits(settings)
    gate = build_application(app, settings, secret=bytes(32))
    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    real = {
        (re.sub(r"{(\w+):str}", r"{\1}", route.path_format), method)
        for route in gate._routes.routes
        if isinstance(route, HTTPRoute) and route.path_format not in HIDDEN
        for method in route.methods
        if method != "OPTIONS"
    }
    real = {(path.replace(":str", ""), method) for path, method in real}
    assert described == real


def references(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_every_reference_leads_somewhere(document):
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


async def test_every_collection_has_concrete_schemas(document):
    schemas = document["components"]["schemas"]
    payloads = schemas["NewAirfieldRow"]["properties"]["fields"]["properties"]
    assert payloads["name"]["type"] == "string"
    assert payloads["tags"]["properties"]["add"]["items"] == {"type": "string"}
    values = schemas["AirfieldRow"]["properties"]["values"]["properties"]
    assert values["status"]["enum"] == ["unseen", "visited", "signed_off"]
    assert values["position"]["required"] == ["lat", "lon"]
    parameters = document["paths"]["/v1/rows/airfield"]["get"]["parameters"]
    assert {"status", "visits", "limit", "after"} <= {p["name"] for p in parameters}


async def test_operations_are_named_once_and_can_fail(document):
    operations = [
        item[method]
        for item in document["paths"].values()
        for method in item
        if method != "parameters"
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all("default" in operation["responses"] for operation in operations)


def test_every_field_type_has_a_shape():
    assert set(SHAPES) == set(FIELD_TYPES)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_shapes_are_plain_json(kind):
    field = SAMPLES[kind]()
    assert msgspec.json.decode(msgspec.json.encode(payload_schema(field))) is not None
    assert msgspec.json.decode(msgspec.json.encode(value_schema(field))) is not None


async def test_the_page_needs_nothing_from_elsewhere(served):
    for path in ("/docs", "/docs/page.js", "/docs/page.css"):
        answer = await served.client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"https?://|//cdn", answer.text)
    assert (
        "default-src 'self'"
        in (await served.client.get("/docs")).headers["content-security-policy"]
    )
