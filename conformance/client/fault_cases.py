"""Behaviour of a phone that is told no: delays, sign-in, stops, and never a hot loop."""

from __future__ import annotations

import asyncio
from typing import Final

from conformance.case import CaseList, expect, require
from conformance.client.adapter import Adapter
from conformance.client.scene import Scene, acted, written
from conformance.client.socket_server import TOKEN
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault

refusals: Final = CaseList[Adapter]("refusals", needs="phone")
PAUSE_MS: Final = 300
REQUESTS_MAX: Final = 25
"""What a phone that is turned away may ask within one sync; a hot loop asks thousands of times."""


async def _paused(scene: Scene, request: str) -> None:
    await scene.phone.insert("s1", title="a")
    fault = Fault(FaultKind.RATE_LIMITED, "Too many requests.", retry_after_ms=PAUSE_MS)
    scene.server.instead(request, fault)
    status = await scene.phone.sync()
    scene.expect_pause(request, PAUSE_MS)
    if not status["is_current"]:
        await asyncio.sleep(PAUSE_MS / 1_000)
    await scene.phone.settle()
    scene.expect_once()
    expect("the titles shown", await scene.phone.titles(), written("a"))
    expect("phone.pending", await scene.phone.pending(), [])


@acted(refusals, "push-later")
async def _push_later(scene: Scene) -> None:
    """A push is sent again after `retry_after_ms`, not before, and with the same payload."""
    await _paused(scene, "push")


@acted(refusals, "pull-later")
async def _pull_later(scene: Scene) -> None:
    """A pull is sent again after `retry_after_ms`, not before."""
    await _paused(scene, "pull")


@acted(refusals, "no-hot-loop")
async def _no_hot_loop(scene: Scene) -> None:
    """A server that is unavailable is asked again with the back-off, and a sync ends."""
    await scene.phone.insert("s1", title="a")
    fault = Fault(FaultKind.UNAVAILABLE, "Not now.")
    for request in ("push", "pull"):
        scene.server.always[request] = lambda _message: fault
    status = await scene.phone.sync()
    expect("is_current", status["is_current"], expected=False)
    count = len(scene.server.heard)
    require("requests", holds=count <= REQUESTS_MAX, got=count, expected=f"at most {REQUESTS_MAX}")
    expect("phone.pending", await scene.phone.pending(), [1])
    expect("the titles shown", await scene.phone.titles(), written("a"))


@acted(refusals, "sign-in")
async def _sign_in(scene: Scene) -> None:
    """Without a good token the phone says so, and keeps what it has."""
    await scene.phone.insert("s1", title="a")
    scene.server.token = "another"  # noqa: S105  (invented, for the loopback)
    status = await scene.phone.sync()
    expect("fault", status.get("fault"), "unauthenticated")
    expect("phone.pending", await scene.phone.pending(), [1])
    scene.server.token = TOKEN
    await scene.phone.settle()
    expect("phone.pending once it is taken", await scene.phone.pending(), [])


@acted(refusals, "stop")
async def _stop(scene: Scene) -> None:
    """A fault that needs a person stops the sync; the queue stays."""
    await scene.phone.insert("s1", title="a")
    scene.server.always["hello"] = lambda _hello: Fault(FaultKind.SCHEMA_TOO_OLD, "Update the app.")
    status = await scene.phone.sync()
    expect("fault", status.get("fault"), "schema-too-old")
    expect("is_current", status["is_current"], expected=False)
    expect("requests", len(scene.server.heard), 1)
    expect("phone.pending", await scene.phone.pending(), [1])
    del scene.server.always["hello"]
    await scene.phone.settle()
    expect("phone.pending once it is taken", await scene.phone.pending(), [])


@acted(refusals, "greet")
async def _greet(scene: Scene) -> None:
    """A number that nobody knows leads to another hello."""
    await scene.phone.insert("s1", title="a")
    scene.server.instead("push", Fault(FaultKind.UNKNOWN_DEVICE, "Who is this?"))
    await scene.phone.sync()
    await scene.phone.settle()
    count = len(scene.server.asked("hello"))
    require("hellos", holds=2 <= count <= 4, got=count, expected="2 to 4")
    scene.expect_once()
    expect("phone.pending", await scene.phone.pending(), [])
