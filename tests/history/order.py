"""Whether a later state of a field can follow an earlier one: no replica's state goes back."""

from tests.history.schema import LATEST_WINS


def goes_back(kind, before, after):
    """Return why `after` cannot follow `before` (None is "never written"), or "" if it can."""
    if before is None or before == after:
        return ""
    if after is None:
        return "it was written, and is no longer"
    test = _TESTS.get(kind)
    return "" if test is None else test(before, after)


def alive_goes_back(before, after):
    """Return why one alive register cannot follow another."""
    if after[:2] < before[:2]:
        return f"its alive register went back from {before} to {after}"
    if after[:2] == before[:2] and after[2] and not before[2]:
        return f"a tombstone came alive under its own stamp {after}"
    return ""


def _latest(before, after):
    if (after[0], after[1]) < (before[0], before[1]):
        return f"its stamp went back from {before[:2]} to {after[:2]}"
    if (after[0], after[1]) == (before[0], before[1]) and after[2] != before[2]:
        return f"one stamp {after[:2]} has two values"
    return ""


def _first(before, after):
    return f"a later write {after} replaced {before}" if after[:2] > before[:2] else ""


def _larger(before, after):
    return f"it went back from {before} to {after}" if after < before else ""


def _smaller(before, after):
    return f"it went back from {before} to {after}" if after > before else ""


def _epoch(before, after):
    return f"its epoch went back from {before} to {after}" if after[0] < before[0] else ""


def _growing(places, identity):
    """Return a test of states of entries: none vanishes, and the numbers at `places` only grow."""

    def test(before, after):
        entries = {tuple(entry[:identity]): entry for entry in after}
        for entry in before:
            later = entries.get(tuple(entry[:identity]))
            if later is None:
                return f"the entry {entry} is gone"
            if any(later[at] < entry[at] for at in places):
                return f"the entry {entry} went back to {later}"
        return ""

    return test


def _map(before, after):
    entries = {entry[0]: entry for entry in after}
    for entry in before:
        later = entries.get(entry[0])
        if later is None or later[1:3] < entry[1:3]:
            return f"the key {entry} went back to {later}"
    return ""


def _log(before, after):
    entries = {tuple(entry[:4]) for entry in after}
    gone = [entry for entry in before if tuple(entry[:4]) not in entries]
    return f"entries are gone: {gone}" if gone else ""


_TESTS = {
    **dict.fromkeys(LATEST_WINS, _latest),
    "first_write": _first,
    "max": _larger,
    "min": _smaller,
    "ranked": _larger,
    "counter": _epoch,
    "add_wins": _growing((2, 3), 2),
    "flag": _growing((1, 2), 1),
    "multi_value": _growing((1, 2), 1),
    "bounded_counter": _growing((1, 3, 4), 1),
    "map": _map,
    "append_only": _log,
}
