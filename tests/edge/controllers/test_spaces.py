"""Spaces, members and invitations over HTTP, on a whole node."""

from typing import Any

import httpx
import pytest

from core import Access, App, Collection, Lww
from edge.app import build_gate, build_node
from edge.observability import Metrics
from tests.edge.controllers.conftest import Served
from tests.edge.controllers.test_bad_requests import check_problem

ROLES = ("guest", "owner")
app = App(
    "club",
    version=1,
    spaces={"team": ROLES, "desk": ("clerk",)},
    founders={"team": "owner"},
    managers={"team": ("owner",)},
)


class Note(Collection, space="team"):
    """Something to share."""

    text = Lww(str)
    access = Access(read=ROLES, insert=ROLES)


app.add(Note)


@pytest.fixture
async def served(settings):
    node = build_node(app, settings, Metrics())
    gate: Any = build_gate(node, settings)
    await node.open()
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield Served(node, gate, settings, client)
    await node.close()


async def ask(served, method, path, body=None, **claims):
    return await served.client.request(method, path, json=body, headers=served.bearer(**claims))


async def founded(served, **claims):
    answer = await ask(served, "POST", "/v1/spaces", {"kind": "team"}, **claims)
    assert answer.status_code == 201, answer.text
    return answer.json()["space"]


async def invited(served, space, body=None, **claims):
    path = f"/v1/spaces/{space}/invitations"
    answer = await ask(served, "POST", path, body or {"role": "guest"}, **claims)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_from_a_new_space_to_a_member_who_leaves(served):
    space = await founded(served)
    invitation = await invited(served, space)
    assert set(invitation) == {"id", "code", "expires_ms"}
    accepted = await ask(
        served, "POST", "/v1/invitations/accept", {"code": invitation["code"]}, person="ben"
    )
    assert accepted.json() == {"space": space, "kind": "team", "role": "guest"}
    mine = await ask(served, "GET", "/v1/spaces", person="ben")
    assert mine.json()["spaces"] == [accepted.json()]
    members = await ask(served, "GET", f"/v1/spaces/{space}/members", person="ben")
    assert members.json()["members"] == [
        {"person": "ada", "role": "owner"},
        {"person": "ben", "role": "guest"},
    ]
    left = await ask(served, "DELETE", f"/v1/spaces/{space}/members/ben", person="ben")
    assert left.status_code == 204
    again = await ask(served, "GET", f"/v1/spaces/{space}/members", person="ben")
    check_problem(again, 404, "not-found")


async def test_listed_invitations_hold_no_code_and_can_be_revoked(served):
    space = await founded(served)
    wanted = {"role": "owner", "email": "ben@example.org", "uses": 3, "ttl_s": 60}
    invitation = await invited(served, space, wanted)
    path = f"/v1/spaces/{space}/invitations"
    listed = (await ask(served, "GET", path)).json()["invitations"]
    assert [(one["id"], one["email"], one["uses"]) for one in listed] == [
        (invitation["id"], "ben@example.org", 3)
    ]
    assert invitation["code"] not in str(listed)
    check_problem(await ask(served, "GET", path, person="eve"), 404, "not-found")
    revoke = f"{path}/{invitation['id']}"
    check_problem(await ask(served, "DELETE", revoke, person="eve"), 404, "not-found")
    assert (await ask(served, "DELETE", revoke)).status_code == 204
    check_problem(await ask(served, "DELETE", revoke), 404, "not-found")
    body = {"code": invitation["code"]}
    answer = await ask(served, "POST", "/v1/invitations/accept", body, person="ben")
    check_problem(answer, 400, "invalid-grant")


async def test_the_last_manager_is_told_why_it_stays(served):
    space = await founded(served)
    member = f"/v1/spaces/{space}/members/ada"
    for answer in (
        await ask(served, "DELETE", member),
        await ask(served, "PUT", member, {"role": "guest"}),
    ):
        check_problem(answer, 403, "forbidden")
        assert answer.json()["code"] == "last-manager"
    assert (await ask(served, "DELETE", member, is_admin=True)).status_code == 204


async def test_people_without_the_admin_scope_make_what_the_app_lets_them(served):
    check_problem(await ask(served, "POST", "/v1/spaces", {"kind": "desk"}), 403, "forbidden")
    named = {"kind": "team", "space": "mine"}
    check_problem(await ask(served, "POST", "/v1/spaces", named), 403, "forbidden")
    made = await ask(served, "POST", "/v1/spaces", named, is_admin=True)
    assert made.json() == {"space": "mine", "kind": "team", "role": "owner"}
    taken = await ask(served, "POST", "/v1/spaces", named, is_admin=True)
    check_problem(taken, 409, "conflict")
    desk = await ask(served, "POST", "/v1/spaces", {"kind": "desk"}, is_admin=True)
    assert desk.json()["role"] is None


