"""Whether a history of phones can be: nothing lost, nothing twice, no outcome taken back.

Pure: histories and final states in, complaints out. `Final` is what one phone shows in the end.

Invariants
  C1  a mutation that was merged (or superseded) shows its effect, once; one that was refused, none
  C2  every mutation of a phone that still lives has a final outcome
  C3  a mutation has one final outcome, whoever tells it and however often; after a take-over by
      force it may be judged anew, and then C1 holds for the last outcome
  C4  all phones show the same, and hold what the server holds
  C5  a phone that nobody has copied is never taken for a copy: it keeps its installation
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.faults.phones import SHARED

FINAL = frozenset({"merged", "superseded", "rejected", "quarantined"})
IN_EFFECT = frozenset({"merged", "superseded"})
SHOWN_MAX = 8
"""Complaints of one kind that are listed; the rest is counted."""


@dataclass
class Mutation:
    """What is known of one mutation; `is_made` is False while only the intent is known."""

    phone: str
    mid: str
    kind: str
    row: str
    delta: int
    is_made: bool = False
    outcomes: list[str] = field(default_factory=list)
    was_accepted: bool = False
    told: list[str] = field(default_factory=list)

    @property
    def has_note(self):
        return self.kind not in {"bare", "site"}

    @property
    def is_in_effect(self):
        return bool(self.outcomes) and self.outcomes[-1] in IN_EFFECT


@dataclass
class Final:
    """What a phone shows: sites and notes by row id, digests by space."""

    sites: dict
    notes: dict
    digests: dict


def told(events):
    """Follow a history; return the mutations by (phone, mid), and complaints about it."""
    tale = Tale()
    for event in events:
        getattr(tale, f"_{event['e']}")(event)
    made = {key: mutation for key, mutation in tale.found.items() if mutation.is_made}
    return made, tale.complaints


class Tale:
    """What a history has told so far; one method per event."""

    def __init__(self):
        self.found = {}  # (phone, mid) -> mutation
        self.complaints = []
        self._at = {}  # (phone, installation, counter) -> mutation
        self._by_h = {}  # (phone, h) -> mutation
        self._installation = {}  # phone -> installation

    def _intent(self, event):
        what, where = event["what"], _where(event)
        mutation = Mutation(event["p"], what["mid"], what["kind"], what["id"], what.get("delta", 0))
        before = self._at.get(where)
        if before is not None and not before.is_made:
            # The same counter again: the phone was killed before it had made the one before.
            self.found.pop((before.phone, before.mid), None)
        self.found[mutation.phone, mutation.mid] = self._at[where] = mutation

    def _made(self, event):
        mutation = self._at[_where(event)]
        mutation.is_made = True
        self._by_h[mutation.phone, event["h"]] = mutation

    def _opened(self, event):
        self._installation[event["p"]] = event["i"]
        for (phone, installation, counter), mutation in self._at.items():
            if (phone, installation) == (event["p"], event["i"]) and counter <= event["c"]:
                mutation.is_made = True

    def _renumbered(self, event):
        phone, installation = event["p"], event["i"]
        if installation != self._installation.get(phone, installation):
            self.complaints.append(f"C5 {phone}: taken for a copy, it has become {installation}")
        self._installation[phone] = installation
        for counter, h in event["pairs"]:
            if (phone, h) in self._by_h:
                self._at[phone, installation, counter] = self._by_h[phone, h]

    def _receipt(self, event):
        self.complaints += _judged(event, self._at)

    def _trouble(self, event):
        """Say nothing: it is for people."""


def _where(event):
    return event["p"], event["i"], event["c"]


def _judged(event, at):
    for counter in range(event["c"], event["to"] + 1):
        mutation = at.get((event["p"], event["i"], counter))
        if mutation is None:
            yield f"C3 {event['p']}: a receipt for counter {counter}, which was never used"
            continue
        outcome = event["o"]
        mutation.was_accepted |= outcome == "accepted"
        if outcome in FINAL and outcome not in mutation.outcomes[-1:]:
            mutation.outcomes.append(outcome)
            mutation.told.append(f"{outcome} at {event['s']} by {event['via']}")


def complaints(events, finals, *, lost=(), is_forced=False):
    """Return what is wrong; an empty list if nothing is.

    `finals` by phone; `lost` phones never came back; `is_forced`: a primary was replaced by force.
    """
    mutations, found = told(events)
    for mutation in mutations.values():
        name = f"{mutation.phone} {mutation.kind} {mutation.mid}"
        if not mutation.outcomes and mutation.phone not in lost:
            state = "accepted, and then lost" if mutation.was_accepted else "never judged"
            found.append(f"C2 {name}: {state}")
        if len(mutation.outcomes) > 1 and not is_forced:
            found.append(f"C3 {name}: {', then '.join(mutation.told)}")
    if not finals:
        return _shortened([*found, "C4 there is no phone to look at"])
    name, final = next(iter(finals.items()))
    found += _differences(finals)
    found += _effects(mutations, final, by=name)
    return _shortened(found)


def _differences(finals):
    """C4 among phones."""
    first, expected = next(iter(finals.items()))
    for name, final in finals.items():
        for part in ("sites", "notes", "digests"):
            yield from (
                f"C4 {part}: {first} and {name} differ in {difference}"
                for difference in differences(getattr(expected, part), getattr(final, part))
            )


def differences(one, other):
    """Return in what two dicts differ, as texts."""
    for key in sorted(one.keys() | other.keys(), key=str):
        if one.get(key) != other.get(key):
            yield f"{key}: {one.get(key, '(nothing)')!r} != {other.get(key, '(nothing)')!r}"


def _effects(mutations, final, *, by):
    """C1, as one phone shows it."""
    counted = Counter()
    for mutation in mutations.values():
        is_there = mutation.mid in final.notes
        name = f"{mutation.phone} {mutation.kind} {mutation.mid} ({', '.join(mutation.told)})"
        if mutation.has_note and mutation.outcomes and is_there != mutation.is_in_effect:
            yield f"C1 {name}: its note is {'there' if is_there else 'missing'} on {by}"
        if mutation.kind == "site" and mutation.is_in_effect and mutation.row not in final.sites:
            yield f"C1 {name}: its row is missing on {by}"
        if _counts(mutation, final):
            counted[mutation.row] += mutation.delta
    known = {mutation.mid for mutation in mutations.values()}
    yield from (f"C1 note {n} on {by} was never made" for n in final.notes if n not in known)
    for row, site in final.sites.items():
        if site["visits"] != counted[row]:
            yield f"C1 visits of {row}: {site['visits']} on {by}, merged were {counted[row]}"
    shared = final.sites.get(SHARED)
    if shared is not None:
        in_effect = [m for m in mutations.values() if _counts(m, final)]
        yield from _shared_effects(shared, in_effect, by)


def _counts(mutation, final):
    """Tell whether a mutation has arrived; a lost phone's note tells it without a receipt."""
    return mutation.mid in final.notes if mutation.has_note else mutation.is_in_effect


def _shared_effects(shared, in_effect, by):
    tags = {mutation.mid for mutation in in_effect if mutation.kind == "tag"}
    for tag in sorted(set(shared["tags"]) ^ tags):
        where = "missing" if tag in tags else "not merged, and yet there"
        yield f"C1 tag {tag} on {by} is {where}"
    titles = {mutation.mid for mutation in in_effect if mutation.kind == "title"}
    if shared["title"] and shared["title"] not in titles:
        yield f"C1 title {shared['title']!r} on {by} was never merged"


def _shortened(found):
    """List SHOWN_MAX complaints of each kind, and count the others."""
    kinds = defaultdict(list)
    for complaint in found:
        kinds[complaint[:2]].append(complaint)
    shown = []
    for kind, of_kind in sorted(kinds.items()):
        shown += of_kind[:SHOWN_MAX]
        if len(of_kind) > SHOWN_MAX:
            shown.append(f"{kind} ... and {len(of_kind) - SHOWN_MAX} more")
    return shown
