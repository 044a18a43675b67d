"""What a server makes of pushes: exactly once, in order, nothing held up, every outcome told."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from conformance.case import CaseList, Failed, expect, require
from conformance.server.node import BEN, Node, refusal
from conformance.server.raw_phone import RawPhone
from sync_protocol.messages.pushed import Pushed, Receipt

push: Final = CaseList[Node]("push")
DAY: Final = 86_400_000 << 12
TOLERANCE: Final = 5_000 << 12
SLACK: Final = 10_000 << 12
"""What lies between reading our clock and the server reading its own, on a busy machine."""


def outcomes(pushed: Pushed) -> dict[int, str]:
    """Return the outcome of each counter that an answer names."""
    merged = {
        counter: "merged" for first, last, _ in pushed.merged for counter in range(first, last + 1)
    }
    return merged | {receipt.counter: receipt.outcome for receipt in pushed.receipts}


def receipt_of(pushed: Pushed, counter: int) -> Receipt:
    """Return the receipt of a counter."""
    for receipt in pushed.receipts:
        if receipt.counter == counter:
            return receipt
    raise Failed(f"the receipt of counter {counter}", expected="there is one", got=outcomes(pushed))


def told(pushed: Pushed) -> Any:  # noqa: ANN401  (JSON)
    """Return what an answer says of its mutations; `sequence` of the whole may have gone on."""
    built = msgspec.to_builtins(pushed)
    return {name: built.get(name) for name in ("merged", "receipts")}


@push("exactly-once")
async def _exactly_once(node: Node) -> None:
    """A push that is repeated gets the answer it had, and is merged once."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    mutations = [
        phone.insert(row, title="a", amount={"add": 3}),
        phone.edit(row, amount={"add": 4}),
    ]
    first = await phone.push(*mutations)
    expect("outcomes", outcomes(first), {1: "merged", 2: "merged"})
    expect("merged_through", first.merged_through, 2)
    for _ in range(2):
        expect("the answer to a repeat", told(await phone.push(*mutations)), told(first))
    expect("the counter", (await phone.round()).state(row)["amount"], [0, 7])
    expect("merged_through at hello", (await phone.hello()).merged_through, 2)


@push("overlap")
async def _overlap(node: Node) -> None:
    """A push may begin with what is known and go on with what is new."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    old = [phone.insert(row, title="a", amount={"add": 1}), phone.edit(row, amount={"add": 1})]
    await phone.push(*old)
    new = [phone.edit(row, amount={"add": 1}), phone.edit(row, amount={"add": 1})]
    pushed = await phone.push(old[1], *new)
    expect("outcomes", outcomes(pushed), {2: "merged", 3: "merged", 4: "merged"})
    expect("the counter", (await phone.round()).state(row)["amount"], [0, 4])


@push("at-once")
async def _at_once(node: Node) -> None:
    """The same push three times at once is merged once."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    mutation = phone.insert(row, title="a", amount={"add": 5})
    answers = await asyncio.gather(*(phone.push(mutation) for _ in range(3)))
    for answer in answers[1:]:
        expect("the answer to a repeat", told(answer), told(answers[0]))
    expect("the counter", (await phone.round()).state(row)["amount"], [0, 5])


@push("gap")
async def _gap(node: Node) -> None:
    """A push that begins too late is refused as a whole, and told where to go on."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    await phone.push(phone.insert(row, title="a"))
    missing = phone.edit(row, amount={"add": 1})
    late = phone.edit(row, amount={"add": 10})
    refused = await refusal(phone.push(late))
    expect("the fault", refused.fault, "counter-gap")
    expect("merged_through", refused.document.get("merged_through"), 1)
    await phone.push(missing, late)
    expect("the counter", (await phone.round()).state(row)["amount"], [0, 11])


@push("clone")
async def _clone(node: Node) -> None:
    """A counter that comes with another payload is a clone's; nothing of it is merged."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    await phone.push(phone.insert(row, title="a"))
    mine = phone.edit(row, title="mine")
    await phone.push(mine)
    theirs = msgspec.structs.replace(mine, changes=[phone.change(row, title="theirs")])
    refused = await refusal(phone.push(theirs))
    expect("the fault", refused.fault, "cloned-device")
    expect("the title", (await phone.round()).state(row)["title"][2], "mine")


@push("clone-of-a-queue")
async def _clone_of_a_queue(node: Node) -> None:
    """A push that begins as it is known is answered as far as it repeats, and no further."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    first, second = phone.insert(row, title="a"), phone.edit(row, title="mine")
    await phone.push(first, second)
    theirs = msgspec.structs.replace(second, changes=[phone.change(row, title="theirs")])
    pushed = await phone.push(first, theirs)
    expect("the counters answered", sorted(outcomes(pushed)), [1])
    expect("the fault afterwards", (await refusal(phone.push(theirs))).fault, "cloned-device")


@push("rejected")
async def _rejected(node: Node) -> None:
    """A rule's rejection is a receipt with its reason; those behind it are merged."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    mutations = [
        phone.insert(row, title="a"),
        phone.edit(row, title="SHOUT"),
        phone.edit(row, title="b"),
    ]
    pushed = await phone.push(*mutations)
    expect("outcomes", outcomes(pushed), {1: "merged", 2: "rejected", 3: "merged"})
    receipt = receipt_of(pushed, 2)
    expect("code and fields", [receipt.code, receipt.fields], ["no-shouting", ["title"]])
    expect("the answer to a repeat", told(await phone.push(*mutations)), told(pushed))
    expect("the title", (await phone.round()).state(row)["title"][2], "b")


