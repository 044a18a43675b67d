"""Nothing that tenant B keeps is ever told to tenant A: not in an answer, a header, a frame of a
stream, an archive, a line of the log or a metric.
"""

import io
import json
import logging
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from edge.services.node import Node
from edge.services.tokens import Tokens
from tests.security.samples import SAMPLES, missing
from tests.security.test_matrix import POLICIES, Policy
from tests.security.world import STEM, TENANT_B, World, hello_body

LAST = ("me.sign_out", "me.erase")
"""After these a caller is nobody any more."""


def canaries_of(world):
    """Return what tenant B keeps, by its kind."""
    ids = world.zoe.ids
    named = ("space", "row_id", "person", "session", "credential", "invitation", "installation")
    return {
        **{name: ids[name] for name in named},
        "e-mail": ids["email"],
        "service token": ids["token"],
        "audit subject": ids["service"],
        "row value": f"{STEM}-won",
        "multi-value": f"{STEM}-remark",
        "conflict value": f"{STEM}-lost",
        "person name": f"{STEM}-name",
        "device name": f"{STEM}-phone",
        "invited": f"{STEM}-invited@example.org",
        "service name": f"{STEM}-service",
        "anything": STEM,
    }


def texts_of(answer):
    """Return what an answer says: its headers, and its body or everything in its archive."""
    said = [str(answer.headers)]
    if answer.headers.get("content-type") == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            said += [archive.read(name).decode() for name in archive.namelist()]
    else:
        said.append(answer.content.decode())
    return "\n".join(said)


def order(routes):
    """Return the operations that end nothing first, then the ending ones, then LAST."""
    return sorted(routes, key=lambda n: (SAMPLES[n].is_ending, n in LAST, n == LAST[-1], n))


def is_asked(name):
    """Tell whether an operation is asked: operators may read tenants, nobody else gets there."""
    return POLICIES[name] is not Policy.OPERATOR or not SAMPLES[name].is_ending


class Ear:
    """Asks, and notes which canaries it hears, where."""

    def __init__(self, world):
        self._world = world
        self._canaries = canaries_of(world)
        document = world.good("GET", "/openapi.json")
        self.routes = {
            operation["operationId"]: (method.upper(), path)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }
        self.heard = set()

    @property
    def kinds(self):
        return {kind for kind, _ in self.heard}

    def listen(self, where, text, *, said=""):
        """Note the canaries in a text, but for those that the request itself has named."""
        if STEM in said:
            said += STEM
        self.heard |= {
            (kind, where)
            for kind, value in self._canaries.items()
            if value in text and value not in said
        }

    def ask(self, name, who, token, *, ids=None):
        """Send an operation's sample with the caller's ids, overlaid by others."""
        own = {**missing(), "clock": self._world.ada.ids["clock"], **who.ids, **(ids or {})}
        if name == "sync.push" and not ids:
            hello = {"json": hello_body("push-own")}
            made = self._world.ask("POST", "/v1/sync/hello", token=token, **hello)
            own["device"] = made.json().get("device", own["device"])
        method, path = self.routes[name]
        path, arguments = SAMPLES[name].request(path, own)
        answer = self._world.ask(method, path, token=token, **arguments)
        said = f"{path} {json.dumps(arguments)}" if ids else ""
        self.listen(name, texts_of(answer), said=said)
        return answer

    def stream(self, who, token, *, device=None):
        """Open a stream, say hello, and pull everything."""
        installation = who.ids.get("installation", "streams-own")
        welcome = self._world.ask(
            "POST", "/v1/sync/hello", token=token, json=hello_body(installation)
        ).json()
        number = device or welcome.get("device", 1)
        pull = {"kind": "pull", "device": number, "schema_version": 1}
        frames = [json.dumps(hello_body(installation)), json.dumps(pull)]
        self.listen("stream", "\n".join(self._world.stream(token, *frames)[1]))

    def listen_to_everything(self, who, token):
        """Ask every operation that ends nothing, and the stream."""
        for name in order(self.routes):
            if not SAMPLES[name].is_ending and POLICIES[name] is not Policy.OPERATOR:
                self.ask(name, who, token)
        self.stream(who, token)


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made


