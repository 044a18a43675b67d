"""Behaviour of a phone that pushes: nothing lost, nothing twice, nothing held up."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from conformance.case import CaseList, expect, require
from conformance.client.adapter import Adapter
from conformance.client.declared import NORTH
from conformance.client.scene import Scene, acted, written
from conformance.client.socket_server import CUT, LOST
from sync_protocol import limits
from sync_protocol.codec import Media, decode_mutations
from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.messages.pushed import Conflict, Outcome, Pushed, Receipt, Side
from sync_protocol.messages.welcome import Welcome

push: Final = CaseList[Adapter]("push", needs="phone")
ADD_TWO: Final = {"add": 2}


@acted(push, "order")
async def _order(scene: Scene) -> None:
    """Mutations arrive in counter order, stamped in that order, with the number from welcome."""
    await scene.phone.insert("s1", title="a")
    await scene.phone.edit("s1", visits=ADD_TWO, tags={"add": ["wet"]})
    await scene.phone.insert("s2", title="b")
    expect("phone.pending before a sync", await scene.phone.pending(), [1, 2, 3])
    await scene.phone.settle()
    expect("the counters pushed", scene.counters(), [1, 2, 3])
    stamps = [mutation.h for mutation in scene.pushed()]
    require("h grows with the counter", holds=stamps == sorted(set(stamps)), got=stamps)
    first = scene.pushed()[0].changes[0]
    expect("the first change", msgspec.to_builtins(first), {
        "collection": "site", "id": "s1", "op": "insert", "space": NORTH, "fields": {"title": "a"},
    })  # fmt: skip
    for heard in scene.server.asked("push"):
        assert isinstance(heard.message, Push)
        expect("the device of a push", heard.message.device, 2)
        expect("the schema version of a push", heard.message.schema_version, 1)
    expect("phone.pending after a sync", await scene.phone.pending(), [])
    expect("the counter at the server", scene.states("s1")["visits"], [0, 2])


@acted(push, "what-was-seen")
async def _seen(scene: Scene) -> None:
    """An edit names the clock values of the registers, and of the row, that its author saw."""
    row = scene.model.write("site", "s1", h=77, title="theirs")
    await scene.phone.settle()
    await scene.phone.edit("s1", title="mine")
    await scene.phone.settle()
    change = scene.pushed()[0].changes[0]
    expect("base", dict(change.base), {"title": 77})
    expect("seen", change.seen, row.alive[0])
    require("h is above what was seen", holds=scene.pushed()[0].h > 77, got=scene.pushed()[0].h)
    expect("the title at the server", scene.states("s1")["title"][2], "mine")


async def _interrupted(scene: Scene, trouble: object) -> None:
    await scene.phone.insert("s1", title="a", visits=ADD_TWO)
    await scene.phone.insert("s2", title="b")
    scene.server.instead("push", trouble)  # pyright: ignore[reportArgumentType]  (a Cut)
    await scene.phone.sync()
    await scene.phone.settle()
    scene.expect_once()
    expect("the counters at the server", len(scene.model.taken[2]), 2)
    expect("the counter at the server", scene.states("s1")["visits"], [0, 2])
    expect("phone.pending", await scene.phone.pending(), [])
    expect("the titles shown", await scene.phone.titles(), written("ab"))
    expect("the visits shown", (await scene.phone.view())["s1"]["visits"], 2)


@acted(push, "lost-answer")
async def _lost_answer(scene: Scene) -> None:
    """The server has taken a push and its answer is lost: the same bytes come again."""
    await _interrupted(scene, LOST)


@acted(push, "lost-request")
async def _lost_request(scene: Scene) -> None:
    """A push is lost before the server has it: the same bytes come again."""
    await _interrupted(scene, CUT)


@acted(push, "restart")
async def _restart(scene: Scene) -> None:
    """A phone that is closed in between sends what it has, as the same installation."""
    await scene.phone.insert("s1", title="a")
    scene.server.instead("push", LOST)
    await scene.phone.sync()
    await scene.phone.close()
    await scene.phone.open()
    expect("the title shown", await scene.phone.titles(), written("a"))
    await scene.phone.insert("s2", title="b")
    await scene.phone.settle()
    scene.expect_once()
    hellos = [heard.message for heard in scene.server.asked("hello")]
    expect("installations", len({h.installation for h in hellos if isinstance(h, Hello)}), 1)
    expect("the counters at the server", len(scene.model.taken[2]), 2)


def _accepted(scene: Scene, message: Push) -> Pushed:
    """Answer as an edge does while the primary is away; the primary takes it all the same."""
    counters = [m.counter for m in decode_mutations(message, Media.MSGPACK) if m.counter]
    scene.model.push(message)
    receipts = [Receipt(counter, "accepted", 0) for counter in counters]
    return Pushed(0, 1, receipts=receipts, replicated=1)


@acted(push, "accepted")
async def _accepted_is_not_final(scene: Scene) -> None:
    """What an edge has accepted stays in the queue until a page brings the primary's outcome."""
    scene.model.write("site", "s9", title="theirs")
    await scene.phone.settle()
    scene.server.forget()
    await scene.phone.insert("s1", title="a")
    scene.server.always["push"] = lambda message: _accepted(scene, message)
    before = scene.model.sequence
    scene.server.always["pull"] = lambda message: _as_of(scene, message, before)
    await scene.phone.sync()
    expect("phone.pending after `accepted`", await scene.phone.pending(), [1])
    await scene.phone.close()
    await scene.phone.open()
    expect("phone.pending after `accepted` and a restart", await scene.phone.pending(), [1])
    expect("the title shown", (await scene.phone.titles()).get("s1"), "a")
    del scene.server.always["pull"]
    await scene.phone.sync()
    asked = [heard.message for heard in scene.server.asked("pull")]
    lowest = [pull.unconfirmed for pull in asked if isinstance(pull, Pull)]
    require("a pull asks for what is unconfirmed", holds=lowest[-1] == 1, got=lowest, expected=1)
    expect("phone.pending after the primary's outcome", await scene.phone.pending(), [])
    expect("the title shown", (await scene.phone.titles()).get("s1"), "a")
    scene.expect_once()


