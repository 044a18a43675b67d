"""Behaviour of a phone with a stream: pokes applied, gaps pulled, links renewed."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from conformance.case import CaseList, expect
from conformance.client.adapter import Adapter
from conformance.client.declared import NORTH
from conformance.client.scene import Scene, acted, written
from conformance.client.socket_server import LOST, SILENCE
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional, ProvisionalMutation
from sync_protocol.messages.push import WireChange
from sync_protocol.messages.pushed import Pushed, Receipt

stream: Final = CaseList[Adapter]("stream", needs="stream")
QUIET_SECONDS: Final = 0.25
"""What a client that does not wait would have sent by then."""
PAUSE_MS: Final = 400


async def _live(scene: Scene) -> None:
    """Wait until the phone has read a round over its stream, and forget what it said."""
    scene.model.write("site", "s1", title="a")
    await scene.phone.open(stream=True)
    await scene.until("a round over the stream", lambda: bool(scene.server.asked("pull")))
    await scene.eventually("the titles shown", scene.phone.titles, written("a"))
    scene.server.forget()


@acted(stream, "poke", stream=True)
async def _poke(scene: Scene) -> None:
    """A poke that begins where the cursor stands is applied without a pull, again and again."""
    await _live(scene)
    for number, title in ((2, "b"), (3, "c")):
        since = scene.model.sequence
        scene.model.write("site", f"s{number}", title=title)
        await scene.server.send(scene.model.poke(since))
    await scene.eventually("the titles shown", scene.phone.titles, written("abc"))
    expect("pulls", len(scene.server.asked("pull")), 0)
    expect("repairs", len(scene.server.asked("repair")), 0)


@acted(stream, "gap", stream=True)
async def _gap(scene: Scene) -> None:
    """A poke that begins above the cursor is not applied: the phone pulls."""
    await _live(scene)
    scene.model.write("site", "s2", title="b")
    since = scene.model.sequence
    scene.model.write("site", "s3", title="c")
    await scene.server.send(scene.model.poke(since))
    await scene.eventually("the titles shown", scene.phone.titles, written("abc"))
    expect("at least one pull", len(scene.server.asked("pull")) > 0, expected=True)


@acted(stream, "pull", stream=True)
async def _pull(scene: Scene) -> None:
    """A poke that says `pull` leads to a round."""
    await _live(scene)
    since = scene.model.sequence
    scene.model.write("site", "s2", title="b")
    await scene.server.send(Poke(since, scene.model.sequence, pull=True))
    await scene.eventually("the titles shown", scene.phone.titles, written("ab"))


@acted(stream, "old-poke", stream=True)
async def _old_poke(scene: Scene) -> None:
    """A poke of what was read already changes nothing."""
    await _live(scene)
    old = scene.model.poke(0)
    since = scene.model.sequence
    scene.model.write("site", "s1", h=9, op="edit", title="b")
    await scene.server.send(scene.model.poke(since))
    await scene.server.send(old)
    since = scene.model.sequence
    scene.model.write("site", "s2", title="c")
    await scene.server.send(scene.model.poke(since))
    await scene.eventually("the titles shown", scene.phone.titles, written("bc"))
    expect("repairs", len(scene.server.asked("repair")), 0)


@acted(stream, "wrong-digest", stream=True)
async def _wrong_digest(scene: Scene) -> None:
    """A poke's digests are verified: what is missing is repaired at once."""
    await _live(scene)
    since = scene.model.sequence
    scene.model.write("site", "s2", title="b")
    lacking = msgspec.structs.replace(scene.model.poke(since), spaces=[])
    lacking.digests = {NORTH: scene.model.digest(NORTH)}
    await scene.server.send(lacking)
    await scene.eventually("the titles shown", scene.phone.titles, written("ab"))
    expect("repairs", len(scene.server.asked("repair")), 1)


