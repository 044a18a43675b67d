"""Paths around the gate, and fields on the side of honest bodies."""

import itertools
import json

import msgspec
import pytest

from edge.dto.identity_operations import IDENTITY_OPERATIONS
from tests.security.attacked import attacked_node
from tests.security.phones import bearer


@pytest.fixture
async def node(tmp_path):
    async with attacked_node(tmp_path) as running:
        yield running


# --- paths around the gate ------------------------------------------------------------------------

TRICKS = (
    "/health/live/../../v1/me",
    "/health/live/%2e%2e/%2e%2e/v1/me",
    "/health/live%2f..%2f..%2fv1%2fme",
    "/health/live/",
    "/health/live;/v1/me",
    "/health/live%00",
    "/health/live%00/v1/me",
    "//v1/auth/refresh",
    "//v1/me",
    "/v1//me",
    "/v1/me/",
    "/./v1/me",
    "/v1/./me",
    "/v1/auth/refresh/",
    "/v1/auth/refresh//",
    "/v1/auth/refresh/../../me",
    "/v1/auth/refresh%2f..%2fme",
    "/v1/auth/refresh/..%2f..%2fme",
    "/v1/auth/refresh%252f..%252fme",
    "/v1/auth/refresh%3f/../me",
    "/v1/auth/refresh%23/../me",
    "/V1/AUTH/REFRESH",
    "/V1/AUTH/..",
    "/V1/ME",
    "/v1/auth/../me",
    "/v1/auth/..;/me",
    "/v1/auth\\..\\me",
    "/v1/auth%5c..%5cme",
    "/docs;/v1/me",
    "/docs/",
    "/docs/../v1/me",
    "/docs/page.js/../../v1/me",
    "/openapi.json/../v1/me",
    "/%6f/../v1/me",
    "/v1/%6de",
    "/v1/me%20",
    "/v1/me%0a",
    "/%ef%bc%8fv1/me",
    "/%c0%af%c0%ae/v1/me",
    "/.well-known/jwks.json/../../v1/me",
    "http://node/v1/me",
    "http://node/health/live/../../v1/me",
    "*",
    "",
)


async def test_no_path_leads_around_the_gate(node, monkeypatch):
    reached, routes = [], node.gate._routes

    async def spy(scope, receive, send):
        reached.append(scope["path"])
        await routes(scope, receive, send)

    monkeypatch.setattr(node.gate, "_routes", spy)
    for trick, method in itertools.product(TRICKS, ("GET", "POST", "DELETE", "HEAD", "PATCH")):
        status, body = await node.raw(method, trick)
        assert status == 401, (method, trick, status, body)
    assert reached == []


async def test_what_comes_after_the_path_does_not_change_it(node):
    for path in ("/v1/me?/health/live", "/v1/me?path=/v1/auth/refresh", "/v1/me?x=%23/docs"):
        assert (await node.raw("GET", path))[0] == 401
    assert (await node.raw("GET", "/health/live?/v1/me"))[0] == 200


async def test_no_header_rewrites_the_path_or_the_method(node):
    for name in (b"x-original-url", b"x-rewrite-url", b"x-forwarded-prefix", b"x-forwarded-path"):
        _, body = await node.raw("GET", "/health/live", headers=[(name, b"/v1/me")])
        assert b"person" not in body
    override = [(b"x-http-method-override", b"GET"), (b"x-method-override", b"GET")]
    assert (await node.raw("POST", "/v1/me", headers=override))[0] == 401


async def test_public_paths_answer_their_own_method_only(node):
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "NONE"):
        status, body = await node.raw(method, "/v1/auth/refresh")
        assert status in (204, 403, 404, 405), (method, status, body)


# --- fields on the side ---------------------------------------------------------------------------

SIDE_FIELDS = {
    "tenant_id": "other",
    "tenant": "other",
    "role": "admin",
    "scopes": ["admin"],
    "scope": "admin operator",
    "person": "somebody",
    "kind": "service",
    "is_admin": True,
    "state": "active",
}
WITH_BODY = [(described, described.body) for described in IDENTITY_OPERATIONS if described.body]


async def test_nobody_sets_a_field_on_the_side(node):
    phone = await node.phone().sign_in()
    operator = node.operator_token(is_admin=True, is_operator=True)
    for described, kind in WITH_BODY:
        token = phone.access if described.path.startswith("/v1/me") else operator
        path = described.path.format_map({"person": phone.person, "tenant": "main"})
        own = {field.name for field in msgspec.structs.fields(kind)}
        for name in sorted(set(SIDE_FIELDS) - own):
            body = json.dumps({name: SIDE_FIELDS[name]})
            headers = {**bearer(token), "content-type": "application/json"}
            answer = await node.client.request(
                described.method, path, content=body, headers=headers
            )
            assert answer.status_code == 400, (described.name, answer.text)
            assert f"unknown field `{name}`" in answer.text
    profile = (await phone.ask("GET", "/v1/me")).json()
    assert (profile["scopes"], profile["tenant"]) == ([], "main")


async def test_nobody_sets_a_field_inside_a_device_or_a_proof(node):
    phone = node.phone()
    for name, place in itertools.product(SIDE_FIELDS, ("device", "proof")):
        device = phone.device()
        (device if place == "device" else device["proof"])[name] = SIDE_FIELDS[name]
        answer = await phone.enter("anonymous", device=device)
        assert answer.status_code == 400, answer.text
        assert f"unknown field `{name}`" in answer.text
