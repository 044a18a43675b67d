"""Which writes of a mutation a viewer's rows must show, and whether they do."""

from collections import defaultdict
from functools import cached_property

from tests.history.effects import shows
from tests.history.tale import PRIMARY


class Presence:
    """Answers, per mutation in force and per look; made from the evidence once."""

    def __init__(self, evidence):
        self._evidence = evidence
        self._schema = evidence.tale.schema
        self._collected = evidence.tale.ledger.collected

    @cached_property
    def effects(self):
        """identity -> {space: [(key, field, kind, payloads)]}; rows never seen have space ""."""
        spaces = self._evidence.spaces
        found = {}
        for identity, effects in self._evidence.effects.items():
            by_space = found[identity] = defaultdict(list)
            for (key, name), (kind, payloads) in effects.items():
                by_space[spaces.get(key) or _inserted(self._evidence, identity, key)].append(
                    (key, name, kind, payloads)
                )
        return found

    @cached_property
    def perishable(self):
        """Rows that somebody has deleted: their tombstones may be gone."""
        deleted = {
            key
            for effects in self._evidence.effects.values()
            for (key, _), (kind, payloads) in effects.items()
            if kind == "alive" and not payloads[0]
        }
        for key, versions in self._evidence.versions.items():
            if any(not row.is_alive for _, row in versions):
                deleted.add(key)
        return deleted | self._collected.keys()

    @cached_property
    def by_row(self):
        """key -> identities that write to it, by device and counter."""
        found = defaultdict(list)
        for identity, effects in self._evidence.effects.items():
            for key in dict.fromkeys(key for key, _ in effects):
                found[key].append(identity)
        return found

    def answers(self, identity, look):
        """Return space -> answers of the effects that the viewer may see (effects.shows)."""
        claim, mark = self._evidence.in_force[identity], self._evidence.marks[identity]
        found = {}
        for space, effects in self.effects[identity].items():
            if not look.is_server and space not in look.event["spaces"]:
                continue
            answers = found[space] = []
            for key, name, kind, payloads in effects:
                if not self._is_seen(look, space, key[0]):
                    continue
                row = look.rows.get(key)
                answer = self._undecided(claim, row, key)
                if answer is _ASK and not row.is_alive and _is_newer(claim, look):
                    answer = None  # A lens leaves fields out, and no digest of the dead tells.
                if answer is _ASK:
                    answer = shows(kind, payloads, mark, row, name)
                answers.append(answer)
        return found

    def _is_seen(self, look, space, collection):
        return look.is_server or self._schema.may_read(collection, look.event["spaces"][space])

    def _undecided(self, claim, row, key):
        """Return an answer that no state is needed for, or _ASK."""
        if key in self._collected and (claim.s is None or claim.s <= self._collected[key]):
            return None
        if row is None:
            return None if key in self.perishable else False
        return _ASK if row.told_digest is None else None


_ASK = object()


def _is_newer(claim, look):
    return (claim.origin.version or 0) > (look.version or claim.origin.version or 0)


def _inserted(evidence, identity, key):
    for change in evidence.in_force[identity].changes:
        if (change["collection"], change["id"]) == key and change.get("space"):
            return change["space"]
    return ""


def is_fresh(look, before):
    """Tell whether a viewer may hold less than before for good reasons: it has read from zero, was
    set back, or its spaces have changed.
    """
    if before is None or look.is_set_back or look.why == "reset":
        return True
    if look.is_server:
        return look.sequence < before.sequence or look.database != before.database
    return look.event["spaces"] != before.event["spaces"]


__all__ = ["PRIMARY", "Presence", "is_fresh"]