def _as_of(scene: Scene, message: Pull, sequence: int) -> Any:  # noqa: ANN401  (a page, or a fault)
    """Answer as an edge whose replica stands at a sequence, with nothing new in it."""
    kept = scene.model.rows, scene.model.taken, scene.model.sequence
    scene.model.rows = {k: r for k, r in kept[0].items() if r.sequence <= sequence}
    scene.model.taken, scene.model.sequence = {}, sequence
    try:
        return scene.model.pull(message)
    finally:
        scene.model.rows, scene.model.taken, scene.model.sequence = kept


async def _refused(scene: Scene, outcome: Outcome) -> None:
    def judged(mutation: WireMutation) -> Receipt | None:
        if mutation.counter != 2:
            return None
        return Receipt(2, outcome, 1, code="no-shouting", message="Do not.", fields=["title"])

    scene.model.outcome = judged
    for number, title in enumerate("abc", 1):
        await scene.phone.insert(f"s{number}", title=title)
    await scene.phone.settle()
    expect("the counters pushed", scene.counters(), [1, 2, 3])
    expect("phone.pending", await scene.phone.pending(), [])
    expect("the titles shown", await scene.phone.titles(), {"s1": "a", "s3": "c"})
    rejected = (await scene.phone.outcomes())["rejected"]
    told = [{name: each.get(name) for name in ("counter", "outcome", "code")} for each in rejected]
    expect("the refused mutations shown", told, [
        {"counter": 2, "outcome": outcome, "code": "no-shouting"}
    ])  # fmt: skip
    await scene.phone.settle()
    expect("the counters pushed after all", scene.counters(), [1, 2, 3])


@acted(push, "rejected")
async def _rejected(scene: Scene) -> None:
    """A rejected mutation is shown with its reason and holds up none behind it."""
    await _refused(scene, "rejected")


@acted(push, "quarantined")
async def _quarantined(scene: Scene) -> None:
    """So does a quarantined one."""
    await _refused(scene, "quarantined")


