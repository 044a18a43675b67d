"""H02 nothing accepted is lost: not by the phone, not by an edge, not by the primary.

Decided: a mutation that was made is in its phone's file after a kill; in the end every mutation of
a phone that lives has an outcome; one that an edge accepted has one whatever became of the phone;
one that a phone was told is merged is merged in the ledger that counts; and a phone that has read
past the sequence of a mutation shows it, in every row it holds of it.

Excused: what a kill left between intent and local commit; what a backup did not have; mutations of
lost phones that nobody had accepted; after `restore`, what the database restored did not have, also
if a phone was told of it later, on the way or by an edge that still held the one before; after
`promote-force`, which overrules that another node has read further, what an edge had read from the
primary that was replaced and its phone was told is replicated, and may have dropped, and what no
phone has that is left; accepted ones at an edge that was removed; and accepted ones that a backup
of their phone did not have, if the phone has given their numbers again since, and the primary
judged that first, or if weeks passed, after which the person's session has ended.
"""

from tests.history.presence import is_fresh
from tests.history.tale import IN_EFFECT, REFUSED

NAME = "H02 nothing lost"


def check(evidence):
    tale = evidence.tale
    for index, what in tale.complaints:
        if "file" in what or "nothing" in what:
            yield index, what
    if tale.quiet is not None:
        yield from _unjudged(evidence)
    for claim in tale.claims:
        yield from _taken_back(evidence, claim)
    yield from _unshown(evidence)


def _unjudged(evidence):
    tale = evidence.tale
    alive = set()
    for phone in tale.phones.values():
        if not phone.is_lost:
            alive.update(phone.own)
    operators = {event["what"] for _, event in tale.operators}
    for origin in tale.origins:
        if any(claim.told or claim.outcome for claim in origin.claims):
            continue
        accepted = [claim for claim in origin.claims if claim.accepted_by]
        if accepted:
            if origin not in alive and all(_is_numbered_again(tale, claim) for claim in accepted):
                evidence.counted["numbers given again after a backup"] += 1
            elif _have_weeks_passed(tale) and all(_when_set_back(tale, c) for c in accepted):
                evidence.counted["sessions ended before a primary came back"] += 1
            elif not operators & {"remove-region", "restore", "promote-force"} or origin in alive:
                yield origin.index, f"{origin} was accepted by an edge, and never judged"
        elif origin in alive:
            yield origin.index, f"{origin} was never judged"
        else:
            evidence.counted["mutations lost with their phone"] += 1


def _is_numbered_again(tale, claim):
    """Tell whether the primary has judged what a phone wrote, after it was set back, under a number
    of this claim or before it: of two that have the same it takes one, and none that follows.
    """
    set_back = _when_set_back(tale, claim)
    return bool(set_back) and any(
        n in claim.ns
        and counter <= claim.c
        and other.outcome is not None
        and other.origin.phone == claim.origin.phone
        and other.origin.index > set_back[0]
        for (n, counter), other in tale.ledger.taken.items()
    )


def _when_set_back(tale, claim):
    return [at for at in tale.phones[claim.origin.phone].set_back if at > claim.index]


def _have_weeks_passed(tale):
    return any(event["e"] == "fault" and event["what"] == "weeks" for event in tale.events)


def _taken_back(evidence, claim):
    ledger = evidence.tale.ledger
    if not ledger.has_outcomes:
        return
    for index, phone, outcome, sequence, *_, database, _ in claim.told:
        if outcome not in IN_EFFECT:
            continue
        evidence.counted["told in effect"] += 1
        if any(other.outcome in IN_EFFECT | REFUSED for other in claim.origin.claims):
            continue
        is_set_back = not ledger.is_valid(database, sequence or 0)
        if _is_excused(evidence.tale, claim, index, is_set_back):
            evidence.counted["restored away"] += 1
            continue
        if is_set_back and _is_forced_away(evidence.tale, claim, database, index):
            evidence.counted["promoted away"] += 1
            continue
        yield index, f"{phone} was told that {claim} is {outcome}; {database} has not got it"


def _is_excused(tale, claim, told_at, is_set_back):
    owners = [phone for phone in tale.phones.values() if claim.origin in phone.own]
    for index, event in tale.operators:
        if event["what"] == "restore" and is_set_back:
            return True  # Told by a late message, or by an edge that had not heard of the restore.
        if event["what"] == "promote-force" and (is_set_back or index > told_at):
            if all(phone.is_lost for phone in owners):
                return True  # Nobody is left who would send it again.
        elif event["what"] == "restore" and index > told_at:
            return True
    return False


def _is_forced_away(tale, claim, database, told_at):
    """Tell whether an edge followed the replaced primary that far, and the phone knew (R1)."""
    sequence = tale.events[told_at]["s"]
    return (
        any(event["what"] == "promote-force" for _, event in tale.operators)
        and tale.phones[claim.origin.phone].replicated[database] >= sequence
        and any(by == database and at >= sequence for by, at in tale.arrivals)
    )


def _unshown(evidence):
    presence = evidence.presence
    by_sequence = sorted(
        (claim.s, identity) for identity, claim in evidence.in_force.items() if claim.s is not None
    )
    for viewer, looks in evidence.tale.by_viewer().items():
        at, before = 0, None
        for look in looks:
            if is_fresh(look, before):
                at = 0
            before = look
            if not look.is_valid:
                continue
            while at < len(by_sequence) and by_sequence[at][0] <= look.sequence:
                identity = by_sequence[at][1]
                at += 1
                evidence.counted["mutations shown"] += 1
                for space, answers in presence.answers(identity, look).items():
                    if False in answers:
                        claim = evidence.in_force[identity]
                        what = f"{claim} (merged at {claim.s}) in {space}"
                        yield (
                            look.index,
                            f"{viewer} has read up to {look.sequence} and does not show {what}",
                        )
