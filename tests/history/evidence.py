"""What the checks share: the writes that count, by field, and the row versions that were seen.

Made once per history, from the tale.
"""

from collections import defaultdict
from functools import cached_property

from tests.history.effects import ALIVE, Mark, effects_of
from tests.history.models import MODELS, Written
from tests.history.presence import Presence
from tests.history.tale import IN_EFFECT


class Evidence:
    """A tale with its writes in order; checks take one and yield violations."""

    def __init__(self, tale):
        self.tale = tale
        self.counted = defaultdict(int)
        """How many situations of each kind the checks have looked at."""

    @cached_property
    def in_force(self):
        """The claims that the primary has taken and merged, by device and counter.

        A number that only a replaced primary gave is nobody's in the database that counts.
        """
        devices = self.tale.ledger.devices
        found = {
            identity: claim
            for identity, claim in self.tale.ledger.taken.items()
            if claim.outcome in IN_EFFECT and (not devices or identity[0] in devices)
        }
        return dict(sorted(found.items()))

    @cached_property
    def effects(self):
        """What each claim in force writes: identity to {(key, field): (kind, payloads)}."""
        schema = self.tale.schema
        return {
            identity: effects_of(claim.changes, schema) for identity, claim in self.in_force.items()
        }

    @cached_property
    def marks(self):
        """Who wrote, of each claim in force."""
        return {
            identity: Mark(identity[0], identity[1], claim.low, claim.high)
            for identity, claim in self.in_force.items()
        }

    @cached_property
    def writes(self):
        """The writes that count, by (key, field), in the order of device and counter."""
        found = defaultdict(list)
        for identity, effects in self.effects.items():
            claim, mark = self.in_force[identity], self.marks[identity]
            for (key, name), (kind, payloads) in effects.items():
                confirmed = {}
                if claim.confirmed and not self.tale.ledger.is_forked:
                    # A database that was set back may get the removal before the addition again.
                    confirmed = {
                        (element, n): counter
                        for (at, field, element, n), counter in claim.confirmed.items()
                        if (at, field) == (key, name)
                    }
                found[key, name] += [
                    Written(claim, mark, payload, confirmed) for payload in payloads
                ]
                self.counted[kind] += 1
        return found

    @cached_property
    def presence(self):
        """Which of these effects a viewer must show, and whether it does."""
        return Presence(self)

    @cached_property
    def last_server(self):
        """The last whole look at the database that counts in the end, None without one."""
        ledger = self.tale.ledger
        looks = [
            look
            for look in self.tale.looks
            if look.is_server and look.event["role"] == "primary"
            and look.database == ledger.database
        ]  # fmt: skip
        return looks[-1] if looks else None

    @cached_property
    def spaces(self):
        """The space of every row ever seen."""
        found = {}
        for look in self.tale.looks:
            for row in look.changed:
                found[row.key] = row.space
        return found

    @cached_property
    def versions(self):
        """Every version of every row that counts: key to [(look index, row)], by sequence."""
        found = defaultdict(dict)
        for look in self.tale.looks:
            if look.is_valid:
                for row in look.changed:
                    if row.told_digest is None:
                        found[row.key].setdefault(row.sequence, (look.index, row))
        return {key: [found[key][sequence] for sequence in sorted(found[key])] for key in found}

    @cached_property
    def _made(self):
        """Every identity: the claims that have had it, and when they were made."""
        found = defaultdict(list)
        for claim in self.tale.claims:
            for n in claim.ns:
                found[n, claim.c].append(claim)
        return found

    def made_as(self, identity, index):
        """Return the mutations that had an identity by then: several after a phone was copied."""
        return [claim for claim in self._made[identity] if claim.index <= index]

    @cached_property
    def is_timed(self):
        """Whether the sequence of every mutation is known: then every version can be judged."""
        return bool(self.tale.ledger.sequences) and all(
            claim.s is not None for claim in self.in_force.values()
        )

    def judge(self, kinds):
        """Yield (index, key, field, what) for every version of every field that a model refutes.

        Versions before the last are judged only where the sequences of all writes are known.
        """
        last = self.last_server
        for key, versions in self.versions.items():
            declared = self.tale.schema.collections.get(key[0])
            if declared is None:
                continue
            names = [ALIVE] if "alive" in kinds else []
            names += [
                name for name in declared.fields if self.tale.schema.kind(key[0], name) in kinds
            ]
            final = None if last is None else last.rows.get(key)
            for name in names:
                yield from self._judge_field(key, name, declared, versions, final)

    def _judge_field(self, key, name, declared, versions, final):
        ledger = self.tale.ledger
        spec = declared.fields.get(name)
        model = MODELS["alive" if name == ALIVE else spec["kind"]]
        writes = self.writes.get((key, name), [])
        own = ledger.is_own(key)
        horizon = ledger.collected.get(key, 0)
        if horizon:
            if any(write.claim.s is None for write in writes):
                return
            writes = [write for write in writes if write.claim.s > horizon]
        is_known = self.is_timed
        seen = None
        for index, row in versions:
            is_last = final is not None and row.sequence == final.sequence
            if not is_last and (not is_known or row.sequence <= horizon):
                continue
            state = row.alive if name == ALIVE else row.fields.get(name)
            included = writes
            if not is_last:
                until = ledger.included(row.sequence)
                if until is None:
                    continue
                included = [write for write in writes if write.claim.s <= until]
            if seen == (state, len(included)):
                continue
            seen = (state, len(included))
            self.counted["versions"] += 1
            wrong = model(spec, state, included, own=own)
            if wrong:
                yield index, key, name, wrong
