"""Who may call what: every operation of the document, with every kind of token and of id.

What is expected comes from the table of policies; the requests come from tests.security.samples.
"""

import itertools
import json
import re
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.dto.identity_operations import IDENTITY_POLICIES
from edge.dto.policies import FRESH_S, Policy, all_policies
from tests.security.samples import SAMPLES, missing
from tests.security.world import World, app, hello_body

POLICIES = all_policies(app.collections, IDENTITY_POLICIES)
UNDESCRIBED = {"openapi", "docs", "docs.script", "docs.style", "sync.stream"}
"""What the document leaves out: itself, its page, and the stream, which is no HTTP operation."""
BAD_TOKENS = (
    "none", "no token at all", "expired", "revoked session", "type JWT", "ID token",
    "refresh token", "service token", "wrong audience", "many audiences", "another key",
    "no signature", "too long-lived", "not yet made", "scope but no key",
)  # fmt: skip
ADMINISTRATIVE = {Policy.ADMIN, Policy.ADMIN_FRESH, Policy.OPERATOR}
FRESH = {Policy.FRESH, Policy.ADMIN_FRESH}
MOVING = frozenset(
    {
        "instance",
        "counter",
        "sequence",
        "merged",
        "merged_through",
        "replicated",
        "clock",
        "h",
        "skew",
    }
)
"""Members of an answer that count requests and commits, or tell the time, whatever was asked."""
OPERATIONS = sorted(SAMPLES)


def of_policies(*policies):
    return [name for name in OPERATIONS if POLICIES[name] in policies]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def routes(world):
    """Method and path of every operation in the document."""
    document = world.good("GET", "/openapi.json")
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


@pytest.fixture(scope="module")
def bad_tokens(world):
    gone = world.sign_in("main", "signed out")
    world.good("POST", "/v1/me/sign-out", token=gone.token)
    ada, now, crafted = world.ada, int(time.time()), world.crafted
    header, payload, _ = ada.token.split(".")
    made = {
        "none": None,
        "no token at all": "nonsense",
        "expired": crafted(ada, iat=now - 700, exp=now - 1),
        "revoked session": gone.token,
        "type JWT": crafted(ada, typ="JWT"),
        "ID token": crafted(
            ada, typ="JWT", iss="https://accounts.example.org", aud="client", nonce="n"
        ),
        "refresh token": ada.refresh,
        "service token": ada.ids["service_secret"],
        "wrong audience": crafted(ada, aud="another"),
        "many audiences": crafted(ada, aud=["skerry", "another"]),
        "another key": crafted(ada, key=Ed25519PrivateKey.generate()),
        "no signature": f"{header}.{payload}.",
        "too long-lived": crafted(ada, exp=now + 10**8),
        "not yet made": crafted(ada, iat=now + 3_600, exp=now + 4_000),
        "scope but no key": crafted(ada, key=Ed25519PrivateKey.generate(), scope="admin operator"),
    }
    assert set(made) == set(BAD_TOKENS)
    return made


def ask(world, routes, name, *, token, ids):
    method, path = routes[name]
    path, arguments = SAMPLES[name].request(path, ids)
    return world.ask(method, path, token=token, **arguments)


def assert_problem(answer, status, fault):
    assert answer.status_code == status, answer.text
    assert answer.json()["fault"] == fault
    assert answer.headers["content-type"] == "application/problem+json"


# --- the table is whole ----------------------------------------------------------------------


def test_every_operation_of_the_document_has_a_sample(routes):
    assert set(routes) - set(SAMPLES) == set()


def test_every_sample_is_an_operation_of_the_document(routes):
    assert set(SAMPLES) - set(routes) == set()


def test_the_policies_are_about_the_same_operations(routes):
    assert set(POLICIES) - UNDESCRIBED == set(routes)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_id_in_a_path_is_tried_with_somebody_elses(name, routes):
    if POLICIES[name] is not Policy.OPERATOR:  # operators have nobody else: all is theirs
        assert set(re.findall(r"{(\w+)}", routes[name][1])) <= set(SAMPLES[name].uses)


# --- tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", of_policies(*set(Policy) - {Policy.PUBLIC}))
def test_no_bad_token_gets_in(world, routes, bad_tokens, name):
    for token in bad_tokens.values():
        assert_problem(
            ask(world, routes, name, token=token, ids=world.ada.ids), 401, "unauthenticated"
        )


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_no_bad_token_opens_a_stream(world, bad_tokens, kind):
    status, (_, body) = world.stream(bad_tokens[kind], json.dumps(hello_body("of-nobody")))
    assert status == 401
    assert json.loads(body)["fault"] == "unauthenticated"


