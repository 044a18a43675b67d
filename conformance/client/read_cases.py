"""Behaviour of a phone that reads: whole rounds, cursors, spaces, resets."""

from __future__ import annotations

from typing import Final

import msgspec

from conformance.case import CaseList, expect, require
from conformance.client.adapter import Adapter
from conformance.client.declared import FINGERPRINT, NORTH, SOUTH
from conformance.client.scene import Scene, acted, written
from conformance.client.socket_server import CUT
from core.ids import is_id
from sync_protocol import limits
from sync_protocol.codec import encode
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.provisional import ProvisionalMutation
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import WireChange
from sync_protocol.messages.pushed import Pushed, Receipt

read: Final = CaseList[Adapter]("read", needs="phone")


def pulls(scene: Scene) -> list[Pull]:
    """Return the pulls heard."""
    return [h.message for h in scene.server.asked("pull") if isinstance(h.message, Pull)]


def cursors(scene: Scene) -> list[object]:
    """Return the cursors of the pulls heard."""
    return [msgspec.to_builtins(pull.cursor) for pull in pulls(scene)]


def page(scene: Scene, pull: Pull) -> Page:
    """Return the page that the model answers."""
    answer = scene.model.pull(pull)
    assert isinstance(answer, Page)
    return answer


@acted(read, "hello")
async def _hello(scene: Scene) -> None:
    """A phone introduces itself: who it is, what it runs, how far it has come."""
    await scene.phone.settle()
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    await scene.phone.settle()
    hellos = [h.message for h in scene.server.asked("hello") if isinstance(h.message, Hello)]
    first, last = hellos[0], hellos[-1]
    told = [first.protocol, first.app, first.schema_version, first.fingerprint, first.counter]
    expect("protocol, app, version, fingerprint, counter", told, [
        1, "conformance", 1, FINGERPRINT, 0
    ])  # fmt: skip
    expect("the cursor of a first hello", first.cursor, None)
    require("an installation", holds=is_id(first.installation), got=first.installation)
    expect("the counter of a later hello", last.counter, 1)
    expect("its cursor", msgspec.to_builtins(last.cursor), {"database": "model-1", "sequence": 2})
    expect("its installation", last.installation, first.installation)


@acted(read, "pages")
async def _pages(scene: Scene) -> None:
    """Each pull sends the cursor of the page before, unchanged, until the last page."""
    for number, title in enumerate("abcde", 1):
        scene.model.write("site", f"s{number}", title=title)
    scene.model.page_rows = 2
    await scene.phone.settle()
    expect("the cursors of the pulls", cursors(scene), [
        None,
        {"database": "model-1", "sequence": 0, "backfill": {"until": 6, "after": 3}},
        {"database": "model-1", "sequence": 0, "backfill": {"until": 6, "after": 5}},
    ])  # fmt: skip
    for pull in pulls(scene):
        is_allowed = 1 <= pull.rows_max <= limits.ROWS_PER_PAGE_MAX
        require("rows_max", holds=is_allowed, got=pull.rows_max, expected="1 to 10,000")
    expect("the titles shown", await scene.phone.titles(), written("abcde"))
    scene.server.forget()
    await scene.phone.settle()
    expect(
        "the cursor of the next round", cursors(scene)[0], {"database": "model-1", "sequence": 6}
    )


@acted(read, "half-a-round")
async def _half_a_round(scene: Scene) -> None:
    """Of a round that was cut off nothing is shown, and the cursor stays."""
    for number in (1, 2):
        scene.model.write("site", f"s{number}", title="old")
    await scene.phone.settle()
    for number in (1, 2):
        scene.model.write("site", f"s{number}", h=9, op="edit", title="new")
    scene.model.page_rows = 1
    scene.server.always["pull"] = lambda pull: CUT if pull.cursor.backfill else None
    await scene.phone.sync()
    expect("the titles shown meanwhile", await scene.phone.titles(), written(["old", "old"]))
    await scene.phone.close()
    await scene.phone.open()
    expect("the titles shown after a restart", await scene.phone.titles(), written(["old", "old"]))
    del scene.server.always["pull"]
    scene.server.forget()
    await scene.phone.settle()
    (hello,) = [h.message for h in scene.server.asked("hello") if isinstance(h.message, Hello)]
    expect("the cursor after a restart", msgspec.to_builtins(hello.cursor), {
        "database": "model-1", "sequence": 3
    })  # fmt: skip
    expect("the titles shown at last", await scene.phone.titles(), written(["new", "new"]))


@acted(read, "half-a-first-round")
async def _half_a_first_round(scene: Scene) -> None:
    """So it is on a first sync: nothing is shown before the last page."""
    for number in (1, 2, 3):
        scene.model.write("site", f"s{number}", title="new")
    scene.model.page_rows = 1
    scene.server.always["pull"] = lambda pull: CUT if pull.cursor else None
    await scene.phone.sync()
    expect("the titles shown meanwhile", await scene.phone.titles(), {})
    del scene.server.always["pull"]
    await scene.phone.settle()
    expect("the titles shown at last", await scene.phone.titles(), written(["new"] * 3))