@acted(stream, "push", stream=True)
async def _push(scene: Scene) -> None:
    """What is written while live goes out over the stream at once."""
    await _live(scene)
    await scene.phone.insert("s2", title="b")
    await scene.until("a push", lambda: bool(scene.server.asked("push")))
    expect("the way it came", scene.server.asked("push")[0].via, "stream")
    await scene.eventually("phone.pending", scene.phone.pending, [])


@acted(stream, "cut", stream=True)
async def _cut(scene: Scene) -> None:
    """A stream that is cut is opened again, and what has no receipt is pushed again."""
    await _live(scene)
    scene.server.instead("push", LOST)
    await scene.phone.insert("s2", title="b", visits={"add": 1})
    await scene.eventually("phone.pending", scene.phone.pending, [])
    scene.expect_once()
    expect("the counter at the server", scene.states("s2")["visits"], [0, 1])
    await scene.eventually("the titles shown", scene.phone.titles, written("ab"))


@acted(stream, "one-push-at-a-time", stream=True)
async def _one_push_at_a_time(scene: Scene) -> None:
    """While a push is unanswered no other one is sent."""
    await _live(scene)
    scene.server.instead("push", SILENCE)
    await scene.phone.insert("s2", title="b")
    await scene.until("a push", lambda: bool(scene.server.asked("push")))
    await scene.phone.insert("s3", title="c")
    await asyncio.sleep(QUIET_SECONDS)
    pushes = scene.server.asked("push")
    expect("pushes before an answer", len(pushes), 1)
    await scene.server.send(scene.model.answer(pushes[0].message))
    await scene.eventually("phone.pending", scene.phone.pending, [])
    expect("the counters pushed", scene.counters(), [1, 2])


@acted(stream, "push-later", stream=True)
async def _push_later(scene: Scene) -> None:
    """A push that is told to wait does not hold up reading."""
    await _live(scene)
    fault = Fault(FaultKind.OVERLOADED, "Not now.", retry_after_ms=PAUSE_MS)
    scene.server.instead("push", fault)
    await scene.phone.insert("s2", title="b")
    await scene.until("a push", lambda: bool(scene.server.asked("push")))
    since = scene.model.sequence
    scene.model.write("site", "s3", title="c")
    await scene.server.send(scene.model.poke(since))
    await scene.eventually("the titles shown", scene.phone.titles, written("abc"))
    await scene.eventually("phone.pending", scene.phone.pending, [])
    scene.expect_pause("push", PAUSE_MS)
    scene.expect_once()


@acted(stream, "outcome-by-news", stream=True)
async def _outcome_by_news(scene: Scene) -> None:
    """News that what an edge has accepted is judged lead to a pull, which brings the outcome."""
    await _live(scene)
    accepted = Pushed(0, scene.model.sequence, receipts=[Receipt(1, "accepted", 0)])
    scene.server.instead("push", accepted)
    await scene.phone.insert("s2", title="b")
    await scene.until("a push", lambda: bool(scene.server.asked("push")))
    await asyncio.sleep(QUIET_SECONDS)
    expect("phone.pending after `accepted`", await scene.phone.pending(), [1])
    scene.model.answer(scene.server.asked("push")[0].message)
    sequence = scene.model.sequence - 1
    await scene.server.send(Poke(sequence, sequence, merged_through=1))
    await scene.eventually("phone.pending after the news", scene.phone.pending, [])
    expect("the titles shown", await scene.phone.titles(), written("ab"))


@acted(stream, "provisional", stream=True)
async def _provisional(scene: Scene) -> None:
    """A set of provisional mutations is shown at once, and replaced by the next one."""
    await _live(scene)
    change = WireChange("site", "s1", fields={"title": "theirs"}, base={"title": 1}, seen=1)
    shown = ProvisionalMutation(90, 7, 1 << 40, [change])
    await scene.server.send(Provisional([shown]))
    await scene.eventually("the titles shown", scene.phone.titles, written(["theirs"]))
    expect("phone.pending", await scene.phone.pending(), [])
    await scene.server.send(Provisional([]))
    await scene.eventually("the titles shown after all", scene.phone.titles, written("a"))
    expect("pushes", len(scene.server.asked("push")), 0)