@pytest.mark.parametrize("name", of_policies(Policy.PUBLIC))
def test_public_operations_do_not_look_at_tokens(world, routes, bad_tokens, name):
    tokens = [*bad_tokens.values(), world.ada.token, world.zoe.token, world.operator]
    # Nothing is mailed or registered for an address that is ada's, so every answer is the same.
    answers = [ask(world, routes, name, token=token, ids=world.ada.ids) for token in tokens]
    assert len({answer.status_code for answer in answers}) == 1
    assert answers[0].status_code not in {401, 403}
    assert answers[0].status_code < 500 or answers[0].status_code == 503


# --- roles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", of_policies(*ADMINISTRATIVE))
def test_people_administer_nothing(world, routes, name):
    for token in (world.ada.token, world.minted("main", world.ada.ids["person"])):
        assert_problem(ask(world, routes, name, token=token, ids=world.ada.ids), 403, "forbidden")


@pytest.mark.parametrize("name", of_policies(Policy.OPERATOR))
def test_administrators_operate_nothing(world, routes, name):
    for token in (world.admin.token, world.admin_b.token, world.root_a):
        assert_problem(ask(world, routes, name, token=token, ids=world.ada.ids), 403, "forbidden")


@pytest.mark.parametrize("name", of_policies(*FRESH))
def test_an_old_proof_asks_for_a_new_one(world, routes, name):
    proved = int(time.time()) - FRESH_S - 5
    claims = {"sid": world.ada.ids["session"], "auth_time": proved, "amr": ["password"]}
    token = world.crafted(world.ada, scope="admin", **claims)
    assert_problem(ask(world, routes, name, token=token, ids=world.ada.ids), 403, "step-up-needed")


@pytest.mark.parametrize("name", of_policies(*set(Policy) - {Policy.PUBLIC, Policy.OPERATOR}))
def test_a_tenant_that_is_not_served_gets_nothing(world, routes, name):
    token = world.minted("nowhere", "ada", is_admin=True)
    answer = ask(world, routes, name, token=token, ids=world.ada.ids)
    assert_problem(answer, 404, "unknown-tenant")


# --- ids -------------------------------------------------------------------------------------


def plain(answer, ids):
    """Return an answer without its ids and without what moves by itself."""
    text = answer.text
    for value in sorted({str(value) for value in ids}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w:-]){re.escape(value)}(?![\w:-])", "<id>", text)
    body = json.loads(text) if text else None

    def clean(value):
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in MOVING}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return answer.status_code, clean(body)


def combinations(uses):
    """Return every choice of the ids that are somebody else's."""
    sizes = range(1, len(uses) + 1)
    return [set(choice) for size in sizes for choice in itertools.combinations(uses, size)]


def callers(world, name):
    """Return who asks with whose ids: of the same tenant, and of the other, both ways."""
    if POLICIES[name] in ADMINISTRATIVE:
        return [(world.admin, world.zoe), (world.admin_b, world.ada)]
    people = [(world.ada, world.ben), (world.ada, world.zoe), (world.zoe, world.ada)]
    strangers = [(world.stranger, world.ada), (world.stranger, world.zoe)]
    return [*people, *strangers, (world.admin, world.zoe), (world.admin_b, world.ada)]


NAMING = [name for name in OPERATIONS if SAMPLES[name].uses]


@pytest.fixture
def untouched(request, world, tmp_path):
    """The world of the module, but a new one for what administrators make by naming it."""
    if request.getfixturevalue("name") not in {"members.set", "sync.push"}:
        yield world
        return
    with World(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", NAMING)
def test_what_is_somebody_elses_is_answered_as_what_is_not_there(untouched, routes, name):
    sample, world = SAMPLES[name], untouched
    for caller, other in callers(world, name):
        is_other_tenant = caller.tenant != other.tenant
        uses = [key for key in sample.uses if is_other_tenant or key not in sample.bearer]
        for foreign in combinations(uses):
            answers = [
                probe(world, routes, name, caller, {key: source[key] for key in foreign})
                for source in (other.ids, missing())
            ]
            assert answers[0] == answers[1], (caller.ids, other.ids, foreign)


def probe(world, routes, name, caller, wanted):
    """Ask with somebody's token and ids, but for the `wanted` ones; return a plain answer."""
    own = {**missing(), "clock": world.ada.ids["clock"], **caller.ids}
    if name == "sync.push" and "device" not in wanted:  # counters of a device begin anew
        own["device"] = world.hello(caller)["device"]
    answer = ask(world, routes, name, token=caller.token, ids={**own, **wanted})
    return plain(answer, [*wanted.values(), own["device"]])


def test_a_stream_takes_no_foreign_device(world):
    hello = json.dumps(hello_body("streams-own"))
    told = []
    for device in (world.zoe.ids["device"], world.ben.ids["device"], missing()["device"]):
        pull = json.dumps({"kind": "pull", "device": device, "schema_version": 1})
        _, texts = world.stream(world.ada.token, hello, pull)
        told.append(texts[2:])
    assert '"kind":"fault"' in told[0][0]
    assert told[0] == told[1] == told[2]
