"""Cursors of databases before a take-over: good as far as all since have kept what they read."""

import pytest

from edge.errors import CursorUnknown
from edge.services.lineage import REPLACED_MAX
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from tests.edge.services.harness import insert, principal_of

LINEAGE = [["a", 5], ["b", 3], ["c", 6]]


async def taken_over(node, lineage=LINEAGE):
    """A device, and a database that has been taken over three times; its sequence is above 6."""
    bob = await node.device("bob")
    for number in range(8):
        await bob.push(insert("item", f"i{number}"))
    await node.tenant.database.write(lambda unit: unit.meta.set("lineage", lineage))
    now = await node.tenant.database.read(lambda unit: unit.meta.get("sequence"))
    assert now > 6
    return bob, now


CASES = [
    (Cursor("a", 3), True),
    (Cursor("a", 4), False),  # kept by the first take-over, lost by the second
    (Cursor("b", 3), True),
    (Cursor("b", 4), False),
    (Cursor("c", 6), True),
    (Cursor("c", 7), False),
    (Cursor("z", 1), False),
    (Cursor("c", 2, Backfill(6, 4)), True),
    (Cursor("c", 2, Backfill(7, 4)), False),
    (Cursor("c", 2, Backfill(4, 7)), False),
]


@pytest.mark.parametrize(("cursor", "is_good"), CASES)
async def test_a_cursor_is_good_as_far_as_every_database_since_has_kept_it(node, cursor, is_good):
    """LN1."""
    bob, now = await taken_over(node)
    pull = Pull(bob.number, 1, cursor)
    hello = Hello(1, node.app.name, 1, "f" * 16, bob.installation, bob.clock(), cursor=cursor)
    welcome = await node.tenant.devices.hello(principal_of("bob"), hello)
    assert welcome.resume == ("replay" if is_good else "reset")
    if not is_good:
        with pytest.raises(CursorUnknown):
            await node.tenant.pulls.pull(bob.session, pull)
        return
    page = await node.tenant.pulls.pull(bob.session, pull)
    assert page.cursor == Cursor("database-1", now)
    assert not page.reset
    after = cursor.sequence if cursor.backfill is None else 0
    sequences = [row.sequence for row in (await node.rows()).values()]
    received = sum(map(len, _sequences(page)))
    assert received == sum(sequence > after for sequence in sequences) or cursor.backfill


async def test_nothing_new_is_current_under_the_other_name_too(node):
    bob, now = await taken_over(node, [["a", 9_000]])
    hello = Hello(
        1, node.app.name, 1, "f" * 16, bob.installation, bob.clock(), cursor=Cursor("a", now)
    )
    welcome = await node.tenant.devices.hello(principal_of("bob"), hello)
    assert (welcome.resume, welcome.database) == ("current", "database-1")


@pytest.mark.parametrize("older", [0, 3, REPLACED_MAX + 2])
async def test_a_welcome_names_the_last_databases_that_were_replaced(node, older):
    lineage = [[f"former-{number}", 1] for number in range(older)]
    bob, _ = await taken_over(node, lineage)
    hello = Hello(1, node.app.name, 1, "f" * 16, bob.installation, bob.clock())
    welcome = await node.tenant.devices.hello(principal_of("bob"), hello)
    assert welcome.replaced == [former for former, _ in lineage][-REPLACED_MAX:]


def _sequences(page):
    from sync_protocol.space_rows import decode_space_rows

    for space in page.spaces:
        for rows in decode_space_rows(space).collections.values():
            yield rows.sequences