@push("no-access")
async def _no_access(node: Node) -> None:
    """Whoever is not in a space cannot write to it, and is not told whether a row is there."""
    ann, ben = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    hidden, mine = node.new_id(), node.new_id()
    there = ann.change(hidden, "insert", title="a")
    await ann.push(ann.mutation(msgspec.structs.replace(there, space=node.other_space)))
    into = ben.change(node.new_id(), "insert", title="b")
    pushed = await ben.push(
        ben.mutation(msgspec.structs.replace(into, space=node.other_space)),
        ben.edit(hidden, title="b"),
        ben.edit(node.new_id(), title="b"),
        ben.insert(mine, title="b"),
    )
    expect("outcomes", outcomes(pushed), {1: "rejected", 2: "rejected", 3: "rejected", 4: "merged"})
    hidden_receipt, missing_receipt = receipt_of(pushed, 2), receipt_of(pushed, 3)
    expect("the code for a hidden row", hidden_receipt.code, missing_receipt.code)


BAD: Final[dict[str, object]] = {
    "no changes": {"h": 1, "changes": []},
    "an unknown operation": {
        "h": 1,
        "changes": [{"collection": "item", "id": "r", "op": "upsert"}],
    },
    "an unknown collection": {"h": 1, "changes": [{"collection": "ghost", "id": "r"}]},
    "an unknown field": {
        "h": 1,
        "changes": [{"collection": "item", "id": "r", "fields": {"x": 1}}],
    },
    "a wrong type": {
        "h": 1,
        "changes": [{"collection": "item", "id": "r", "fields": {"title": 7}}],
    },
    "a bad id": {"h": 1, "changes": [{"collection": "item", "id": "/", "fields": {"title": "a"}}]},
    "a negative clock": {"h": -1, "changes": [{"collection": "item", "id": "r"}]},
    "an unknown member": {"h": 1, "x": 1, "changes": [{"collection": "item", "id": "r"}]},
    "no clock": {"changes": [{"collection": "item", "id": "r"}]},
}


@push("quarantined")
async def _quarantined(node: Node) -> None:
    """Whatever is malformed gets a receipt of its own; those around it are merged."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    sent: list[object] = [phone.insert(row, title="a")]
    for bad in BAD.values():
        phone.counter += 1
        assert isinstance(bad, dict)
        sent.append({"counter": phone.counter, **bad})
    sent.append(phone.edit(row, amount={"add": 1}))
    pushed = await phone.push(*sent)
    found = outcomes(pushed)
    for counter, name in enumerate(BAD, 2):
        expect(f"the outcome of {name}", found.get(counter), "quarantined")
    expect("the outcome of the last", found.get(phone.counter), "merged")
    expect("merged_through", pushed.merged_through, phone.counter)
    expect("the answer to a repeat", told(await phone.push(*sent)), told(pushed))
    expect("the counter", (await phone.round()).state(row)["amount"], [0, 1])


@push("unnumbered")
async def _unnumbered(node: Node) -> None:
    """A malformed mutation without a counter takes the one after the mutation before it."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    sent: list[object] = [phone.insert(row, title="a"), "nothing"]
    phone.counter += 1
    sent.append(phone.edit(row, amount={"add": 1}))
    pushed = await phone.push(*sent)
    expect("outcomes", outcomes(pushed), {1: "merged", 2: "quarantined", 3: "merged"})


@push("whole-mutations")
async def _whole(node: Node) -> None:
    """The changes of a mutation stand or fall together."""
    phone, one, two = await RawPhone.greeted(node), node.new_id(), node.new_id()
    await phone.push(phone.insert(one, title="a"), phone.insert(two, title="a"))
    both = phone.mutation(phone.change(one, title="b"), phone.change(two, title="SHOUT"))
    expect("outcomes", outcomes(await phone.push(both)), {3: "rejected"})
    read = await phone.round()
    titles = [read.state(row)["title"][2] for row in (one, two)]
    expect("the titles", titles, ["a", "a"])


