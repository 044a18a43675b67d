"""H20 views add up: what a person sees of a counter is what is confirmed and what is not, each
once.

Decided: in every view of a row with a counter, its state is that of the confirmed row at that
moment plus the additions of this phone that the row does not hold yet, plus those of other devices
that are shown as provisional (`others`). It needs the sequences of all writes (an in-process
primary).

Excused: databases that were set back; identities that several mutations have had by then (copies of
a phone); mutations that were refused before the phone's file was opened again, or was full; rows
that the phone no longer holds; additions of others to a row that the phone has not got confirmed,
or whose tombstone a node has dropped: an edge shows a change only of a row that its replica has, or
whose insert it shows, and either may be so.
"""

from collections import defaultdict

from tests.history.effects import effects_of
from tests.history.models import counted
from tests.history.rows import name_of
from tests.history.tale import FINAL, REFUSED

NAME = "H20 view sums"


def check(evidence):
    tale = evidence.tale
    if tale.is_forked or not evidence.is_timed:
        return
    adding = defaultdict(dict)  # (key, field) -> origin -> payloads
    for origin in tale.origins:
        for place, (kind, payloads) in effects_of(origin.changes, tale.schema).items():
            if kind == "counter":
                adding[place][origin] = payloads
    fields = defaultdict(list)
    for key, name in adding:
        fields[key].append(name)
    for view in tale.views:
        yield from _view(evidence, view, adding, fields)


def _view(evidence, view, adding, fields):
    index, phone, event, own, held = view
    owned = set(own)
    for told in event["rows"]:
        key = (told[0], told[1])
        if key not in held and not told[3][0]:
            continue
        for name in fields.get(key, ()):
            seen = (phone, index, owned, event, key, told[4].get(name))
            row = held.get(key)
            confirmed = None if row is None else row.fields.get(name)
            wrong = _field(evidence, adding[key, name], seen, row, confirmed)
            if wrong:
                yield index, f"{phone}: {name_of(key)}.{name} shows {wrong}"


def _field(evidence, adding, seen, row, confirmed):
    phone, index, owned, event, key, shown = seen
    parts, doubtful = [] if confirmed is None else [tuple(confirmed)], []
    is_gone = row is None or evidence.tale.ledger.collected_at.get(key, index) < index
    for origin, payloads in adding.items():
        if origin in owned:
            is_pending = _is_pending(evidence.tale, origin, phone, index, row)
            if is_pending is None:
                return ""
        else:
            shown_as = _shown(origin, event.get("others") or (), index)
            if any(len(evidence.made_as(identity, index)) > 1 for identity in shown_as):
                return ""
            is_pending = bool(shown_as)
            if is_pending and is_gone:
                doubtful.append([counted(payload) for payload in payloads])
                continue
        if is_pending:
            parts += [counted(payload) for payload in payloads]
    evidence.counted["counters viewed"] += 1
    expected = _sum(parts)
    if shown == expected or shown in _sums(parts, doubtful):
        return ""
    return f"{shown}, where {expected} is true"


def _sum(parts):
    epoch = max((part[0] for part in parts), default=None)
    return None if epoch is None else [epoch, sum(delta for at, delta in parts if at == epoch)]


def _sums(parts, doubtful):
    """Return all that may be shown with some of the additions that are shown or not."""
    found = [_sum(parts)]
    for some in doubtful:
        more = [_sum([*some] if at is None else [at, *some]) for at in found]
        found += [total for total in more if total not in found]
    return found


def _shown(origin, others, index):
    """Return the identities under which a phone shows another device's mutation by now."""
    return [
        (n, claim.c)
        for claim in origin.claims if claim.index <= index
        for n in claim.ns if [n, claim.c] in others
    ]  # fmt: skip


def _is_pending(tale, origin, phone, index, row):
    """Tell whether a mutation of the phone's own is shown on top of a row; None: unknown."""
    told = [
        item for claim in origin.claims for item in claim.told
        if item[2] in FINAL and tale.was_told(phone, item, index)
    ]  # fmt: skip
    if any(item[2] in REFUSED for item in told):
        # What it was told may not have been kept: a kill, a full disk, a backup put back.
        opened = max((at for at in tale.phones[phone].openings if at <= index), default=0)
        return None if max(item[0] for item in told) < opened else False
    if row is None:
        if any(tale.was_passed(phone, claim, index, in_rows=True) for claim in origin.claims):
            return False  # It was judged, and left nothing here.
        return None if told else True
    refused = [claim for claim in origin.claims if claim.outcome in REFUSED]
    if refused:  # and not told: it shows until the phone knows that it is judged
        return not any(tale.was_passed(phone, c, index, in_rows=True) for c in refused)
    sequences = [claim.s for claim in origin.claims if claim.s is not None and claim.outcome]
    if not sequences:
        return True
    return sequences[-1] > (tale.ledger.included(row.sequence) or row.sequence)
