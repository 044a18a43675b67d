"""H03 exactly one outcome: whoever tells it, and however often.

Decided: all that phones are told of one mutation is the same outcome; the ledger says the same; a
mutation is merged under one identity only; one identity is one mutation, and no push of another one
is told its outcome; the ledger holds no mutation that nobody made; nobody is told of a counter that
was never used.

Excused: `accepted` is not an outcome; after `promote-force` or `restore` a mutation is judged anew,
and what is told from then on must be the same; what a primary told that had been replaced by then,
before or after what counts; between copies of a phone that nothing tells apart (one was restored
before it heard) nothing is decided; outcomes that retention had dropped (sequence 0); and once a
backup of the database was restored, each copy of a phone may have taken a new number of its own for
the same mutation, because the database had forgotten the old one.
"""

from collections import defaultdict

from tests.history.tale import FINAL, IN_EFFECT, PRIMARY

NAME = "H03 one outcome"


def check(evidence):
    tale, ledger = evidence.tale, evidence.tale.ledger
    for index, what in tale.complaints:
        if "never used" in what:
            yield index, what
    forks = [index for index, event in tale.operators if event["what"] in _FORKING]
    for claim in tale.claims:
        yield from _told(evidence, claim, forks)
    copied = {name for name, phone in tale.phones.items() if phone.set_back or phone.sources} | {
        name for phone in tale.phones.values() for name in phone.sources
    }
    is_restored = any(event["what"] == "restore" for _, event in tale.operators)
    for origin in tale.origins:
        if is_restored and origin.phone in copied:
            continue
        merged = {
            (claim.n, claim.c)
            for claim in origin.claims
            if claim.outcome in IN_EFFECT and ledger.taken.get((claim.n, claim.c)) is claim
        }
        if len(merged) > 1:
            yield origin.index, f"{origin} was merged under {sorted(merged)}"
    yield from _two_of_one(evidence)
    yield from _ghosts(evidence)


_FORKING = frozenset({"promote-force", "restore"})


def _told(evidence, claim, forks):
    previous = None
    for told in claim.told:
        index, phone, outcome = told[:3]
        if outcome not in FINAL:
            yield index, f"{phone} was told {outcome!r} of {claim}"
            continue
        evidence.counted[outcome] += 1
        if not _counts(evidence.tale, told):
            continue
        last, previous = previous, told
        if last is None or last[2] == outcome or any(last[0] < at < index for at in forks):
            continue
        yield index, f"{claim} was {last[2]} (told {last[1]}), then {outcome}"
    if previous is None or claim.outcome is None:
        return
    ledger = evidence.tale.ledger
    is_taken = any(ledger.taken.get((n, claim.c)) is claim for n in claim.ns)
    is_later = any(at > previous[0] for at in forks)
    if is_taken and ledger.has_outcomes and claim.outcome != previous[2] and not is_later:
        yield previous[0], f"{claim} was told {previous[2]}, and the ledger says {claim.outcome}"


def _two_of_one(evidence):
    """Yield identities under which two mutations were told, by answers to pushes, that they count:
    a server compares payloads.
    """
    by_identity = defaultdict(dict)
    for claim in evidence.tale.claims:
        for told in claim.told:
            has_sequence = evidence.tale.events[told[0]]["s"] > 0
            if told[7] == "push" and has_sequence and _counts(evidence.tale, told):
                by_identity[claim.n, claim.c].setdefault(claim.origin, told)
    for identity, told_of in by_identity.items():
        if len(told_of) > 1:
            first, second = list(told_of)[:2]
            yield told_of[second][0], f"{identity} was told to be {first}, and to be {second}"


def _counts(tale, told):
    """Tell whether an outcome is of a commit that the last primary goes on from: one that was
    replaced while nobody could tell it so may have gone on for a while.
    """
    return tale.ledger.is_valid(told[6], tale.events[told[0]]["s"] or 1)


def _ghosts(evidence):
    ledger = evidence.tale.ledger
    known = {i for claim in evidence.tale.claims for i in (claim.installation,)}
    for n, counter in sorted(ledger.outcome):
        if n == PRIMARY or ledger.devices.get(n, ("", "", 0))[1] not in known:
            continue
        if (n, counter) not in ledger.taken and (n, counter) not in ledger.rivals:
            yield -1, f"the ledger has ({n}, {counter}), which nobody made"
    evidence.counted["undecided identities"] += len(ledger.rivals)