async def test_a_put_makes_a_space_for_administrators_only(served):
    path, body = "/v1/spaces/new/members/ada", {"role": "owner", "kind": "team"}
    check_problem(await ask(served, "PUT", path, body), 404, "not-found")
    assert (await ask(served, "PUT", path, body, is_admin=True)).status_code == 200
    answer = await ask(served, "PUT", "/v1/spaces/new/members/ben", {"role": "guest"})
    assert answer.json() == {"person": "ben", "role": "guest"}


@pytest.mark.parametrize("smuggled", ["tenant", "person", "inviter", "is_admin", "used"])
async def test_fields_that_nobody_asked_for_are_refused(served, smuggled):
    space = await founded(served)
    for method, path, body in (
        ("POST", "/v1/spaces", {"kind": "team"}),
        ("PUT", f"/v1/spaces/{space}/members/ben", {"role": "guest"}),
        ("POST", f"/v1/spaces/{space}/invitations", {"role": "guest"}),
        ("POST", "/v1/invitations/accept", {"code": "ski_"}),
    ):
        answer = await ask(served, method, path, {**body, smuggled: "eve"})
        check_problem(answer, 400, "malformed")
    assert len((await ask(served, "GET", "/v1/spaces")).json()["spaces"]) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/spaces", {"kind": 5}),
        ("/v1/spaces", {}),
        ("/v1/spaces", []),
        ("/v1/spaces", {"kind": "castle"}),
        ("/v1/spaces/{space}/invitations", {"role": "king"}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "uses": 0}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "uses": True}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "uses": 1e300}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "ttl_s": 2_592_001}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "email": ""}),
        ("/v1/spaces/{space}/invitations", {"role": "guest", "email": "x" * 255}),
        ("/v1/invitations/accept", {"code": None}),
        ("/v1/invitations/accept", {"code": "x" * 201}),
    ],
)
async def test_malformed_bodies_are_told_so(served, path, body):
    space = await founded(served)
    check_problem(await ask(served, "POST", path.format(space=space), body), 400, "malformed")


@pytest.mark.parametrize("code", ["x", "ski_" + "A" * 32, "ski_\u0000", "ski_ü", "\U0001f600"])
async def test_wrong_codes_get_one_answer(served, code):
    answer = await ask(served, "POST", "/v1/invitations/accept", {"code": code})
    check_problem(answer, 400, "invalid-grant")
    assert answer.json()["detail"] == "This invitation is not valid, or not valid any more."


async def test_texts_that_are_no_unicode_are_malformed(served):
    headers = {**served.bearer(), "content-type": "application/json"}
    space = await founded(served)
    for path, content in (
        ("/v1/invitations/accept", b'{"code": "\\ud800x"}'),
        (f"/v1/spaces/{space}/invitations", b'{"role": "guest", "email": "\\ud800xxxxxxxx"}'),
    ):
        answer = await served.client.post(path, content=content, headers=headers)
        assert answer.status_code == 400


async def test_one_tenants_codes_and_spaces_mean_nothing_in_another(served):
    await served.node.create_tenant("other")
    space = await founded(served)
    invitation = await invited(served, space)
    body = {"code": invitation["code"]}
    answer = await ask(served, "POST", "/v1/invitations/accept", body, tenant="other", person="ben")
    check_problem(answer, 400, "invalid-grant")
    members = await ask(served, "GET", f"/v1/spaces/{space}/members", tenant="other")
    check_problem(members, 404, "not-found")


async def test_route_names_are_the_documents_operations(served):
    document = (await ask(served, "GET", "/openapi.json")).json()
    described = {
        operation["operationId"]
        for path, item in document["paths"].items()
        if path.startswith(("/v1/spaces", "/v1/invitations"))
        for method, operation in item.items()
        if method != "parameters"
    }
    assert described == {
        "spaces.mine", "spaces.create", "members.list", "members.set", "members.remove",
        "invitations.create", "invitations.list", "invitations.revoke", "invitations.accept",
    }  # fmt: skip
    served_names = set()
    for route in served.gate._routes.routes:
        for handler in getattr(route, "route_handlers", ()):
            served_names.add(handler.name)
    assert described <= served_names