@acted(read, "gained")
async def _gained(scene: Scene) -> None:
    """A space that was gained is read from zero."""
    await scene.phone.settle()
    scene.model.join(SOUTH)
    gained_at = scene.model.sequence
    row = scene.model.write("site", "s1", space=SOUTH, title="old")
    row.sequence = 1
    scene.model.sequence = gained_at
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), written(["old"]))


@acted(read, "lost")
async def _lost(scene: Scene) -> None:
    """A space that was lost is purged, and no other."""
    scene.model.join(SOUTH)
    scene.model.write("site", "s1", title="north")
    scene.model.write("site", "s2", space=SOUTH, title="south")
    await scene.phone.settle()
    expect("the titles shown before", await scene.phone.titles(), written(["north", "south"]))
    scene.model.leave(NORTH)
    await scene.phone.settle()
    expect("the titles shown after", await scene.phone.titles(), {"s2": "south"})
    await scene.phone.close()
    await scene.phone.open()
    expect("the titles shown after a restart", await scene.phone.titles(), {"s2": "south"})


@acted(read, "another-role")
async def _another_role(scene: Scene) -> None:
    """A space held with another role is read anew: what the new role may not read goes."""
    scene.model.write("site", "s1", title="a")
    scene.model.write("note", "n1", text="for members")
    await scene.phone.settle()
    expect("the notes shown before", list(await scene.phone.view("note")), ["n1"])
    scene.model.join(NORTH, role="guest")
    del scene.model.rows["note", "n1"]
    await scene.phone.settle()
    expect("the notes shown after", list(await scene.phone.view("note")), [])
    expect("the titles shown", await scene.phone.titles(), written("a"))
    expect("repairs", len(scene.server.asked("repair")), 0)


@acted(read, "tombstone")
async def _tombstone(scene: Scene) -> None:
    """A deleted row is gone from the view and from the digest; a restored one is back."""
    scene.model.write("site", "s1", title="a")
    scene.model.write("site", "s2", title="b")
    await scene.phone.settle()
    scene.model.write("site", "s1", h=5, op="delete")
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), {"s2": "b"})
    scene.model.write("site", "s1", h=6, op="restore")
    await scene.phone.settle()
    expect("the titles shown again", await scene.phone.titles(), written("ab"))
    expect("repairs", len(scene.server.asked("repair")), 0)


@acted(read, "read-your-writes")
async def _wait_for(scene: Scene) -> None:
    """After a push the phone asks for a page that reaches its own writes."""
    await scene.phone.settle()
    scene.server.forget()
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    expect("wait_for", pulls(scene)[0].wait_for, scene.model.sequence)


def _waiting(scene: Scene) -> Pushed:
    """Answer as an edge whose primary is away."""
    return Pushed(0, scene.model.sequence, receipts=[Receipt(1, "accepted", 0)])


@acted(read, "reset-page")
async def _reset_page(scene: Scene) -> None:
    """A page that says `reset` replaces the rows; the queue stays, and is shown on top."""
    scene.model.write("site", "s1", title="gone")
    scene.model.write("site", "s2", title="kept")
    await scene.phone.settle()
    await scene.phone.insert("s3", title="mine")
    del scene.model.rows["site", "s1"]

    def anew(pull: Pull) -> Page:
        fresh = page(scene, msgspec.structs.replace(pull, cursor=None))
        return msgspec.structs.replace(fresh, reset=True)

    scene.server.instead("push", lambda _push: _waiting(scene))
    scene.server.instead("pull", anew)
    await scene.phone.sync()
    expect("the titles shown", await scene.phone.titles(), {"s2": "kept", "s3": "mine"})
    expect("phone.pending", await scene.phone.pending(), [1])
    await scene.phone.settle()
    expect("the title at the server", scene.states("s3")["title"][2], "mine")
    scene.expect_once()


@acted(read, "cursor-unknown")
async def _cursor_unknown(scene: Scene) -> None:
    """A cursor that is not known leads to a pull from zero; the queue stays."""
    scene.model.write("site", "s1", title="gone")
    await scene.phone.settle()
    scene.model.rows.clear()
    scene.model.write("site", "s2", title="new")
    await scene.phone.insert("s3", title="mine")
    scene.server.forget()
    fault = Fault(FaultKind.CURSOR_UNKNOWN, "This cursor is not known.")
    scene.server.instead("pull", fault)
    await scene.phone.sync()
    await scene.phone.settle()
    expect("the cursor of the second pull", cursors(scene)[1], None)
    expect("the titles shown", await scene.phone.titles(), {"s2": "new", "s3": "mine"})
    expect("phone.pending", await scene.phone.pending(), [])


