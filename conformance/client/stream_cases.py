"""Behaviour of a phone with a stream: pokes applied, gaps pulled, links renewed."""

from __future__ import annotations

from typing import Final

import msgspec

from conformance.case import CaseList, expect
from conformance.client.adapter import Adapter
from conformance.client.declared import NORTH
from conformance.client.scene import Scene, acted, written
from conformance.client.socket_server import LOST
from sync_protocol.messages.poke import Poke

stream: Final = CaseList[Adapter]("stream", needs="stream")


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
