"""The gate: public paths as whole strings, tokens everywhere else, origins, request ids."""

import pytest

from edge.controllers.gate import PUBLIC_PATHS
from edge.settings import Settings
from tests.edge.controllers.test_bad_requests import check_problem


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
async def test_public_paths_need_no_token(served, path):
    assert (await served.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/health/live/",
        "/health/live/x",
        "/health/live%2f",
        "//health/live",
        "/users/health/live",
        "/docs/../v1/spaces",
        "/docs/x",
        "/v1/spaces",
        "/v1/rows/airfield",
        "/v1/rows/health",
        "/nowhere",
    ],
)
async def test_everything_else_does(served, path):
    check_problem(await served.client.get(path), 401, "unauthenticated")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YWRhOnNlY3JldA==",
        "Basic {token}",
        "Token {token}",
        "{token}",
        "Bearer {token} {token}",
        "Bearer " + "x" * 100_000,
    ],
)
async def test_only_a_bearer_token_is_taken(served, value):
    headers = {"authorization": value.format(token=served.token())}
    answer = await served.client.get("/v1/spaces", headers=headers)
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_two_tokens_are_none(served):
    header = ("authorization", f"Bearer {served.token()}")
    answer = await served.client.get("/v1/spaces", headers=[header, header])
    check_problem(answer, 401, "unauthenticated")


async def test_a_token_in_the_query_string_is_not_seen(served):
    answer = await served.client.get(f"/v1/spaces?access_token={served.token()}")
    check_problem(answer, 401, "unauthenticated")


async def test_a_well_formed_request_id_is_kept_and_any_other_replaced(served):
    given = "trace-0123456789"
    answer = await served.client.get("/health/live", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    for bad in ("short", "x" * 100, "a b c d e f g h", "<script>alert(1)</script>"):
        answer = await served.client.get("/health/live", headers={"x-request-id": bad})
        assert len(answer.headers["x-request-id"]) == 16


async def test_an_allowed_page_may_call(served):
    origin = {"origin": "https://app.example.org"}
    preflight = {**origin, "access-control-request-method": "POST"}
    answer = await served.client.options("/v1/sync/push", headers=preflight)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    answer = await served.client.get("/v1/spaces", headers={**origin, **served.bearer()})
    assert answer.headers["access-control-allow-origin"] == origin["origin"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://app.example.org.evil.example", "null", ""]
)
async def test_any_other_page_may_not(served, origin):
    headers = {"origin": origin, "access-control-request-method": "POST"}
    answer = await served.client.options("/v1/sync/push", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = await served.client.get("/v1/spaces", headers={"origin": origin, **served.bearer()})
    assert "access-control-allow-origin" not in answer.headers


async def test_metrics_are_open_on_loopback(served):
    await served.client.get("/health/live")
    answer = await served.client.get("/metrics")
    assert 'skerry_requests_total{method="GET",route="/health/live",status="200"}' in answer.text


class TestOnAPublicAddress:
    @pytest.fixture
    def settings(self, tmp_path):
        return Settings(data=tmp_path, host="0.0.0.0")

    async def test_metrics_are_for_administrators(self, served):
        check_problem(await served.client.get("/metrics"), 401, "unauthenticated")
        answer = await served.client.get("/metrics", headers=served.bearer())
        check_problem(answer, 403, "forbidden")
        answer = await served.client.get("/metrics", headers=served.bearer(is_admin=True))
        assert answer.status_code == 200


async def test_readiness_tells_the_truth(served):
    served.node.is_ready = False
    check_problem(await served.client.get("/health/ready"), 503, "unavailable")
    assert (await served.client.get("/health/live")).status_code == 200


async def test_no_label_is_made_from_what_a_client_sends(served):
    await served.client.get("/v1/rows/airfield/secret-id", headers=served.bearer())
    await served.client.get("/nowhere/secret-id", headers=served.bearer())
    text = (await served.client.get("/metrics")).text
    assert "secret-id" not in text
    assert 'route="/v1/rows/airfield/{row_id}"' in text
