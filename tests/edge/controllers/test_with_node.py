"""The whole node over its real databases: what the fakes of the other tests cannot show."""

import asyncio
import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import msgspec
import pytest

from edge.app import build_gate, build_node
from edge.observability import Metrics
from sync_protocol.codec import Media, decode_server, encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome
from sync_protocol.version import PROTOCOL_VERSION
from tests.edge.controllers.conftest import Served
from tests.edge.controllers.fakes import app
from tests.edge.controllers.test_bad_requests import check_problem

ROWS = "/v1/rows/airfield"


@pytest.fixture
async def served(settings):
    metrics = Metrics()
    node = build_node(app, settings, metrics)
    metrics.follow_sequences(node.sequences)
    gate: Any = build_gate(node, settings, metrics=metrics)
    await node.open()
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        served = Served(node, gate, settings, client)
        for person, role in (("ada", "surveyor"), ("ben", "reader")):
            answer = await client.put(
                f"/v1/spaces/north/members/{person}",
                json={"role": role},
                headers=served.bearer(is_admin=True),
            )
            assert answer.status_code == 200
        yield served
    await node.close()


async def ask(served, name, message, **claims):
    headers = {**served.bearer(**claims), "content-type": Media.MSGPACK}
    answer = await served.client.post(f"/v1/sync/{name}", content=encode(message), headers=headers)
    assert answer.status_code == 200, answer.text
    return decode_server(answer.content)


async def introduce(served, installation="phone-1"):
    hello = Hello(
        protocol=PROTOCOL_VERSION,
        app=app.name,
        schema_version=app.version,
        fingerprint=fingerprint(app),
        installation=installation,
        clock=0,
    )
    welcome = await ask(served, "hello", hello)
    assert isinstance(welcome, Welcome)
    return welcome


@pytest.mark.parametrize(
    "position",
    [[2**70, "r"], [-(2**63) - 1, "r"], ["a\x00", "r"], ["a", None], ["a", 5], ["a", "\ud800"]],
)
async def test_a_position_that_no_page_has_is_a_bad_request(served, position):
    after = urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")
    answer = await served.client.get(f"{ROWS}?sort=-name&after={after}", headers=served.bearer())
    check_problem(answer, 400, "malformed")


def mutation(counter, row, **fields):
    change = WireChange(collection="airfield", id=row, op="insert", space="north", fields=fields)
    encoded = msgspec.msgpack.encode(WireMutation(counter=counter, h=counter, changes=[change]))
    return msgspec.Raw(encoded)


async def test_what_a_device_pushes_is_read_over_rest_and_pulled(served):
    welcome = await introduce(served)
    mutations = [mutation(n, f"a{n}", name=f"Field {n}") for n in range(1, 4)]
    push = Push(device=welcome.device, clock=3, schema_version=1, mutations=mutations)
    pushed = await ask(served, "push", push)
    assert isinstance(pushed, Pushed)
    assert pushed.merged_through == 3
    listed = await served.client.get(f"{ROWS}?sort=-name&limit=2", headers=served.bearer())
    assert [row["id"] for row in listed.json()["rows"]] == ["a3", "a2"]
    following = await served.client.get(
        f"{ROWS}?sort=-name&limit=2&after={listed.json()['next']}", headers=served.bearer()
    )
    assert [row["id"] for row in following.json()["rows"]] == ["a1"]
    page = await ask(served, "pull", Pull(device=welcome.device, schema_version=1))
    assert isinstance(page, Page)
    assert page.checkpoint is not None
    receipts = await served.client.get(
        f"/v1/receipts?device={welcome.device}", headers=served.bearer()
    )
    assert [receipt["outcome"] for receipt in receipts.json()["receipts"]] == ["merged"] * 3


async def test_a_malformed_mutation_does_not_stop_the_others(served):
    welcome = await introduce(served)
    bad = msgspec.Raw(msgspec.msgpack.encode({"counter": 1, "nonsense": True}))
    push = Push(
        device=welcome.device,
        clock=3,
        schema_version=1,
        mutations=[bad, mutation(2, "a2", name="x")],
    )
    pushed = await ask(served, "push", push)
    assert isinstance(pushed, Pushed)
    assert pushed.receipts[0].outcome == "quarantined"
    assert (await served.client.get(f"{ROWS}/a2", headers=served.bearer())).status_code == 200


async def test_a_gap_says_how_far_the_server_is(served):
    welcome = await introduce(served)
    push = Push(
        device=welcome.device, clock=3, schema_version=1, mutations=[mutation(5, "a5", name="x")]
    )
    headers = {**served.bearer(), "content-type": Media.MSGPACK}
    answer = await served.client.post("/v1/sync/push", content=encode(push), headers=headers)
    check_problem(answer, 409, "counter-gap")
    assert answer.json()["merged_through"] == 0


async def test_roles_and_strangers(served):
    row = {"space": "north", "id": "a1", "fields": {"name": "Foula"}}
    ada, ben, eve = (served.bearer(person=person) for person in ("ada", "ben", "eve"))
    check_problem(await served.client.post(ROWS, json=row, headers=ben), 403, "forbidden")
    check_problem(await served.client.post(ROWS, json=row, headers=eve), 404, "not-found")
    assert (await served.client.post(ROWS, json=row, headers=ada)).status_code == 201
    assert (await served.client.get(f"{ROWS}/a1", headers=ben)).status_code == 200
    check_problem(await served.client.get(f"{ROWS}/a1", headers=eve), 404, "not-found")
    assert (await served.client.get(ROWS, headers=eve)).json()["rows"] == []
    mine = await served.client.get("/v1/spaces", headers=ben)
    assert mine.json() == {"spaces": [{"space": "north", "kind": "region", "role": "reader"}]}


async def test_a_payload_of_the_wrong_type_is_named(served):
    row = {"space": "north", "fields": {"name": 7}}
    answer = await served.client.post(ROWS, json=row, headers=served.bearer())
    check_problem(answer, 422, "malformed")
    assert answer.json()["code"] == "wrong-type"


@pytest.mark.parametrize(
    "query", ["sort=tags", "tags=x", "status=nonsense", "status.ge=visited", "after=e30", "id=x"]
)
async def test_no_query_fails_unforeseen(served, query):
    answer = await served.client.get(f"{ROWS}?{query}", headers=served.bearer())
    assert answer.status_code in (200, 400), answer.text


async def test_many_devices_push_at_once(served):
    welcomes = await asyncio.gather(*(introduce(served, f"phone-{n}") for n in range(10)))
    pushes = [
        Push(
            device=welcome.device,
            clock=1_000,
            schema_version=1,
            mutations=[mutation(n, f"d{welcome.device}-{n}", name="x") for n in range(1, 101)],
        )
        for welcome in welcomes
    ]
    answers = await asyncio.gather(*(ask(served, "push", push) for push in pushes))
    assert all(isinstance(a, Pushed) and a.merged_through == 100 for a in answers)
    metrics = (await served.client.get("/metrics")).text
    assert 'skerry_sequence{tenant="main"} 1002.0' in metrics