@push("stamps")
async def _stamps(node: Node) -> None:
    """Stamps of a clock that is a day ahead are shifted, in their order, and stay what they are."""
    phone = await RawPhone.greeted(node)
    rows = [node.new_id() for _ in range(4)]
    ahead = node.clock() + DAY
    welcome = await phone.hello(clock=ahead)
    lead = f"about {DAY}"
    require(
        "skew in welcome", holds=abs(welcome.skew - DAY) < SLACK, got=welcome.skew, expected=lead
    )
    mutations = [
        phone.mutation(phone.change(row, "insert", title="a"), h=ahead + step)
        for row, step in zip(rows, (3, 1, 2, 0), strict=True)
    ]
    await phone.push(*mutations, clock=ahead)
    read = await phone.round()
    stamps = [read.alive(row)[0] for row in rows]
    require("the order of the stamps", holds=stamps == sorted(set(stamps)), got=stamps)
    bound = node.clock() + TOLERANCE
    require("the bound of the stamps", holds=max(stamps) <= bound, got=max(stamps) - bound)
    expect("their author", [read.alive(row)[1] for row in rows], [phone.device] * 4)
    await phone.push(*mutations, clock=ahead)
    again = await phone.round()
    expect("the stamps after a repeat", [again.alive(row)[0] for row in rows], stamps)


@push("own-the-future")
async def _own_the_future(node: Node) -> None:
    """One stamp far ahead of a right clock is bounded: it does not win for ever."""
    ann, ben, row = (
        await RawPhone.greeted(node),
        await RawPhone.greeted(node, person=BEN),
        node.new_id(),
    )
    insert = ann.mutation(ann.change(row, "insert", title="future"), h=node.clock() + 30 * DAY)
    await ann.push(insert)
    state = (await ann.round()).state(row)["title"]
    bound = node.clock() + TOLERANCE
    require("the stamp", holds=state[0] <= bound, got=state[0] - bound, expected="at most 0")
    seen = ben.change(row, title="later")
    seen.base, seen.seen = {"title": state[0]}, state[0]
    expect("outcomes", outcomes(await ben.push(ben.mutation(seen))), {1: "merged"})
    expect("the title", (await ann.round()).state(row)["title"][2], "later")


@push("own-times")
async def _own_times(node: Node) -> None:
    """A long offline queue of a right clock keeps its own times."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    old = node.clock() - DAY
    await phone.push(phone.mutation(phone.change(row, "insert", title="a"), h=old))
    expect("the stamp", (await phone.round()).state(row)["title"], [old, phone.device, "a"])


@push("superseded")
async def _superseded(node: Node) -> None:
    """A late write that loses is told so, with both values; nothing is lost in silence."""
    ann, ben, row = (
        await RawPhone.greeted(node),
        await RawPhone.greeted(node, person=BEN),
        node.new_id(),
    )
    start = node.clock() - DAY
    await ann.push(ann.mutation(ann.change(row, "insert", title="a"), h=start))
    later, earlier = ann.change(row, title="later"), ben.change(row, title="earlier")
    for change in (later, earlier):
        change.base, change.seen = {"title": start}, start
    await ann.push(ann.mutation(later, h=start + 20))
    pushed = await ben.push(ben.mutation(earlier, h=start + 10))
    expect("outcomes", outcomes(pushed), {1: "superseded"})
    (conflict,) = receipt_of(pushed, 1).conflicts
    expect("the conflict", msgspec.to_builtins(conflict), {
        "collection": "item", "id": row, "field": "title",
        "winner": {"value": "later", "h": start + 20, "n": ann.device},
        "loser": {"value": "earlier", "h": start + 10, "n": ben.device},
    })  # fmt: skip
    expect("the title", (await ben.round()).state(row)["title"][2], "later")


@push("ties")
async def _ties(node: Node) -> None:
    """Equal clock values: the larger device number wins, whoever comes first."""
    one, two = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    lower, upper = sorted((one, two), key=lambda phone: phone.device)
    start = node.clock() - DAY
    for order in ((lower, upper), (upper, lower)):
        row, start = node.new_id(), start + 100
        await one.push(one.mutation(one.change(row, "insert", title="a"), h=start))
        for phone in order:
            title = "upper" if phone is upper else "lower"
            await phone.push(phone.mutation(phone.change(row, title=title), h=start + 50))
        state = (await one.round()).state(row)["title"]
        expect("the winner of a tie", state, [start + 50, upper.device, "upper"])


@push("outcomes-with-a-page")
async def _unconfirmed(node: Node) -> None:
    """A page tells the outcomes from `unconfirmed` on once more."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    mutations = [
        phone.insert(row, title="a"),
        phone.edit(row, title="SHOUT"),
        phone.edit(row, title="b"),
    ]
    pushed = await phone.push(*mutations)
    last = (await phone.round(unconfirmed=2)).last
    expect("merged_through", last.merged_through, 3)
    found = {
        counter: "merged" for first, end, _ in last.merged for counter in range(first, end + 1)
    } | {receipt.counter: receipt.outcome for receipt in last.receipts}
    found.pop(1, None)
    expect("the outcomes", found, {2: "rejected", 3: "merged"})
    code = next(receipt.code for receipt in last.receipts if receipt.counter == 2)
    expect("the code", code, receipt_of(pushed, 2).code)
