"""H06 monotonic reads: no field of a confirmed row goes back, on no phone and in no node.

Decided: between two states of one viewer, for every row: its sequence, its alive register and every
field only go forward (stamps, dots, epochs, amounts, extremes; nothing written vanishes); a living
row does not go while its space stays; a cursor does not go back.

Excused: a phone that was set to a backup or became a copy; a read from zero whose cursor is lower;
rows of a space that was left or is held in another role; states of a database that was set back;
rows that a lens has translated; a tombstone that was collected and its id inserted again, also when
its viewer read of neither; a row that was deleted and collected while its viewer read nothing, and
then everything anew.
"""

from tests.history.order import alive_goes_back, goes_back
from tests.history.presence import is_fresh
from tests.history.rows import name_of

NAME = "H06 monotonic reads"


def check(evidence):
    for viewer, looks in evidence.tale.by_viewer().items():
        before = None
        for look in looks:
            previous, before = before, look
            if previous is None or _is_excused(previous, look):
                continue
            if look.is_valid and previous.is_valid and look.sequence < previous.sequence:
                yield look.index, f"{viewer} went back from {previous.sequence} to {look.sequence}"
            for what in _changes(evidence, previous, look):
                yield look.index, f"{viewer} {what}"


def _is_excused(previous, look):
    if look.is_set_back or not look.is_valid or not previous.is_valid:
        return True
    return is_fresh(look, previous) and look.sequence < previous.sequence


def _changes(evidence, previous, look):
    collected = evidence.tale.ledger.collected
    for row in look.changed:
        old = look.before.get(row.key)
        if old is None or row.told_digest is not None or old.told_digest is not None:
            continue
        if not look.is_server and _role(previous, row.space) != _role(look, row.space):
            continue
        evidence.counted["rows replaced"] += 1
        if row.sequence < old.sequence:
            yield f"holds {name_of(row.key)} of {row.sequence} after {old.sequence}"
        if _is_begun_anew(evidence.tale.ledger, old, row, look.index):
            continue
        if old.is_alive or row.key not in collected:
            yield from _states(evidence.tale.schema, old, row)
    for key in look.gone:
        old = look.before[key]
        role = _role(look, old.space)
        has_read_anew = is_fresh(look, previous) or look.event.get("full")
        if has_read_anew and collected.get(key, look.sequence + 1) <= look.sequence:
            continue
        if old.is_alive and (look.is_server or (role and role == _role(previous, old.space))):
            yield f"has lost the living {name_of(key)}"


def _is_begun_anew(ledger, old, row, index):
    """Tell whether a tombstone that came after the old row was dropped before the new one."""
    return any(
        at < index and old.sequence <= horizon < row.sequence
        for at, horizon in ledger.dropped.get(row.key, ())
    )


def _states(schema, old, row):
    wrong = alive_goes_back(old.alive, row.alive)
    if wrong:
        yield f"{name_of(row.key)}: {wrong}"
    for name, state in old.fields.items():
        wrong = goes_back(schema.kind(row.key[0], name), state, row.fields.get(name))
        if wrong:
            yield f"{name_of(row.key)}.{name}: {wrong}"


def _role(look, space):
    return None if look.is_server else look.event["spaces"].get(space)