@contextmanager
def captured_logs():
    """Yield a function that returns everything that was logged since."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(
        lambda record: not record.name.startswith(("httpx", "httpcore"))
    )  # our client
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with capture_logs() as events:
            yield lambda: "\n".join([*map(repr, events), written.getvalue()])
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def callers_of(world):
    """Return tenant A's people with their tokens: of sessions, of an operator's key, a service."""
    service = world.good(
        "POST", "/v1/admin/service-tokens", token=world.root_a,
        json={"name": "reporting", "scopes": ["admin"]},
    )  # fmt: skip
    exchanged = world.good("POST", "/v1/auth/service", json={"token": service["token"]})
    minted = world.minted("main", world.ada.ids["person"])
    return [
        (world.stranger, None),
        (world.stranger, world.stranger.token),
        (world.ben, world.ben.token),
        (world.ada, world.ada.token),
        (world.ada, minted),
        (world.admin, exchanged["access_token"]),
        (world.admin, world.root_a),
        (world.admin, world.admin.token),
    ]


def foreign_ids(world, name):
    """Return tenant B's ids for what an operation names and A cannot simply write down."""
    sample = SAMPLES[name]
    wanted = set(sample.uses) - set(sample.free)
    if POLICIES[name] is Policy.PUBLIC:
        wanted |= {"tenant", "email"}
    if POLICIES[name] is Policy.OPERATOR:
        wanted |= {"tenant"}
    return {key: world.zoe.ids[key] for key in wanted}


def test_nobody_of_one_tenant_hears_anything_of_the_other(world):
    ear = Ear(world)
    with captured_logs() as logged:
        callers = callers_of(world)
        for name in order(ear.routes):
            asking = callers[:2] if POLICIES[name] is Policy.PUBLIC else callers
            for who, token in asking if is_asked(name) else ():
                ids = foreign_ids(world, name)
                if ids:
                    ear.ask(name, who, token, ids=ids)
                ear.ask(name, who, token)
                if name == "admin.export":
                    ear.stream(who, token)
                    ear.stream(who, token, device=world.zoe.ids["device"])
        assert "'event': 'request'" in logged()
        ear.listen("log", logged())
    ear.listen("metrics", world.ask("GET", "/metrics").text)
    assert ear.heard == set()


def test_tenant_b_hears_all_of_it(world):
    ear = Ear(world)
    for who, token in ((world.zoe, world.zoe.token), (world.admin_b, world.admin_b.token)):
        ear.listen_to_everything(who, token)
    assert ear.kinds == set(canaries_of(world))
    assert {"stream", "sync.pull", "admin.export", "conflicts.list"} <= {w for _, w in ear.heard}


def test_a_node_that_mixes_up_databases_is_heard(world, monkeypatch):
    real, ear = Node.tenant, Ear(world)

    async def mixed_up(self, _tenant):
        return await real(self, TENANT_B)

    monkeypatch.setattr(Node, "tenant", mixed_up)
    ear.listen_to_everything(world.admin, world.admin.token)
    assert {"space", "row value", "conflict value", "installation"} <= ear.kinds


def test_a_gate_that_mixes_up_tenants_is_heard(world, monkeypatch):
    real, ear = Tokens.verify, Ear(world)

    def mixed_up(self, token):
        return replace(real(self, token), tenant=TENANT_B)

    monkeypatch.setattr(Tokens, "verify", mixed_up)
    ear.listen_to_everything(world.admin, world.admin.token)
    kinds = {"e-mail", "person name", "service name", "audit subject", "row value", "session"}
    assert kinds <= ear.kinds
