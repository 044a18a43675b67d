"""H05 read your writes: what a person has written is there, from the write on, until it is refused.

Decided: in the view right after each write, and in every view of a row that was folded again later,
every mutation of this phone that wrote to the row shows (or something later in its place); a row
with a mutation that nobody has judged is there; and the view of a counter is the confirmed sum plus
what is not confirmed yet, each once.

Excused: refused mutations, from when the phone knows that all up to them are judged; what a backup
did not have; merged ones in rows that the phone no longer holds (H02 and H16 decide whether it
should), or held as a tombstone that was dropped, also when its id was inserted again before the
phone read of either; a row brought back that nothing places in a space: it is not there, for the
provisional insert of somebody else is not shown any more, and the row has not been read; fields
that a downgraded app does not know; after a database was set back, mutations that it has not got
again.
"""

from collections import defaultdict

from tests.history.effects import ALIVE, Mark, effects_of, shows
from tests.history.rows import Row, name_of
from tests.history.tale import FINAL, IN_EFFECT, REFUSED

NAME = "H05 own writes"
NUMBERS_MAX = 8
"""Numbers one installation had: each database that has never heard of it gives another."""


def check(evidence):
    tale = evidence.tale
    touching = defaultdict(dict)  # key -> the origins that write to it, in their order
    effects = {}
    for origin in tale.origins:
        effects[origin] = effects_of(origin.changes, tale.schema)
        for key, _ in effects[origin]:
            touching[key][origin] = None
    for index, phone, event, own, held in tale.views:
        owned = set(own)
        for told in event["rows"]:
            row = Row(told[:5])
            mine = [origin for origin in touching.get(row.key, ()) if origin in owned]
            for what in _row(evidence, effects, mine, row, (index, phone, event["of"], held)):
                yield index, f"{phone} {what}"
        for key in map(tuple, event["gone"]):
            if event["of"] == "write":
                yield index, f"{phone} has just written {name_of(key)}, and it is not there"
            for origin in touching.get(key, ()):
                if origin in owned and not _is_told(tale, origin, phone, index, FINAL):
                    yield index, f"{phone} has lost {name_of(key)}, and with it {origin}"


def _row(evidence, effects, mine, row, seen):
    index, phone, occasion, held = seen
    excusing = REFUSED if row.key in held else FINAL
    counting = []
    for origin in mine:
        row_held = held.get(row.key)
        sequence = row_held.sequence if row_held else 0
        if _is_void(evidence.tale, origin, phone, index, sequence):
            continue
        if _is_of_an_earlier_row(evidence.tale, origin, row.key, sequence):
            continue
        if (origin.version or 0) > evidence.tale.versions.get(index, origin.version or 0):
            continue  # An app that was downgraded shows no fields that it does not know.
        if origin.index < evidence.tale.phones[phone].collected.get(row.key, -1) < index:
            continue
        if _is_told(evidence.tale, origin, phone, index, excusing):
            continue
        if _is_known_judged(evidence.tale, origin, phone, index, excusing):
            continue
        counting.append(origin)
    is_nowhere = not row.space and row.key not in held and not _is_inserted(counting, row.key)
    for origin in counting:
        evidence.counted[f"own writes viewed after a {occasion}"] += 1
        missing = _missing(origin, effects[origin], row, is_nowhere)
        if missing is not None:
            yield f"does not show {origin} in {name_of(row.key)}.{missing or 'alive'}"


def _is_inserted(origins, key):
    """Tell whether one of these mutations inserts the row."""
    return any(
        change.get("op") == "insert" and (change["collection"], change["id"]) == key
        for origin in origins
        for change in origin.changes
    )


def _is_told(tale, origin, phone, index, outcomes):
    """Tell whether a phone knew one of these outcomes of an origin by then."""
    return any(
        told[2] in outcomes and tale.was_told(phone, told, index)
        for claim in origin.claims
        for told in claim.told
    )


def _is_known_judged(tale, origin, phone, index, outcomes):
    """Tell whether the primary had judged it so, and the phone knew that it was judged. One whose
    rows the phone had may have been set back since, and judged otherwise than what counts.
    """
    database = tale.rows_of[index]
    return any(
        (claim.outcome in outcomes or any((database, o) in claim.verdicts for o in outcomes))
        and tale.was_passed(phone, claim, index)
        for claim in origin.claims
    )


def _is_void(tale, origin, phone, index, sequence):
    """Tell whether the database that was set back has not got a mutation again, or not yet, which
    the phone has let go.
    """
    if not tale.is_forked:
        return False
    merged = [claim.s for claim in origin.claims if claim.outcome in IN_EFFECT]
    if not merged:
        return True
    is_later = all(s is not None and s > sequence for s in merged)
    return is_later and _is_told(tale, origin, phone, index, FINAL)


def _is_of_an_earlier_row(tale, origin, key, sequence):
    """Tell whether what was merged went with the tombstone of an earlier row of this id."""
    return any(
        claim.outcome in IN_EFFECT and tale.ledger.is_begun_anew(key, claim, sequence)
        for claim in origin.claims
    )


def _missing(origin, effects, row, is_nowhere):
    marks = _marks(origin)
    for (key, name), (kind, payloads) in effects.items():
        if key != row.key or (is_nowhere and name == ALIVE):
            continue
        answers = {shows(kind, payloads, mark, row, name) for mark in marks}
        if answers == {False}:
            return name
    return None


def _marks(origin):
    """Return all that may have signed the write: under the phone's clock value or the primary's."""
    marks = []
    for claim in origin.claims:
        values = [h for h in (origin.h, claim.h, *claim.times) if h]
        low = min(values) if claim.h else claim.low if claim.told else origin.h or 0
        high = min(values, default=float("inf"))
        numbers = [0, *sorted(claim.ns)[:NUMBERS_MAX]]
        marks += [Mark(n, claim.c, min(low, high), high) for n in numbers]
    return marks