@acted(push, "superseded")
async def _superseded(scene: Scene) -> None:
    """A conflict that was lost is shown with both values."""
    scene.model.write("site", "s1", h=1 << 52, title="theirs")
    winner, loser = Side("theirs", 1 << 52, 90), Side("mine", 5, 2)
    lost = Conflict("site", "s1", "title", winner, loser)
    scene.model.outcome = lambda m: Receipt(m.counter, "superseded", 0, conflicts=[lost])
    await scene.phone.insert("s1", title="mine")
    await scene.phone.settle()
    expect("phone.pending", await scene.phone.pending(), [])
    expect("the title shown", await scene.phone.titles(), written(["theirs"]))
    conflicts = (await scene.phone.outcomes())["conflicts"]
    names = ("collection", "row", "field", "winner", "loser")
    told = [{name: each.get(name) for name in names} for each in conflicts]
    expect("the conflicts shown", told, [
        {"collection": "site", "row": "s1", "field": "title", "winner": "theirs", "loser": "mine"}
    ])  # fmt: skip


@acted(push, "clone")
async def _clone(scene: Scene) -> None:
    """A clone takes a new installation id, numbers its queue from 1 and keeps payloads and rows."""
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    await scene.phone.edit("s1", title="b")
    await scene.phone.insert("s2", title="c")
    before = scene.server.asked("hello")[-1].message
    scene.server.forget()
    fault = Fault(FaultKind.CLONED_DEVICE, "Another payload had this counter.", merged_through=2)
    scene.server.instead("push", fault)
    await scene.phone.sync()
    await scene.phone.settle()
    first, renewed = (heard.message for heard in scene.server.asked("hello")[:2])
    assert isinstance(before, Hello)
    assert isinstance(first, Hello)
    assert isinstance(renewed, Hello)
    expect("the installation before", first.installation, before.installation)
    is_new = renewed.installation != before.installation
    require("another installation says hello", holds=is_new, got=renewed.installation)
    expect(
        "the cursor it says", msgspec.to_builtins(renewed.cursor), msgspec.to_builtins(first.cursor)
    )
    expect("the counters pushed", scene.counters(), [2, 3, 1, 2])
    changes = [msgspec.to_builtins(mutation.changes) for mutation in scene.pushed()]
    expect("the payloads pushed again", changes[2:], changes[:2])
    pulls = [heard.message for heard in scene.server.asked("pull")]
    from_zero = [pull for pull in pulls if isinstance(pull, Pull) and pull.cursor is None]
    expect("pulls from zero", len(from_zero), 0)
    expect("the titles shown", await scene.phone.titles(), written("bc"))
    expect("phone.pending", await scene.phone.pending(), [])


@acted(push, "gap-resend")
async def _gap_resend(scene: Scene) -> None:
    """After `counter-gap` a phone pushes again from merged_through + 1."""
    for number, title in enumerate("abc", 1):
        await scene.phone.insert(f"s{number}", title=title)

    def taking_one(message: Push) -> Fault:
        scene.model.push(msgspec.structs.replace(message, mutations=message.mutations[:1]))
        return Fault(FaultKind.COUNTER_GAP, "Mutations are missing.", merged_through=1)

    scene.server.instead("push", taking_one)
    await scene.phone.sync()
    await scene.phone.settle()
    expect("the counters pushed", scene.counters()[3:5], [2, 3])
    scene.expect_once()
    expect("the titles shown", await scene.phone.titles(), written("abc"))
    expect("phone.pending", await scene.phone.pending(), [])


@acted(push, "gap-renew")
async def _gap_renew(scene: Scene) -> None:
    """When the gap stays, the phone becomes a new installation and nothing is lost."""
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    scene.model.taken[2] = []
    await scene.phone.insert("s2", title="b")
    scene.server.forget()
    await scene.phone.sync()
    await scene.phone.settle()
    hellos = [heard.message for heard in scene.server.asked("hello")]
    expect("installations", len({h.installation for h in hellos if isinstance(h, Hello)}), 2)
    pushes = len(scene.server.asked("push"))
    require("pushes", holds=pushes <= 6, got=pushes, expected="at most 6")
    expect("the titles shown", await scene.phone.titles(), written("ab"))
    expect("the title at the server", scene.states("s2")["title"][2], "b")
    expect("phone.pending", await scene.phone.pending(), [])


