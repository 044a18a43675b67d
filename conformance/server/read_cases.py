"""What a server lets devices read: all of it, nothing else, and provably so."""

from __future__ import annotations

from typing import Final

import msgspec

from conformance.case import CaseList, Skipped, expect, require
from conformance.server.independent import bucket_of, digest_of, is_canonical, opened
from conformance.server.node import BEN, Node, refusal
from conformance.server.raw_phone import RawPhone, Round, take_rows
from sync_protocol import limits
from sync_protocol.messages.cursor import Cursor

read: Final = CaseList[Node]("read")
COLLECTIONS: Final = ("item", "every")


def expect_digests(known: Round, told: Round) -> None:
    """The digests of a checkpoint are those of the rows that a device now holds."""
    checkpoint = told.last.checkpoint
    require("a checkpoint on the last page", holds=checkpoint is not None, got=None)
    assert checkpoint is not None
    for space, digest in checkpoint.digests.items():
        expect(f"the digest of {space}", digest.hex(), digest_of(known.of_space(space)))


@read("hello")
async def _hello(node: Node) -> None:
    """An installation keeps its number, another one gets another, and nobody is 0 or 1."""
    phone, other = RawPhone(node), RawPhone(node)
    welcome, theirs = await phone.hello(), await other.hello()
    expect("protocol", welcome.protocol, 1)
    require("device", holds=welcome.device > 1, got=welcome.device, expected="above 1")
    require("another device", holds=theirs.device != welcome.device, got=theirs.device)
    expect("the same installation", (await phone.hello()).device, welcome.device)
    drift = abs(welcome.clock - node.clock())
    require(
        "the server's clock", holds=drift < 60_000 << 12, got=welcome.clock, expected="near ours"
    )
    require("resume", holds=welcome.resume != "current", got=welcome.resume)


@read("resume")
async def _resume(node: Node) -> None:
    """A hello is told how its cursor goes on: nothing new, from there, or from zero."""
    phone = await RawPhone.greeted(node)
    cursor = (await phone.round()).last.cursor
    expect("nothing new", (await phone.hello(cursor=cursor)).resume, "current")
    await phone.push(phone.insert(node.new_id(), title="a"))
    expect("something new", (await phone.hello(cursor=cursor)).resume, "replay")
    foreign = Cursor(node.new_id("database"), 1)
    expect("a foreign cursor", (await phone.hello(cursor=foreign)).resume, "reset")


