"""The kit's app, with faults in the node that loads it.

The file that CONFORMANCE_BUG names holds the name of the fault that is at work; it is read whenever
a fault might do something, so that one process serves all of them.
"""

import dataclasses
import os
from pathlib import Path

import msgspec

from conformance.server.known_app import app
from edge.controllers import sync
from edge.errors import CounterGap
from edge.repositories.rows import SqlRows
from edge.repositories.sql import table
from edge.services.devices import Devices
from edge.services.ingest import commit
from edge.services.ingest.commit import GroupCommit
from edge.services.pulls import Pulls
from sync_protocol.errors import MalformedMessage
from sync_protocol.mutations import Malformed
from sync_protocol.session import events as on
from sync_protocol.session.server import ServerSession

__all__ = ["app"]
CASES = {
    "repeats_are_new": "push/exactly-once",
    "gaps_are_taken": "push/gap",
    "clones_are_believed": "push/clone",
    "malformed_mutations_block": "push/quarantined",
    "stamps_are_believed": "push/own-the-future",
    "conflicts_are_silent": "push/superseded",
    "ties_go_to_whoever_comes_last": "push/ties",
    "a_row_is_left_out": "read/small-pages",
    "digests_are_wrong": "read/small-pages",
    "lost_spaces_are_not_told": "read/gained-and-lost",
    "gained_spaces_are_not_told": "read/another-role",
    "every_protocol_is_spoken": "wire/hello-refused",
    "pokes_are_lost": "stream/pokes",
}
"""Each fault, and the case that has to find it."""


def is_on(name):
    return Path(os.environ["CONFORMANCE_BUG"]).read_text("utf-8") == name


def faulty(owner, method, name=""):
    """Put a function before a method, for as long as the fault it is named after is at work."""
    original = getattr(owner, method)

    def planted(instead):
        def called(*arguments, **named):
            if is_on(name or instead.__name__):
                return instead(original, *arguments, **named)
            return original(*arguments, **named)

        setattr(owner, method, called)
        return instead

    return planted


@faulty(GroupCommit, "_without_repeats")
def repeats_are_new(_original, self, push, device, _taken):
    return self._numbered(push, device)


@faulty(GroupCommit, "_without_repeats")
def gaps_are_taken(original, self, push, device, taken):
    try:
        return original(self, push, device, taken)
    except CounterGap:
        return push.mutations


@faulty(commit, "same_prefix")
def clones_are_believed(_original, _unit, _n, repeated, **_):
    return len(repeated)


@faulty(sync, "decode_mutations")
def malformed_mutations_block(original, push, media):
    mutations = original(push, media)
    if any(isinstance(mutation, Malformed) for mutation in mutations):
        raise MalformedMessage("a mutation is malformed")
    return mutations


@faulty(commit, "effective")
def stamps_are_believed(_original, *, h, **_):
    return h


@faulty(GroupCommit, "_answer")
def conflicts_are_silent(original, self, taken):
    pushed = original(self, taken)
    receipts = [msgspec.structs.replace(r, conflicts=[]) for r in pushed.receipts]
    return msgspec.structs.replace(pushed, receipts=receipts)


@faulty(SqlRows, "feed")
def a_row_is_left_out(original, self, *arguments, **named):
    return [row for row in original(self, *arguments, **named) if row.sequence % 7]


@faulty(Pulls, "digests")
def digests_are_wrong(original, self, unit, members):
    return {space: digest[::-1] for space, digest in original(self, unit, members).items()}


@faulty(Pulls, "pull")
async def lost_spaces_are_not_told(original, self, session, message):
    return msgspec.structs.replace(await original(self, session, message), lost=[])


@faulty(Pulls, "pull")
async def gained_spaces_are_not_told(original, self, session, message):
    return msgspec.structs.replace(await original(self, session, message), gained=[])


@faulty(Devices, "_check")
def every_protocol_is_spoken(original, self, hello):
    original(self, msgspec.structs.replace(hello, protocol=1))


SILENCED = set()


@faulty(ServerSession, "handle")
def pokes_are_lost(original, self, event):
    """Lose the first poke of each stream."""
    if isinstance(event, on.Changed) and not event.poke.is_news and id(self) not in SILENCED:
        SILENCED.add(id(self))
        return []
    return original(self, event)


def ties_go_to_whoever_comes_last():
    """Statements are cached, so this one is always at work; nothing but a tie notices."""
    original = table._merge_statement

    def merge_statement(owner, shape):
        statement = original(owner, shape)
        sql = statement.sql.replace(
            "(excluded.title__h, excluded.title__n) > (t.title__h, t.title__n)",
            "excluded.title__h >= t.title__h",
        )
        return dataclasses.replace(statement, sql=sql)

    table._merge_statement = merge_statement  # pyright: ignore[reportAttributeAccessIssue]


ties_go_to_whoever_comes_last()
