"""Requests made from the OpenAPI document, for an operator who may do everything: no server error.

Whatever is sent is answered by the node as it was meant to be; 503 and 507 are answers too, when
they say so in a problem document.
"""

import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests import Request
from schemathesis import GenerationMode

from core.ids import PersonId
from edge.dto.policies import Policy
from tests.security.samples import SAMPLES
from tests.security.test_matrix import ADMINISTRATIVE, POLICIES
from tests.security.world import TENANT_A, TENANT_B, World

EXAMPLES_MAX = 8
TOLD = {503, 507}
"""The node cannot serve just now, and says so."""
BODY_IDS = ("space", "device", "person", "tenant")
PLAIN = {"health.live", "health.ready", "health.fresh", "keys.published"}
"""Operations that take nothing, not even a token."""
MODES = {"honest": GenerationMode.POSITIVE, "odd": GenerationMode.NEGATIVE}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def operations(world):
    schema = schemathesis.openapi.from_dict(world.good("GET", "/openapi.json"))
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # pyright: ignore[reportAttributeAccessIssue]
    return {operation.definition.raw["operationId"]: operation for operation in found}


def caller(world, name):
    """Return whose token is used: somebody new for what is about oneself, ada for her space.

    Administration is done to the other tenant, so that it disables nobody who is still to ask.
    """
    if name.startswith("me."):
        return world.sign_in(TENANT_A, "of the tests").token
    if POLICIES[name] is Policy.PERSON:
        return world.ada.token
    return world.minted(TENANT_B, PersonId("operator"), is_admin=True, is_operator=True)


def known(world, name):
    """Return ids that make an honest request lead somewhere, unless it ends what has them.

    The document says no more of an id than how it is written.
    """
    if SAMPLES[name].is_ending or name == "operator.tenants.create":
        return {}
    return world.zoe.ids if POLICIES[name] in ADMINISTRATIVE else world.ada.ids


def sent(world, case, *, token, ids):
    """Send a case as a client would, and return the answer."""
    if isinstance(case.body, dict):
        case.body.update({name: ids[name] for name in BODY_IDS if name in case.body and ids})
    if ids:
        case.path_parameters.update(
            {name: ids[name] for name in case.path_parameters if name in ids}
        )
    arguments = case.as_transport_kwargs(base_url="http://node")
    arguments.pop("cookies", None)
    request = Request(**arguments).prepare()
    path = (request.url or "").removeprefix("http://node") or "/"
    headers = {
        name: value if isinstance(value, bytes) else value.encode("latin-1")
        for name, value in request.headers.items()
    }
    headers.pop("Authorization", None)
    body = request.body.encode() if isinstance(request.body, str) else request.body
    return world.ask(request.method, path, token=token, headers=headers, content=body)


def modes():
    """Yield every operation with every mode, but for what has nothing that could be odd."""
    for name, mode in itertools.product(sorted(SAMPLES), MODES):
        if mode == "honest" or name not in PLAIN:
            yield name, mode


@pytest.mark.parametrize(("name", "mode"), list(modes()))
def test_nothing_a_document_allows_or_forbids_fails_the_node(world, operations, name, mode):
    token = caller(world, name)
    ids = known(world, name) if mode == "honest" else {}
    statuses = set()

    @settings(
        max_examples=EXAMPLES_MAX, derandomize=True, deadline=None, database=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list[Any](HealthCheck),
    )  # fmt: skip
    @given(case=operations[name].as_strategy(MODES[mode]))
    def requests(case):
        answer = sent(world, case, token=token, ids=ids)
        statuses.add(answer.status_code)
        if answer.status_code >= 500:
            assert answer.status_code in TOLD, (case.as_curl_command(), answer.text)
            assert answer.headers["content-type"] == "application/problem+json"

    requests()
    if mode == "honest" and not SAMPLES[name].is_ending:
        assert statuses != {401}, "the token is not taken: nothing was tried"