@read("small-pages")
async def _small_pages(node: Node) -> None:
    """However small the pages, a round brings every row once, in the order of sequences."""
    phone = await RawPhone.greeted(node)
    before = (await phone.round()).last.cursor
    rows = [node.new_id() for _ in range(23)]
    await phone.push(*(phone.insert(row, title=row) for row in rows))
    whole = await phone.round(rows_max=limits.ROWS_PER_PAGE_MAX)
    expect_digests(whole, whole)
    bad = [row.hex() for row in whole.rows.values() if not is_canonical(row)]
    expect("rows that are not canonical", bad, [])
    some = max(len(whole.rows) // 12, 1)
    for start, rows_max in ((None, some), (before, 1), (before, 3), (before, 10_000)):
        told = await phone.round(start, rows_max=rows_max)
        for page in told.pages:
            got = Round()
            take_rows(got, page.spaces)
            count = len(got.sequences)
            require("rows of a page", holds=count <= rows_max, got=count, expected=rows_max)
        own = {key[2] for key in told.rows} & set(rows)
        expect(f"our rows, {rows_max} to a page", sorted(own), sorted(rows))
        expect("rows that came twice", len(told.sequences) - len(told.rows), 0)
        if start is None:
            expect_digests(told, told)


@read("written-meanwhile")
async def _written_meanwhile(node: Node) -> None:
    """What is written between two pages of a round is in it, and the checkpoint is true."""
    phone, other = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    rows = [node.new_id() for _ in range(6)]
    await phone.push(*(phone.insert(row, title="old") for row in rows))
    told = Round()
    while not told.pages or told.last.more:
        page = await phone.pull(told.last.cursor if told.pages else None, rows_max=4)
        told.pages.append(page)
        take_rows(told, page.spaces)
        if len(told.pages) <= 5:
            row = rows[len(told.pages) - 1]
            await other.push(other.edit(row, title="new"), other.insert(node.new_id(), title="b"))
        require("pages", holds=len(told.pages) < 1_000, got=len(told.pages), expected="an end")
    expect_digests(told, told)


@read("changes-only")
async def _changes_only(node: Node) -> None:
    """From a cursor on only what has changed comes, each row once, as it stands."""
    phone, one, two = await RawPhone.greeted(node), node.new_id(), node.new_id()
    await phone.push(phone.insert(one, title="a"), phone.insert(two, title="a"))
    whole = await phone.round()
    quiet = await phone.round(whole.last.cursor)
    expect("rows when nothing has changed", len(quiet.rows), 0)
    for number in range(5):
        await phone.push(phone.edit(one, title=f"t{number}", amount={"add": 1}))
    told = await phone.round(whole.last.cursor)
    expect("the rows that have changed", [key[2] for key in told.rows], [one])
    expect("the title", told.state(one)["title"][2], "t4")
    whole.rows.update(told.rows)
    expect_digests(whole, told)


@read("tombstones")
async def _tombstones(node: Node) -> None:
    """A deletion is told, counts in no digest, keeps concurrent edits, and can be undone."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    await phone.push(phone.insert(row, title="a"))
    whole = await phone.round()
    await phone.push(
        phone.mutation(phone.change(row, "delete")), phone.edit(row, amount={"add": 2})
    )
    told = await phone.round(whole.last.cursor)
    expect("whether it is alive", told.alive(row)[2], expected=False)
    whole.rows.update(told.rows)
    expect_digests(whole, told)
    await phone.push(phone.mutation(phone.change(row, "restore")))
    back = await phone.round(told.last.cursor)
    expect("whether it is alive again", back.alive(row)[2], expected=True)
    expect("what was merged meanwhile", back.state(row)["amount"], [0, 2])
    whole.rows.update(back.rows)
    expect_digests(whole, back)


@read("read-your-writes")
async def _read_your_writes(node: Node) -> None:
    """A page that waits for a push's sequence has what was pushed."""
    phone, row = await RawPhone.greeted(node), node.new_id()
    pushed = await phone.push(phone.insert(row, title="a"))
    told = await phone.round(wait_for=pushed.sequence)
    reached = told.last.cursor.sequence
    require("the cursor", holds=reached >= pushed.sequence, got=reached, expected=pushed.sequence)
    expect("the title", told.state(row)["title"][2], "a")


@read("cursor-unknown")
async def _cursor_unknown(node: Node) -> None:
    """Cursors of other databases and of the future are not known."""
    phone = await RawPhone.greeted(node)
    cursor = (await phone.round()).last.cursor
    foreign = Cursor(node.new_id("database"), cursor.sequence)
    expect("a foreign one", (await refusal(phone.pull(foreign))).fault, "cursor-unknown")
    future = Cursor(cursor.database, cursor.sequence + 1_000_000)
    expect("one of the future", (await refusal(phone.pull(future))).fault, "cursor-unknown")


@read("strangers")
async def _strangers(node: Node) -> None:
    """Nobody reads rows of a space they are not in, nor with another person's device."""
    ann, ben, row = (
        await RawPhone.greeted(node),
        await RawPhone.greeted(node, person=BEN),
        node.new_id(),
    )
    there = msgspec.structs.replace(ann.change(row, "insert", title="a"), space=node.other_space)
    await ann.push(ann.mutation(there))
    expect("Ann's row", (await ann.round()).state(row)["title"][2], "a")
    told = await ben.round()
    spaces = sorted({key[0] for key in told.rows} | set(told.gained))
    expect("whether Ben hears of it", node.other_space in spaces, expected=False)
    checkpoint = told.last.checkpoint
    digests = [] if checkpoint is None else list(checkpoint.digests)
    expect("whether its digest is told", node.other_space in digests, expected=False)
    refused = await refusal(ben.repair({}, space=node.other_space))
    expect("a repair of it", refused.fault, "not-found")
    ben.device = ann.device
    expect("another person's device", (await refusal(ben.round())).fault, "unknown-device")


@read("gained-and-lost")
async def _gained_and_lost(node: Node) -> None:
    """Who joins a space reads it from zero; who leaves is told, and reads no more of it."""
    if not node.people.can_manage:
        raise Skipped("there is no member command")
    ann, ben = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    rows = [node.new_id() for _ in range(5)]
    for row in rows:
        there = msgspec.structs.replace(
            ann.change(row, "insert", title="a"), space=node.other_space
        )
        await ann.push(ann.mutation(there))
    before = await ben.round()
    await node.people.set_member(node.other_space, BEN, "member")
    try:
        told = await ben.round(before.last.cursor, rows_max=2)
    finally:
        await node.people.remove_member(node.other_space, BEN)
    expect("the space gained", told.gained, [node.other_space])
    found = sorted({key[2] for key in told.rows} & set(rows))
    expect("its rows, written before", found, sorted(rows))
    before.rows.update(told.rows)
    expect_digests(before, told)
    gone = await ben.round(told.last.cursor)
    expect("the space lost", gone.lost, [node.other_space])
    await ann.push(ann.edit(rows[0], title="b"))
    later = await ben.round(gone.last.cursor)
    expect("rows of it afterwards", [key for key in later.rows if key[0] == node.other_space], [])
    expect(
        "an edit of it",
        (await ben.push(ben.edit(rows[0], title="c"))).receipts[0].outcome,
        "rejected",
    )


@read("another-role")
async def _another_role(node: Node) -> None:
    """Who gets another role is told so, and reads from zero what it may read."""
    if not node.people.can_manage:
        raise Skipped("there is no member command")
    ann, ben = await RawPhone.greeted(node), await RawPhone.greeted(node, person=BEN)
    item, every = node.new_id(), node.new_id()
    for collection, row in (("item", item), ("every", every)):
        change = ann.change(row, "insert", collection=collection)
        change.space = node.other_space
        await ann.push(ann.mutation(change))
    cursor = (await ben.round()).last.cursor
    try:
        for role, rows in (("guest", {item}), ("member", {item, every}), ("guest", {item})):
            await node.people.set_member(node.other_space, BEN, role)
            told = await ben.round(cursor)
            expect(f"what is gained by {role}", told.gained, [node.other_space])
            found = {key[2] for key in told.rows} & {item, every}
            expect(f"the rows for {role}", sorted(found), sorted(rows))
            expect_digests(told, told)
            cursor = told.last.cursor
        pushed = await ben.push(ben.edit(item, title="guest"))
        expect("a guest's edit", pushed.receipts[0].outcome, "rejected")
    finally:
        await node.people.remove_member(node.other_space, BEN)


def _buckets(rows: Round, space: str) -> dict[str, list[bytes]]:
    """Return the bucket digests of what was read, by our own sums."""
    found: dict[str, list[bytes]] = {}
    for name in COLLECTIONS:
        held = [
            row for (where, kind, _), row in rows.rows.items() if (where, kind) == (space, name)
        ]
        found[name] = [
            bytes.fromhex(digest_of(row for row in held if bucket_of(opened(row)[0]) == bucket))
            for bucket in range(16)
        ]
    return found


@read("repair")
async def _repair(node: Node) -> None:
    """Only damaged buckets come back, whole, and the digest is true."""
    phone = await RawPhone.greeted(node)
    await phone.push(*(phone.insert(node.new_id(), title="a") for _ in range(40)))
    told = await phone.round()
    digests = _buckets(told, node.space)
    whole = await phone.repair(digests)
    expect("damaged buckets when none is", msgspec.to_builtins(whole.damaged), [])
    expect("the digest", whole.digest.hex(), digest_of(told.of_space(node.space)))
    bucket = next(n for n in range(16) if digests["item"][n] != bytes(16))
    digests["item"][bucket] = b"\x07" * 16
    mended = await phone.repair(digests)
    expect("the damaged buckets", msgspec.to_builtins(mended.damaged), [
        {"collection": "item", "bucket": bucket}
    ])  # fmt: skip
    got = Round()
    take_rows(got, [mended.rows])
    wanted = {
        key: row.hex()
        for key, row in told.rows.items()
        if key[:2] == (node.space, "item") and bucket_of(key[2]) == bucket and opened(row)[1][2]
    }
    living = {key: row.hex() for key, row in got.rows.items() if opened(row)[1][2]}
    expect("the rows of the bucket", sorted(living.values()), sorted(wanted.values()))
