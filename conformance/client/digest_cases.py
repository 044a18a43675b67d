"""Behaviour of a phone that verifies what it has read, and repairs the damaged part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from conformance.case import CaseList, expect, require
from conformance.client.adapter import Adapter
from conformance.client.declared import APP, NORTH
from conformance.client.read_cases import cursors, page
from conformance.client.scene import Scene, acted, written
from sync_protocol.codec import encode_space_rows
from sync_protocol.digest import ZERO, bucket_of
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.repair import Repair
from sync_protocol.space_rows import decode_space_rows

digests: Final = CaseList[Adapter]("repair", needs="phone")
WRONG: Final = b"\x07" * 16


@acted(digests, "none-needed")
async def _none_needed(scene: Scene) -> None:
    """Right digests are found right: whatever was written, no repair is asked for."""
    scene.model.write("site", "s1", title="røyk \U0001f600", visits={"add": 3}, tags={"add": ["å"]})
    scene.model.write("site", "s2", title="")
    scene.model.write("note", "n1", text="x" * 300)
    await scene.phone.settle()
    scene.model.write("site", "s2", h=4, op="delete")
    scene.model.write("site", "s1", h=5, op="edit", visits={"add": -4})
    await scene.phone.edit("s1", title="mine", tags={"add": ["b"], "remove": ["å"]})
    await scene.phone.settle()
    await scene.phone.settle()
    expect("repairs", len(scene.server.asked("repair")), 0)
    expect("the site shown", (await scene.phone.view())["s1"], {
        "title": "mine", "visits": -1, "tags": ["b"]
    })  # fmt: skip


def _without(scene: Scene, row: str) -> Callable[[Pull], Page]:
    """Return what answers with a page that lacks a row its digest counts."""

    def lacking(pull: Pull) -> Page:
        whole = page(scene, pull)
        kept = scene.model.rows.pop(("site", row))
        partial = page(scene, pull)
        scene.model.rows["site", row] = kept
        return msgspec.structs.replace(partial, checkpoint=whole.checkpoint)

    return lacking


@acted(digests, "damaged-bucket")
async def _damaged_bucket(scene: Scene) -> None:
    """A mismatch leads to one repair with true bucket digests; only what differs is replaced."""
    for number, title in enumerate("abcdef", 1):
        scene.model.write("site", f"s{number}", title=title)
    scene.model.write("note", "n1", text="t")
    scene.server.instead("pull", _without(scene, "s4"))
    await scene.phone.settle()
    (heard,) = scene.server.asked("repair")[:1] or [None]
    require("a repair", holds=heard is not None, got="no repair")
    assert heard is not None
    assert isinstance(heard.message, Repair)
    expect("the space of the repair", heard.message.space, NORTH)
    kept = scene.model.rows.pop(("site", "s4"))
    held = {
        name: [scene.model.digest(NORTH, name, bucket).hex() for bucket in range(16)]
        for name in APP.collections
    }
    scene.model.rows["site", "s4"] = kept
    told = {
        name: [digest.hex() for digest in heard.message.digests.get(name, [ZERO] * 16)]
        for name in APP.collections
    }
    expect("the bucket digests told", told, held)
    expect("the titles shown", await scene.phone.titles(), written("abcdef"))
    expect("repairs", len(scene.server.asked("repair")), 1)
    expect("pulls from zero", cursors(scene).count(None), 1)
    scene.server.forget()
    await scene.phone.settle()
    expect("repairs in the next round", len(scene.server.asked("repair")), 0)


@acted(digests, "foreign-row")
async def _foreign_row(scene: Scene) -> None:
    """Whatever else the phone holds in a damaged bucket goes."""
    ghost = next(f"g{n}" for n in range(500) if bucket_of(f"g{n}") == bucket_of("s1"))
    scene.model.write("site", "s1", title="a")
    scene.model.write("site", "s2", title="b")
    scene.model.write("site", ghost, title="ghost")

    def haunted(pull: Pull) -> Page:
        answer = page(scene, pull)
        del scene.model.rows["site", ghost]
        checkpoint = Checkpoint(scene.model.sequence, {NORTH: scene.model.digest(NORTH)})
        return msgspec.structs.replace(answer, checkpoint=checkpoint)

    scene.server.instead("pull", haunted)
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), written("ab"))
    expect("repairs", len(scene.server.asked("repair")), 1)


@acted(digests, "hopeless")
async def _hopeless(scene: Scene) -> None:
    """A space that differs whatever is done is reported, and does not keep the phone busy."""
    scene.model.write("site", "s1", title="a")

    def wrong_page(pull: Pull) -> Page:
        answer = page(scene, pull)
        checkpoint = Checkpoint(scene.model.sequence, {NORTH: WRONG})
        return msgspec.structs.replace(answer, checkpoint=checkpoint)

    def wrong_repair(repair: Repair) -> Any:  # noqa: ANN401  (a repaired)
        return msgspec.structs.replace(scene.model.repair(repair), digest=WRONG)

    scene.server.always["pull"] = wrong_page
    scene.server.always["repair"] = wrong_repair
    await scene.phone.sync()
    repairs, pulls = len(scene.server.asked("repair")), len(scene.server.asked("pull"))
    require("repairs", holds=repairs in {1, 2}, got=repairs, expected="1 or 2")
    require("pulls", holds=pulls <= 5, got=pulls, expected="at most 5")
    expect("the titles shown", await scene.phone.titles(), written("a"))


@acted(digests, "given-up")
async def _given_up(scene: Scene) -> None:
    """A repair that is answered `not-found` is given up for a round."""
    scene.model.write("site", "s1", title="a")
    scene.model.write("site", "s2", title="b")
    scene.server.instead("pull", _without(scene, "s2"))
    scene.server.instead("repair", Fault(FaultKind.NOT_FOUND, "There is no such space for you."))
    await scene.phone.sync()
    await scene.phone.settle()
    pulls, repairs = len(scene.server.asked("pull")), len(scene.server.asked("repair"))
    require("pulls", holds=2 <= pulls <= 5, got=pulls, expected="2 to 5")
    require("repairs", holds=repairs <= 3, got=repairs, expected="at most 3")


@acted(digests, "unknown-field")
async def _unknown_field(scene: Scene) -> None:
    """A field that the app does not declare is kept: it is part of the digest."""
    scene.model.write("site", "s1", title="a")
    scene.model.extra["site", "s1"] = {"weather": [7, 90, {"wind": 3.5, "calm": [1, 1.0, None]}]}
    await scene.phone.settle()
    scene.model.write("site", "s1", h=9, op="edit", title="b")
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), written("b"))
    expect("repairs", len(scene.server.asked("repair")), 0)


@acted(digests, "hashes")
async def _hashes(scene: Scene) -> None:
    """Rows read under a lens count with the server's hashes, not with their bytes."""
    scene.model.write("site", "s1", title="a")
    digest = (12_345).to_bytes(16, "big")

    def lowered(pull: Pull) -> Page:
        answer = page(scene, pull)
        (space,) = map(decode_space_rows, answer.spaces)
        space.collections["site"].hashes = [digest]
        answer.spaces = [encode_space_rows(space.space, space.collections)]
        answer.checkpoint = Checkpoint(scene.model.sequence, {NORTH: digest})
        return answer

    scene.server.instead("pull", lowered)
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), written("a"))
    expect("repairs", len(scene.server.asked("repair")), 0)
