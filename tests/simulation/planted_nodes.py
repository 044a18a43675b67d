"""Bugs of the nodes: in the writer, the merge, what is asked of rows, and what is read."""

import re
from functools import partial

from core import compensate, judge
from core.changes import Operation
from core.crdt import dots
from core.crdt.bounded_counter import BoundedCounter
from edge.repositories.digests import SqlDigests
from edge.repositories.members import SqlMembers
from edge.repositories.rows import SqlRows
from edge.repositories.sql.table import Table
from edge.services import pulls
from edge.services.fleet.hearing import Hearing
from edge.services.ingest import commit, ledger
from edge.services.members import next_sequence
from edge.services.provisional import Provisionals
from tests.simulation.planting import merging_otherwise, replaced, together

LOST = {"title"}
"""The edits that are not written: one register alone, so that little else goes wrong."""
CUT_FROM = 6
CUT = 3
"""Of a round with so many sequences, the cursor leaves some for the next, all but one of which are
in its rows already.
"""


# --- the writer ------------------------------------------------------------------------------


def titles_lost():
    """The writer answers `merged` for a title that it has not given to the database."""

    def make(original):
        def merge(self, writes, befores):
            kept = [
                (delta, sequence) for delta, sequence in writes
                if delta.alive is not None or delta.fields.keys() != LOST
            ]  # fmt: skip
            return original(self, kept, befores)

        return merge

    return replaced(ledger.Ledger, "merge", make)


def repeats_told_merged():
    """A repeated push is told that all of it was merged, what was refused too."""

    def make(_original):
        return lambda _unit, _n, first, last: ([(first, last, 0)], [])

    return together(
        replaced(commit, "stored_answers", make), replaced(pulls, "stored_answers", make)
    )


def order_of_device_forgotten():
    """The writer rebases each clock value alone, whatever the device's one before it was."""

    def make(original):
        return lambda **given: original(**{**given, "previous": 0})

    return replaced(commit, "effective", make)


def counts_only_up():
    """The merge leaves out additions below zero."""
    return merging_otherwise(
        partial(re.sub, r"THEN t\.(\S+) \+ (excluded\.\S+) ELSE", r"THEN t.\1 + max(\2, 0) ELSE")
    )


def escrow_without_pool():
    """A use that no right covers is granted, whether there is stock or not."""

    def make(original):
        def admit(self, before, payload, at):
            if "use" not in payload:
                return original(self, before, payload, at)
            missing = max(payload["use"] - self.rights(before, at.n), 0)
            return [[at.n, 0, missing, payload["use"], 0]]

        return admit

    return replaced(BoundedCounter, "admit", make)


def removes_unseen():
    """A remove takes every addition there is, seen or not."""

    def make(original):
        def seen_at_most(named, *, author, counter, known):
            named = [*named, *([n, added] for n, added in known.items() if added)]
            return original(named, author=author, counter=counter, known=known)

        return seen_at_most

    return replaced(dots, "seen_at_most", make)


def ranks_stay():
    """The merge compares the epochs of a ranked field, and not the ranks."""
    pattern = r'\((excluded\.\S+__e"?), excluded\.\S+\) > \((t\.\S+), t\.\S+\)'
    return merging_otherwise(partial(re.sub, pattern, r"\1 > \2"))


def nothing_unique():
    """Nobody looks whether a value is taken, and no index refuses it."""
    return together(
        replaced(SqlRows, "unique_holder", lambda _original: lambda *_given: []),
        replaced(Table, "_constraint_indexes", lambda _original: lambda _self: []),
    )


def referrers_stay():
    """The rows that refer to a deleted one are not deleted with it."""
    return replaced(SqlRows, "referrers", lambda _original: lambda *_given: [])


def cycles_stay():
    """Nobody looks whether a move closes a cycle."""
    return replaced(compensate.Compensator, "_check_tree", lambda _original: lambda *_given: None)


def edits_revive():
    """An edit of a deleted row brings it back, in collections where a delete wins too."""

    def make(original):
        def alive_write(declared, change, before, at, verdict):
            is_edit = change.operation is Operation.EDIT
            if is_edit and before is not None and not before.alive[2] and not declared.edit_wins:
                return (at.h, at.n, True)
            return original(declared, change, before, at, verdict)

        return alive_write

    return replaced(judge, "_alive_write", make)


def reports_take_sequences():
    """Each report of an edge whose phones have read something takes a sequence."""

    def make(original):
        async def report(self, caller, body):
            heard = await original(self, caller, body)
            for name in body.acknowledged:
                tenant = await self._node.tenant(name)
                tenant.sequence = await tenant.database.write(next_sequence)
            return heard

        return report

    return replaced(Hearing, "report", make)


# --- reading ---------------------------------------------------------------------------------


def rows_before_their_time():
    """A page has rows beyond its cursor, in the middle of whatever mutation that is of."""

    def make(original):
        def page(self, session, pull, accepted, unit, now):  # noqa: PLR0917  (as what it replaces)
            cursor = pull.cursor
            if cursor is None or cursor.backfill or now - cursor.sequence < CUT_FROM:
                return original(self, session, pull, accepted, unit, now)
            with replaced(pulls.Pulls, "digests", lambda _original: lambda *_given: {}):
                found = original(self, session, pull, accepted, unit, now - 1)
            found.merged_through = 0
            if found.checkpoint is not None:
                found.cursor.sequence -= CUT - 1
            return found

        return page

    return replaced(pulls.Pulls, "_page", make)


def cursors_go_back():
    """A replica that is behind a cursor answers as far as it has come."""

    def make(original):
        def page(self, session, pull, accepted, unit, now):  # noqa: PLR0917  (as what it replaces)
            if not self._standing.is_replica:
                return original(self, session, pull, accepted, unit, now)
            with replaced(pulls, "furthest", lambda _original: lambda _cursor: 0):
                return original(self, session, pull, accepted, unit, now)

        return page

    return replaced(pulls.Pulls, "_page", make)


def lost_spaces_untold():
    """A phone is not told of spaces that its person has left."""

    def make(original):
        def changed(self, person, *, after):
            return [member for member in original(self, person, after=after) if member.role]

        return changed

    return replaced(SqlMembers, "changed", make)


def digests_keep_the_deleted():
    """The digests of a space keep the rows that were deleted."""

    def make(original):
        return lambda self, deltas: original(self, [each for each in deltas if each.rows >= 0])

    return replaced(SqlDigests, "add", make)


def provisional_for_everybody():
    """What edges have accepted is shown to people of other spaces too."""

    def make(original):
        return lambda self, session, members, unjudged: original(
            self, session, _Everywhere(members), unjudged
        )

    return replaced(Provisionals, "of_device", make)


class _Everywhere(dict):
    """The memberships of a person who is in every space."""

    def __contains__(self, _space):
        return bool(self)

    def __missing__(self, _space):
        return next(iter(self.values()))
