"""Bad input, one line each: what is sent, and the status and fault it is answered with."""

import gzip

import msgspec
import pytest
import zstandard

from edge.errors import CounterGap, Overloaded, StorageFull
from edge.problems import KINDS
from sync_protocol import limits
from sync_protocol.faults import FaultKind

JSON = "application/json"
MSGPACK = "application/msgpack"
ROWS = "/v1/rows/airfield"
DEEP = b"[" * 100_000
PULL = msgspec.json.encode({"kind": "pull", "device": 2, "schema_version": 1})
LARGE = b" " * (limits.MESSAGE_BYTES_MAX + 1)
ZSTD = zstandard.ZstdCompressor().compress(PULL)
BOMB_ZSTD = zstandard.ZstdCompressor().compress(LARGE * 8)
BOMB_GZIP = gzip.compress(LARGE * 8)

BODIES = [
    ("push", JSON, None, DEEP, 400, "malformed"),
    ("push", MSGPACK, None, b"\x91" * 100_000, 400, "malformed"),
    ("push", JSON, None, b"", 400, "malformed"),
    ("push", JSON, None, b'{"kind": "\xff"}', 400, "malformed"),
    ("push", JSON, None, b'{"kind":"nonsense"}', 400, "unknown-message"),
    ("push", JSON, None, b'{"kind":"welcome"}', 400, "unknown-message"),
    ("push", JSON, None, PULL, 400, "malformed"),
    ("pull", "text/plain", None, PULL, 415, "unsupported-media"),
    ("pull", None, None, PULL, 400, "malformed"),
    ("pull", "application/json; charset=utf-16", None, PULL, 415, "unsupported-media"),
    ("pull", JSON, "br", PULL, 415, "unsupported-media"),
    ("pull", JSON, "gzip, gzip", PULL, 415, "unsupported-media"),
    ("pull", JSON, "gzip", PULL, 400, "malformed"),
    ("pull", JSON, "gzip", gzip.compress(PULL)[:-9], 400, "malformed"),
    ("pull", JSON, "gzip", gzip.compress(PULL) + b"x", 400, "malformed"),
    ("pull", JSON, "zstd", ZSTD[:-4], 400, "malformed"),
    ("pull", JSON, "zstd", b"x", 400, "malformed"),
    ("pull", JSON, "zstd", BOMB_ZSTD, 413, "too-large"),
    ("pull", JSON, "gzip", BOMB_GZIP, 413, "too-large"),
    ("pull", JSON, None, LARGE, 413, "too-large"),
    ("pull", JSON, None, PULL.replace(b"2", b"3"), 409, "unknown-device"),
    ("pull", JSON, None, PULL.replace(b"2", b"1e400"), 400, "malformed"),
    ("pull", JSON, None, PULL.replace(b"2", b"99999999999999999999"), 400, "malformed"),
    ("pull", JSON, None, PULL[:-1] + b',"surprise":1}', 400, "malformed"),
]


@pytest.mark.parametrize("case", BODIES)
async def test_a_bad_sync_body_is_a_problem(served, case):
    name, media, encoding, body, status, fault = case
    headers = served.bearer()
    if media is not None:
        headers["content-type"] = media
    if encoding is not None:
        headers["content-encoding"] = encoding
    answer = await served.client.post(f"/v1/sync/{name}", content=body, headers=headers)
    check_problem(answer, status, fault)


async def test_a_sync_body_without_a_type_is_message_pack(served):
    pull = msgspec.msgpack.encode({"kind": "pull", "device": 2, "schema_version": 1})
    answer = await served.client.post("/v1/sync/pull", content=pull, headers=served.bearer())
    assert (answer.status_code, answer.headers["content-type"]) == (200, MSGPACK)


ROW_BODIES = [
    (JSON, DEEP, 400, "malformed"),
    (JSON, b'{"space": "\xff"}', 400, "malformed"),
    (JSON, b"null", 400, "malformed"),
    (JSON, b"{}", 400, "malformed"),
    (JSON, b'{"space": "north", "surprise": 1}', 400, "malformed"),
    (JSON, b'{"space": "north", "id": ""}', 400, "malformed"),
    (JSON, b'{"space": "north", "id": "../etc"}', 404, "not-found"),
    ("text/plain", b'{"space": "north"}', 415, "unsupported-media"),
    (MSGPACK, b"\x80", 415, "unsupported-media"),
    (JSON, b" " * 300_000, 413, "too-large"),
]


@pytest.mark.parametrize(("media", "body", "status", "fault"), ROW_BODIES)
async def test_a_bad_row_body_is_a_problem(served, media, body, status, fault):
    headers = {**served.bearer(), "content-type": media}
    check_problem(await served.client.post(ROWS, content=body, headers=headers), status, fault)