@acted(push, "shrink")
async def _shrink(scene: Scene) -> None:
    """`too-large` makes the next push smaller, and costs no mutation."""
    for number, title in enumerate("abcdefgh", 1):
        await scene.phone.insert(f"s{number}", title=title)

    def narrow(message: Push) -> Fault | None:
        if len(message.mutations) > 2:
            return Fault(FaultKind.TOO_LARGE, "Too many at once.")
        return None

    scene.server.always["push"] = narrow
    await scene.phone.sync()
    await scene.phone.settle()
    expect("the counters at the server", len(scene.model.taken[2]), 8)
    expect("the titles shown", await scene.phone.titles(), written("abcdefgh"))
    pushes = len(scene.server.asked("push"))
    require("pushes", holds=pushes <= 12, got=pushes, expected="at most 12")


@acted(push, "limits")
async def _limits(scene: Scene) -> None:
    """However much waits, no push is larger than a message may be."""
    text = "x" * 64_000
    for number in range(70):
        await scene.phone.insert(f"n{number}", collection="note", text=text)
    await scene.phone.settle()
    for heard in scene.server.asked("push"):
        assert isinstance(heard.message, Push)
        count = len(heard.message.mutations)
        holds = count <= limits.MUTATIONS_PER_PUSH_MAX
        require("mutations of a push", holds=holds, got=count, expected="at most 5,000")
    expect("the counters at the server", len(scene.model.taken[2]), 70)


@acted(push, "another-database")
async def _another_database(scene: Scene) -> None:
    """Outcomes of another database than the one that has said welcome settle nothing."""
    await scene.phone.settle()
    await scene.phone.insert("s1", title="a")
    await scene.phone.insert("s2", title="b")
    refused = Receipt(2, "rejected", 90, code="no", message="Not there.")
    told = Pushed(2, 90, [(1, 1, 90)], [refused], replicated=90, database="replaced")
    scene.server.always["push"] = lambda _message: told
    await scene.phone.sync()
    expect("phone.pending", await scene.phone.pending(), [1, 2])
    expect("the titles shown", await scene.phone.titles(), written("ab"))
    del scene.server.always["push"]
    await scene.phone.settle()
    scene.expect_once()
    expect("the counters at the server", len(scene.model.taken[2]), 2)
    expect("phone.pending once they are merged", await scene.phone.pending(), [])
    expect("the titles shown", await scene.phone.titles(), written("ab"))


@acted(push, "replaced-primary")
async def _replaced_primary(scene: Scene) -> None:
    """A primary that was replaced, as an earlier welcome has told, greets nobody."""
    scene.model.replaced = ["former"]
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    await scene.phone.insert("s2", title="b")
    scene.server.forget()

    def greeted(message: Hello) -> Welcome:
        known = scene.model.hello(message)
        return msgspec.structs.replace(
            known, database="former", resume="reset", merged_through=0, replaced=[]
        )

    scene.server.always["hello"] = greeted
    await scene.phone.sync()
    expect("the counters pushed to the replaced one", scene.counters(), [])
    expect("phone.pending", await scene.phone.pending(), [2])
    del scene.server.always["hello"]
    await scene.phone.settle()
    hellos = [heard.message for heard in scene.server.asked("hello")]
    expect("installations", len({h.installation for h in hellos if isinstance(h, Hello)}), 1)
    expect("the counters pushed", scene.counters(), [2])
    expect("the titles shown", await scene.phone.titles(), written("ab"))


@acted(push, "retained")
async def _retained(scene: Scene) -> None:
    """What was merged and is not replicated is sent again to the database that has not got it."""
    scene.model.replicated = scene.model.sequence
    await scene.phone.insert("s1", title="a")
    await scene.phone.settle()
    expect("phone.pending once it is merged", await scene.phone.pending(), [])
    expect("the title shown once it is merged", await scene.phone.titles(), written("a"))
    await scene.phone.settle()
    expect("the counters pushed meanwhile", scene.counters(), [1])
    scene.model.database, scene.model.sequence = "model-2", 1
    scene.model.rows.clear()
    scene.model.taken[2] = []
    await scene.phone.sync()
    await scene.phone.settle()
    scene.expect_once()
    expect("the title at the server", scene.states("s1")["title"][2], "a")
    expect("the title shown", await scene.phone.titles(), written("a"))
