"""What the primary has judged, and which of it counts in the end.

A database that another primary goes on from counts up to what was kept of it (`lineage`); one that
was set back counts no more, and neither does what it judged.
"""

from bisect import bisect_left
from collections import defaultdict

SEQUENCE_MAX = 2**53
FORKING = frozenset({"promote-force", "restore"})


class Ledger:
    """Claims by (device number, counter), their outcomes, memberships, the primary's own log."""

    def __init__(self):
        self.database = None
        self.taken = {}  # (n, counter) -> the claim the primary took it for
        self.rivals = {}  # (n, counter) -> several claims between which nothing decides
        self.outcome = {}  # (n, counter) -> outcome, of the last ledger told
        self.devices = {}  # n -> (person, installation, counter)
        self.own = None  # (collection, row) of the primary's own changes; None: not told
        self.collected = {}  # key -> horizon at which what counts had dropped its tombstone
        self.collected_at = {}  # key -> index of the first look by which a node had
        self.dropped = defaultdict(list)  # key -> [(index of the look, horizon)], of each tombstone
        self.sequences = []  # of all judged mutations that count, ascending
        self.is_forked = False
        self.members = defaultdict(list)  # (person, space) -> [(sequence, role)], ascending
        self.has_outcomes = False
        self._kept = {}
        self._held = {}  # node -> the database it held last
        self._sources = {}  # database -> the one it was restored of; None: of none
        self._dropped = []  # (key, horizon, sequence, look): tombstones that a node had dropped
        self._led = []  # looks from which on another database than before has a primary
        self._judged = []
        self._judged_at = {}  # (n, counter, h) -> index of when it was judged first
        self._members = set()
        self._codes = {}

    # --- while the history is read ---------------------------------------------------------------

    def server(self, look, event):
        for key in look.gone:
            before = look.before.get(key)
            if before is not None and not before.is_alive:
                self._dropped.append((key, event["horizon"], before.sequence, look))
        for person, space, _, role, sequence in event.get("members") or ():
            self._members.add((person, space, sequence, role, event["database"]))
        self._note_source(look, event)
        if event["role"] != "primary":
            return
        if event["database"] != self.database:
            self._led.append(look)
        self.database = event["database"]
        self._kept = {}
        kept = SEQUENCE_MAX
        for database, sequence in reversed(event.get("lineage", [])):
            kept = min(kept, sequence)
            self._kept[database] = min(kept, self._kept.get(database, kept))
        self._kept[self.database] = SEQUENCE_MAX

    def _note_source(self, look, event):
        """Note of which database one that names none before it was restored: the node's last."""
        database, before = event["database"], self._held.get(look.viewer)
        if event["role"] == "primary" and database not in self._sources:
            named = {former for former, _ in event.get("lineage", ())}
            self._sources[database] = None if before in named else before
        self._held[look.viewer] = database

    def member(self, event):
        if event.get("s"):
            told = (event["person"], event["space"], event["s"], event["role"])
            self._members.add((*told, event.get("database") or self.database))

    def judged(self, index, event):
        self._judged.append((event.get("database") or self.database, event))
        self._judged_at.setdefault((event["n"], event["c"], event["h"]), index)

    def outcomes(self, event):
        self.has_outcomes = True
        self.outcome, self._codes = {}, {}
        self.devices = {n: (person, i, c) for n, person, i, c, _ in event["devices"]}
        for n, first, last, sequence in event["runs"]:
            for counter in range(first, last + 1):
                exact = sequence if counter == last else None
                self.outcome[n, counter] = ("merged", exact, 0)
        for n, counter, outcome, sequence, h, *code in event["receipts"]:
            self.outcome[n, counter] = (outcome, sequence, h)
            self._codes[n, counter] = code[0] if code else ""
        if "own" in event:
            self.own = {(collection, row) for _, collection, row, *_ in event["own"]}

    # --- afterwards ------------------------------------------------------------------------------

    def is_valid(self, database, sequence):
        """Tell whether what a database held at a sequence is part of what counts in the end."""
        if self.database is None:
            return True
        return database is not None and 0 < sequence <= self._kept.get(database, -1)

    def close(self, tale):
        """Settle which claims count, once the whole history is read."""
        self.is_forked = any(
            event["what"] in FORKING
            # Nobody knows whether the other node has heard: both may lead.
            or (event["what"] == "hand-over" and event.get("status", 200) != 200)
            for _, event in tale.operators
        )
        self._settle_identities(tale)
        self._settle_judged()
        self._settle_collected()
        for claim in tale.claims:
            self._settle_outcome(claim)
        self._bound(tale)
        self._settle_members()
        if self.sequences:
            self.sequences += [claim.s for claim in self.taken.values() if claim.s is not None]
        self.sequences = sorted(set(self.sequences))

    def included(self, sequence):
        """Return the sequence of the mutation that a row version belongs to: what was judged up to
        there is in the row. None when nothing tells it.
        """
        at = bisect_left(self.sequences, sequence)
        return self.sequences[at] if at < len(self.sequences) else None

    def role(self, person, space, sequence):
        """Return a person's role in a space at a sequence."""
        role = None
        for at, next_role in self.members.get((person, space), ()):
            if at > sequence:
                break
            role = next_role
        return role

    def granted(self, person, space, database):
        """Return the sequences at which a database, which may have been set back since, gave a
        person a role in a space.
        """
        return [
            sequence
            for who, where, sequence, role, by in self._members
            if (who, where, by) == (person, space, database) and role is not None
        ]

    def is_begun_anew(self, key, claim, sequence):
        """Tell whether a row of a sequence was inserted again after a tombstone that had a claim's
        writes was dropped: of the row before it nothing is left.
        """
        return any(
            horizon < sequence and (claim.index < index if claim.s is None else claim.s <= horizon)
            for index, horizon in self.dropped.get(key, ())
        )

    def is_own(self, key):
        """Tell whether the primary may have changed a row by itself."""
        return self.own is None or key in self.own

    def _settle_identities(self, tale):
        by_identity = defaultdict(list)
        for claim in tale.claims:
            numbers = claim.ns
            if not numbers:
                numbers = {n for n, (_, i, _) in self.devices.items() if i == claim.installation}
                claim.ns |= numbers
            for n in numbers:
                by_identity[n, claim.c].append(claim)
        for identity, claims in by_identity.items():
            origins = {claim.origin for claim in claims}
            if len(origins) == 1:
                self.taken[identity] = claims[-1]
                continue
            found = self._taken_of(identity, claims)
            if len({claim.origin for claim in found}) == 1:
                self.taken[identity] = found[-1]
            else:
                self.rivals[identity] = found or claims

    def _taken_of(self, identity, claims):
        """Return those of several claims to one identity that the primary may have taken: whose
        clock value it judged, who were told an outcome that counts, or any outcome at all, and
        which had no other identity later.
        """
        judged = {
            event["h"]
            for database, event in self._judged
            if (event["n"], event["c"]) == identity and self.is_valid(database, event["s"])
        }

        def was_judged(claim):
            # A copy whose clock is behind may give the same time again: later than judged.
            return (
                claim.origin.h in judged
                and claim.index < self._judged_at[*identity, claim.origin.h]
            )

        def was_told_what_counts(claim):
            return any(self.is_valid(told[6], told[3] or 1) for told in claim.told)

        def was_told(claim):
            return bool(claim.told)

        def was_never_renumbered(claim):
            return claim.origin.claims[-1] is claim

        found = []
        for may_be in (was_judged, was_told_what_counts, was_told, was_never_renumbered):
            found = [claim for claim in found or claims if may_be(claim)] or found
        return found

    def _settle_judged(self):
        before, counting, ancestors = {}, set(), self._ancestors()
        for database, event in self._judged:
            identity = event["n"], event["c"]
            if (claim := self.taken.get(identity)) is not None:
                claim.times.add(event["h"])
                claim.verdicts.add((database, event["o"]))
            if database is not None and not self.is_valid(database, event["s"]):
                if database in ancestors:
                    before[identity] = event["h"]
                continue
            self.sequences.append(event["s"])
            counting.add(identity)
            if claim is not None:
                claim.h, claim.s, claim.outcome = event["h"], event["s"], event["o"]
        for identity, h in before.items():
            # Judged by the database that a backup was taken of, and never again: its word stands.
            if identity not in counting and identity in self.taken and identity in self.outcome:
                self.taken[identity].h = h

    def _ancestors(self):
        """Return the databases that the last primary's goes on from, or was restored of."""
        found, left = set(), [*self._kept]
        while left:
            if (database := left.pop()) is not None and database not in found:
                found.add(database)
                left.append(self._sources.get(database))
        return found

    def _settle_collected(self):
        for key, horizon, sequence, look in self._dropped:
            if not self.is_valid(look.database, look.sequence):
                continue
            if any(_has_kept(led, look.database, key, horizon) for led in self._led):
                continue
            self.collected[key] = max(horizon, self.collected.get(key, 0))
            self.collected_at.setdefault(key, look.index)
            if sequence <= horizon:
                self.dropped[key].append((look.index, horizon))

    def _settle_outcome(self, claim):
        """Take the ledger's word first, then what phones were told of what counts."""
        for n in claim.ns:
            found = self.outcome.get((n, claim.c))
            if found is not None and self.taken.get((n, claim.c)) is claim:
                claim.outcome = found[0]
                claim.s = found[1] if claim.s is None else claim.s
                claim.h = claim.h or found[2] or None
                return
        if self.has_outcomes and not self.is_trimmed(claim):
            claim.outcome = None
            return
        for _, _, outcome, s, h, _, database, _ in claim.told:
            if self.is_valid(database, s or 1):
                claim.outcome = outcome
                claim.s = s if claim.s is None else claim.s
                claim.h = claim.h or h or None

    def is_trimmed(self, claim):
        """Tell whether the ledger has dropped the outcome: the device has come further."""
        return any(n in self.devices and claim.c <= self.devices[n][2] for n in claim.ns)

    def _bound(self, tale):
        """Bound the effective clock values that nothing tells: they grow with the counter."""
        by_device = defaultdict(dict)
        for (n, counter), claim in self.taken.items():
            by_device[n][counter] = claim
        stamps = _stamps(tale)
        for n, claims in by_device.items():
            counters = sorted(claims)
            untils = _next_sequences(claims[counter] for counter in reversed(counters))
            low = after = 0
            for counter, until in zip(counters, reversed(untils), strict=True):
                claim = claims[counter]
                h = claim.origin.h
                # Where clocks have jumped, a phone's value may be another write's at the primary.
                if claim.h is None and h and h > low:
                    found = stamps.get((h, n), {})
                    if any(after < found.get(key, 0) <= until for key in _keys_of(claim)):
                        claim.h = h
                low = claim.h or low + 1
                claim.low = low
                after = claim.s or after
            high = float("inf")
            for counter in reversed(counters):
                claim = claims[counter]
                high = claim.h or high - 1
                claim.high = high

    def _settle_members(self):
        for person, space, sequence, role, database in self._members:
            if database is None or self.is_valid(database, sequence):
                self.members[person, space].append((sequence, role))
        for changes in self.members.values():
            changes.sort(key=lambda change: change[0])


def _has_kept(led, database, key, horizon):
    """Tell whether a database that goes on from another has a tombstone that the other had dropped:
    a primary that was replaced may go on collecting, which takes no sequence.
    """
    if all(former != database for former, _ in led.event.get("lineage", ())):
        return False
    row = led.rows.get(key)
    return row is not None and (row.sequence <= horizon or led.event["horizon"] < horizon)


def _keys_of(claim):
    return {(change["collection"], change["id"]) for change in claim.changes}


def _stamps(tale):
    """Return every (h, n) that some register, alive or not, was ever seen with: by the key of the
    row that has it the lowest sequence.
    """
    found = defaultdict(dict)

    def note(stamp, row):
        found[stamp][row.key] = min(row.sequence, found[stamp].get(row.key, row.sequence))

    for look in tale.looks:
        for row in look.changed:
            note(row.alive[:2], row)
            for state in row.fields.values():
                if len(state) == 3 and isinstance(state[0], int):
                    note((state[0], state[1]), row)
    return found


def _next_sequences(claims):
    """Return up to which sequence each of a device's claims, the last first, was merged."""
    until, found = float("inf"), []
    for claim in claims:
        until = claim.s or until
        found.append(until)
    return found