QUERIES = [
    "limit=-1",
    "limit=0",
    "limit=1000000000",
    "limit=ten",
    "limit=%EF%BC%91",
    "limit=1&limit=2",
    "nonsense=1",
    "name.like=x",
    "position=1",
    "visits=many",
    "visits.ge=1.5",
    "length=1e999",
    "length=nan",
    "lit=yes",
    "name=%ff",
    "name=a%00b",
    "sort=nonsense",
    "sort=name,-name",
    "sort=" + ",".join(["name"] * 6),
    "space=../x",
    "after=",
    "name.in=" + ",".join("x" * 101),
    "name=" + "x" * 5_000,
    "&".join(f"a{n}=1" for n in range(101)),
]


@pytest.mark.parametrize("query", QUERIES)
async def test_a_bad_query_is_a_problem(served, query):
    answer = await served.client.get(f"{ROWS}?{query}", headers=served.bearer())
    check_problem(answer, 400, "malformed")


ADDRESSES = [
    ("GET", "/nowhere", 404, "not-found"),
    ("GET", "/v1/rows/nonsense", 404, "not-found"),
    ("GET", f"{ROWS}/missing", 404, "not-found"),
    ("GET", f"{ROWS}/bad%20id", 404, "not-found"),
    ("GET", f"{ROWS}/x?a=1", 400, "malformed"),
    ("PUT", ROWS, 405, "not-found"),
    ("GET", "/v1/sync/push", 405, "not-found"),
    ("GET", "/v1/receipts", 400, "malformed"),
    ("GET", "/v1/receipts?device=0", 400, "malformed"),
    ("GET", "/v1/conflicts?row=x", 400, "malformed"),
    ("GET", "/v1/conflicts?collection=nonsense", 400, "malformed"),
    ("GET", "/v1/spaces/north/members", 404, "not-found"),
    ("DELETE", "/v1/spaces/north/members/ada", 404, "not-found"),
    ("GET", "/v1/spaces/north/invitations", 404, "not-found"),
    ("GET", "/v1/spaces/north/invitations?x=1", 400, "malformed"),
    ("DELETE", "/v1/spaces/north/invitations/-", 404, "not-found"),
]


@pytest.mark.parametrize(("method", "path", "status", "fault"), ADDRESSES)
async def test_a_bad_address_is_a_problem(served, method, path, status, fault):
    answer = await served.client.request(method, path, headers=served.bearer())
    check_problem(answer, status, fault)


async def test_a_chunked_body_is_cut_off_at_the_bound(served):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    headers = {**served.bearer(), "content-type": JSON}
    answer = await served.client.post("/v1/sync/pull", content=endless(), headers=headers)
    check_problem(answer, 413, "too-large")
    assert sent < 2 * limits.MESSAGE_BYTES_MAX


async def test_an_unforeseen_error_says_nothing_of_itself(served):
    served.node.main.failure = RuntimeError("the password is sesame")
    answer = await served.client.get(ROWS, headers=served.bearer())
    check_problem(answer, 500, "internal")
    assert "sesame" not in answer.text


async def test_faults_carry_their_hints(served):
    served.node.main.failure = StorageFull("The disk is full.")
    answer = await served.client.get(ROWS, headers=served.bearer())
    check_problem(answer, 507, "storage-full")
    assert answer.headers["retry-after"] == "30"
    assert answer.json()["retry_after_ms"] == 30_000
    served.node.main.failure = CounterGap("Missing.", merged_through=7, database="db")
    answer = await served.client.get(ROWS, headers=served.bearer())
    assert answer.json()["merged_through"] == 7


async def test_a_tenant_that_is_not_served_is_named_as_such(served):
    answer = await served.client.get(ROWS, headers=served.bearer(tenant="other"))
    check_problem(answer, 404, "unknown-tenant")


async def test_requests_beyond_the_bound_are_turned_away(served):
    served.gate._in_flight = served.settings.requests_in_flight_max
    check_problem(await served.client.get("/health/live"), 503, Overloaded.fault)
    assert served.gate._in_flight == served.settings.requests_in_flight_max


def test_every_fault_has_a_status_and_none_but_internal_is_500():
    assert set(KINDS) == set(FaultKind)
    assert [kind for kind, look in KINDS.items() if look.status == 500] == [FaultKind.INTERNAL]


def check_problem(answer, status, fault):
    assert (answer.status_code, answer.json()["fault"]) == (status, fault), answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:skerry:fault:{fault}"
    assert problem["status"] == status
    assert problem["instance"] == f"urn:skerry:request:{answer.headers['x-request-id']}"
    assert {"title", "detail", "retry_after_ms"} <= set(problem)
