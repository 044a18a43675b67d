"""What /health answers about a replica; the rules themselves are tested with Lag."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar import Litestar

from edge.controllers.health import HealthController
from edge.routes import answer_error
from edge.services.fleet.lag import SILENCE_MS_MAX, Lag, Position, Readiness

BOUND = 30_000


async def ask(path, *readiness, is_node_ready=True):
    node: Any = SimpleNamespace(is_ready=is_node_ready, why_not_ready=lambda: "Not yet.")
    health = HealthController(node, *readiness)
    routes: Any = Litestar(health.routes(), exception_handlers={Exception: answer_error})
    transport = httpx.ASGITransport(routes)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.get(path)
    return answer.status_code, answer.json()


async def test_a_node_without_a_replica_is_ready_and_fresh():
    assert await ask("/health/ready") == (200, {"status": "ready"})
    assert await ask("/health/fresh") == (200, {"status": "fresh"})


async def test_an_edge_cut_off_is_ready_but_not_fresh():
    now = SimpleNamespace(ms=1_000)
    lag = Lag(lambda: now.ms)
    lag.reached("main", Position("d1", 7))
    lag.heard({"main": Position("d1", 7)}, at_ms=now.ms)

    def readiness():
        return lag.readiness(BOUND)

    level = {"primary": "heard", "replica_age_ms": 0}
    assert await ask("/health/ready", readiness) == (200, {"status": "ready", **level})
    assert await ask("/health/fresh", readiness) == (200, {"status": "fresh", **level})
    now.ms += BOUND
    away = {"primary": "away", "replica_age_ms": BOUND}
    assert await ask("/health/fresh", readiness) == (200, {"status": "fresh", **away})
    now.ms += 1
    away = {"primary": "away", "replica_age_ms": BOUND + 1}
    assert await ask("/health/ready", readiness) == (200, {"status": "ready", **away})
    status, problem = await ask("/health/fresh", readiness)
    assert (status, problem["fault"]) == (503, "unavailable")
    assert problem["detail"] == f"replica-old: a replica here has {BOUND + 1} ms of age."


async def test_an_unknown_age_is_not_fresh():
    now = SimpleNamespace(ms=1_000)
    lag = Lag(lambda: now.ms)
    lag.reached("main", Position("d1", 7))
    now.ms += SILENCE_MS_MAX + 1
    status, answer = await ask("/health/ready", lambda: lag.readiness(BOUND))
    assert (status, answer["replica_age_ms"]) == (200, None)
    status, problem = await ask("/health/fresh", lambda: lag.readiness(BOUND))
    assert status == 503
    assert "nobody knows" in problem["detail"]


@pytest.mark.parametrize("path", ["/health/ready", "/health/fresh"])
async def test_a_broken_replica_and_a_starting_node_are_neither(path):
    broken = Readiness(is_ready=False, is_fresh=False, why="replica-behind: why")
    status, problem = await ask(path, lambda: broken)
    assert (status, problem["detail"]) == (503, "replica-behind: why")
    status, problem = await ask(path, Readiness, is_node_ready=False)
    assert (status, problem["detail"]) == (503, "Not yet.")
