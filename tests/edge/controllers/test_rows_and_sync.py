"""Good requests: rows over REST, messages over HTTP, compression and media types."""

import gzip

import msgspec
import pytest
import zstandard

from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.welcome import Welcome
from tests.edge.controllers.test_bad_requests import check_problem

ROWS = "/v1/rows/airfield"
ROW = {"id": "a1", "space": "north", "fields": {"name": "Foula"}}


def push(media, count=3):
    encode_part = msgspec.json.encode if media is Media.JSON else msgspec.msgpack.encode
    changes = [WireChange(collection="airfield", id="a1", fields={"name": "x" * 40})]
    mutations = [
        msgspec.Raw(encode_part(WireMutation(counter=n, h=n, changes=changes)))
        for n in range(1, count + 1)
    ]
    return encode(Push(device=2, clock=1, schema_version=1, mutations=mutations), media)


@pytest.mark.parametrize("media", list(Media))
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
async def test_a_push_in_every_form(served, media, encoding):
    compress = {
        "identity": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }
    answer = await served.client.post(
        "/v1/sync/push",
        content=compress[encoding](push(media)),
        headers={**served.bearer(), "content-type": media, "content-encoding": encoding},
    )
    assert answer.headers["content-type"].startswith(media)
    assert isinstance(decode_server(answer.content, media), Pushed)
    assert [mutation.counter for mutation in served.node.main.pushes[0]] == [1, 2, 3]


async def test_accept_chooses_the_media_of_the_answer(served):
    hello = Hello(
        protocol=1,
        app="survey",
        schema_version=1,
        fingerprint="f",
        installation="i1",
        clock=1,
    )
    headers = {**served.bearer(), "content-type": Media.MSGPACK, "accept": "application/json"}
    answer = await served.client.post(
        "/v1/sync/hello", content=encode(hello, Media.MSGPACK), headers=headers
    )
    assert isinstance(decode_server(answer.content, Media.JSON), Welcome)


async def test_a_pull_is_answered_with_a_page(served):
    answer = await served.client.post(
        "/v1/sync/pull",
        content=encode(Pull(device=2, schema_version=1), Media.MSGPACK),
        headers={**served.bearer(), "content-type": Media.MSGPACK},
    )
    assert isinstance(decode_server(answer.content), Page)


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [("gzip", "gzip"), ("gzip, zstd", "zstd"), ("zstd;q=0, gzip", "gzip"), ("identity", None)],
)
async def test_large_answers_are_compressed_as_asked(served, accepted, sent):
    headers = {"accept-encoding": accepted}
    answer = await served.client.get("/openapi.json", headers=headers)
    assert answer.headers.get("content-encoding") == sent


async def test_a_row_from_insert_to_restore(served):
    headers = served.bearer()
    made = await served.client.post(ROWS, json=ROW, headers=headers)
    assert (made.status_code, made.json()["row"]["values"]) == (201, {"name": "Foula"})
    read = await served.client.get(f"{ROWS}/a1", headers=headers)
    assert read.headers["etag"] == '"1"'
    edit = {"fields": {"name": "Fair Isle"}}
    edited = await served.client.patch(f"{ROWS}/a1", json=edit, headers=headers)
    assert edited.json()["row"]["values"]["name"] == "Fair Isle"
    gone = await served.client.delete(f"{ROWS}/a1", headers=headers)
    assert gone.json()["row"]["alive"] is False
    back = await served.client.post(f"{ROWS}/a1/restore", headers=headers)
    assert back.json()["row"]["alive"] is True


async def test_if_match_guards_an_edit(served):
    headers = served.bearer()
    await served.client.post(ROWS, json=ROW, headers=headers)
    edit = {"fields": {"name": "x"}}
    for tag in ('"1"', "1", 'W/"1"', "*"):
        served.node.main.table["airfield"]["a1"].sequence = 1
        guarded = {**headers, "if-match": tag}
        answer = await served.client.patch(f"{ROWS}/a1", json=edit, headers=guarded)
        assert answer.status_code == 200
    guarded = {**headers, "if-match": '"1"'}
    answer = await served.client.patch(f"{ROWS}/a1", json=edit, headers=guarded)
    check_problem(answer, 412, "out-of-turn")
    guarded = {**headers, "if-match": "nonsense"}
    answer = await served.client.delete(f"{ROWS}/a1", headers=guarded)
    check_problem(answer, 400, "malformed")


@pytest.mark.parametrize(
    ("outcome", "code", "status", "fault"),
    [
        ("rejected", "not-visited", 422, "forbidden"),
        ("rejected", "forbidden", 403, "forbidden"),
        ("rejected", "row-missing", 404, "not-found"),
        ("quarantined", "wrong-type", 422, "malformed"),
    ],
)
async def test_a_write_that_is_not_taken_is_a_problem(served, outcome, code, status, fault):
    served.node.main.receipt = Receipt(
        counter=1, outcome=outcome, sequence=0, code=code, message="No.", fields=["name"]
    )
    answer = await served.client.post(ROWS, json=ROW, headers=served.bearer())
    check_problem(answer, status, fault)
    assert (answer.json()["code"], answer.json()["fields"]) == (code, ["name"])


async def test_an_accepted_write_is_not_final(served):
    served.node.main.receipt = Receipt(counter=1, outcome="accepted", sequence=0)
    answer = await served.client.post(ROWS, json=ROW, headers=served.bearer())
    assert (answer.status_code, answer.json()["row"]) == (202, None)


async def test_a_query_is_read_with_its_types(served):
    query = "status=visited&visits.ge=2&length.lt=1.5&lit=true&name.in=a,b&sort=-visits,name"
    query += "&limit=50&space=north&after=abc&tags.contains=grass"
    answer = await served.client.get(f"{ROWS}?{query}", headers=served.bearer())
    assert answer.status_code == 200
    asked = served.node.main.query
    assert (asked.space, asked.limit, asked.after) == ("north", 50, "abc")
    assert [f.value for f in asked.where] == ["visited", 2, 1.5, True, ["a", "b"], "grass"]
    assert list(asked.sort) == [("visits", True), ("name", False)]


async def test_lists_are_answered(served):
    for path in ("/v1/receipts?device=2", "/v1/conflicts?collection=airfield&row=a1", "/v1/spaces"):
        assert (await served.client.get(path, headers=served.bearer())).status_code == 200


async def test_an_administrator_changes_members(served):
    headers = served.bearer(is_admin=True)
    member = "/v1/spaces/north/members/ben"
    answer = await served.client.put(
        member, json={"role": "reader", "kind": "region"}, headers=headers
    )
    assert answer.status_code == 200
    answer = await served.client.put(
        member, json={"role": "king", "kind": "region"}, headers=headers
    )
    check_problem(answer, 400, "malformed")
    assert (await served.client.delete(member, headers=headers)).status_code == 204