@acted(read, "reset-welcome")
async def _reset_welcome(scene: Scene) -> None:
    """A welcome that says `reset` leads to a pull from zero."""
    scene.model.write("site", "s1", title="a")
    await scene.phone.settle()
    scene.server.forget()
    scene.server.instead(
        "hello", lambda hello: msgspec.structs.replace(scene.model.hello(hello), resume="reset")
    )
    await scene.phone.settle()
    expect("the cursors of the pulls", cursors(scene)[:1], [None])
    expect("the titles shown", await scene.phone.titles(), written("a"))


@acted(read, "stale")
async def _stale(scene: Scene) -> None:
    """A node that is behind is asked again after a delay; nothing in its answer counts."""
    scene.model.write("site", "s1", title="a")
    await scene.phone.settle()
    await scene.phone.insert("s2", title="mine")
    scene.server.forget()

    def behind(pull: Pull) -> Page:
        assert pull.cursor is not None
        nothing = Checkpoint(pull.cursor.sequence, {})
        return Page(pull.cursor, more=False, merged_through=9, checkpoint=nothing, stale=True)

    scene.server.instead("push", lambda _push: _waiting(scene))
    scene.server.always["pull"] = behind
    status = await scene.phone.sync()
    expect("is_current while the node is behind", status["is_current"], expected=False)
    expect("phone.pending while the node is behind", await scene.phone.pending(), [1])
    expect("the titles shown meanwhile", await scene.phone.titles(), written(["a", "mine"]))
    count = len(pulls(scene))
    require("pulls while the node is behind", holds=count <= 8, got=count, expected="at most 8")
    del scene.server.always["pull"]
    await scene.phone.settle()
    expect("phone.pending", await scene.phone.pending(), [])


@acted(read, "provisional")
async def _provisional(scene: Scene) -> None:
    """What others wrote and nobody has judged is shown, never sent, and goes with its set."""
    row = scene.model.write("site", "s1", title="a")
    await scene.phone.settle()
    change = WireChange(
        "site", "s1", fields={"title": "theirs"}, base={"title": 1}, seen=row.alive[0]
    )
    shown = [ProvisionalMutation(90, 7, 1 << 40, [change])]
    scene.server.instead(
        "pull", lambda pull: msgspec.structs.replace(page(scene, pull), provisional=shown)
    )
    await scene.phone.settle()
    expect("the titles shown", await scene.phone.titles(), written(["theirs"]))
    expect("phone.pending", await scene.phone.pending(), [])
    expect("the counters pushed", scene.counters(), [])
    await scene.phone.settle()
    expect("the titles shown with an empty set", await scene.phone.titles(), written("a"))


@acted(read, "unknown-member")
async def _unknown_member(scene: Scene) -> None:
    """A member that a phone does not know is ignored: servers are newer than phones."""
    scene.model.write("site", "s1", title="a")
    await scene.phone.settle()
    scene.model.write("site", "s1", h=9, op="edit", title="b")

    def spoiled(pull: Pull) -> bytes:
        message = msgspec.msgpack.decode(encode(page(scene, pull)))
        return msgspec.msgpack.encode({**message, "unheard_of": 1})

    scene.server.always["pull"] = spoiled
    status = await scene.phone.sync()
    expect("is_current", status["is_current"], expected=True)
    expect("the titles shown", await scene.phone.titles(), written("b"))


@acted(read, "garbage")
async def _garbage(scene: Scene) -> None:
    """Bytes that are no message change nothing."""
    scene.model.write("site", "s1", title="a")
    scene.server.always["pull"] = lambda _pull: b"\xc1 not a message"
    status = await scene.phone.sync()
    expect("is_current", status["is_current"], expected=False)
    count = len(pulls(scene))
    require("pulls of garbage", holds=count <= 12, got=count, expected="at most 12")
    del scene.server.always["pull"]
    await scene.phone.settle()
    expect("the titles shown at last", await scene.phone.titles(), written("a"))


@acted(read, "earlier-database")
async def _earlier_database(scene: Scene) -> None:
    """A page may answer with the cursor of another database: it is kept and sent like any other."""
    scene.model.write("site", "s1", title="a")
    await scene.phone.settle()

    def adopted(pull: Pull) -> Page:
        scene.model.database = "model-2"
        kept = Cursor("model-2", pull.cursor.sequence) if pull.cursor else None
        return page(scene, msgspec.structs.replace(pull, cursor=kept))

    scene.server.instead("pull", adopted)
    await scene.phone.settle()
    scene.server.forget()
    await scene.phone.settle()
    expect(
        "the cursor of the next round", cursors(scene)[:1], [{"database": "model-2", "sequence": 2}]
    )
    expect("the titles shown", await scene.phone.titles(), written("a"))
