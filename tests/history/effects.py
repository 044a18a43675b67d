"""What one write leaves in a state, so that it can be told whether a state has it.

Three answers: True (the write is there, or a later one of its device), False (it is not), None (the
state does not tell: sums, clock values that are not known, and writes of others that stand above it
whether it has come or not).
"""

from tests.history.schema import LATEST_WINS

ALIVE = ""
"""The name of the alive register among the fields."""


class Mark:
    """Who wrote, as far as known: the device number, the counter, and bounds of the clock value."""

    __slots__ = ("c", "high", "low", "n")

    def __init__(self, n, c, low, high):
        self.n, self.c, self.low, self.high = n, c, low, high


def effects_of(changes, schema):
    """Return what a mutation writes: {(key, field): (kind, [payloads])}; of registers the last."""
    found = {}
    for change in changes:
        key = (change["collection"], change["id"])
        operation = change.get("op", "edit")
        if operation != "edit":
            found[key, ALIVE] = ("alive", [operation != "delete"])
        for name, payload in change.get("fields", {}).items():
            kind = schema.kind(change["collection"], name)
            if kind is None:
                continue
            if kind in LATEST_WINS or (key, name) not in found:
                found[key, name] = (kind, [payload])
            else:
                found[key, name][1].append(payload)
    return found


def shows(kind, payloads, mark, row, name):
    """Tell whether a row (None: not there) has a write of one field."""
    if row is None:
        return False
    if kind == "alive":
        return _stamped(row.alive, mark)
    state = row.fields.get(name)
    test = _TESTS.get(kind)
    if test is None:
        return None
    if state is None:
        return None if kind in _MAY_BE_EMPTY else False
    answers = [test(state, payload, mark) for payload in payloads]
    return False if False in answers else None if None in answers else True


_MAY_BE_EMPTY = frozenset({"add_wins", "flag", "bounded_counter", "map", "append_only"})
"""Kinds whose payload may ask for nothing, such as a remove without dots."""


def _stamped(state, mark):
    stamp = (state[0], state[1])
    if stamp >= (mark.high, mark.n):
        return True if state[1] == mark.n else None
    return False if stamp < (mark.low, mark.n) else None


def _register(state, _payload, mark):
    return _stamped(state, mark)


def _first_write(_state, _payload, _mark):
    return None  # Somebody has written; the smaller stamp stays.


def _maximum(state, payload, _mark):
    return None if state[0] >= payload else False


def _minimum(state, payload, _mark):
    return None if state[0] <= payload else False


def _ranked(state, payload, _mark):
    epoch = payload[0] if isinstance(payload, list) else 0
    return False if state[0] < epoch else None  # The models compare ranks.


def _counter(state, payload, _mark):
    if isinstance(payload, list):
        epoch = payload[0]
    else:
        epoch = payload["reset"] if "reset" in payload else payload.get("epoch", 0)
    return False if state[0] < epoch else None


def _add_wins(state, payload, mark):
    added = {entry[0]: entry[2] for entry in state if entry[1] == mark.n}
    elements = payload.get("add", ())
    return all(added.get(element, 0) >= mark.c for element in elements) if elements else None


def _flag(state, payload, mark):
    if "on" not in payload:
        return None
    return any(entry[0] == mark.n and entry[1] >= mark.c for entry in state)


def _multi_value(state, _payload, mark):
    return any(entry[0] == mark.n and entry[1] >= mark.c for entry in state)


def _map(state, payload, mark):
    entries = {entry[0]: entry[1:3] for entry in state}
    answers = {
        _stamped(entries.get(key, (0, 0)), mark)
        for key in [*payload.get("set", ()), *payload.get("remove", ())]
    }
    return False if False in answers else None if None in answers else True


def _append_only(state, payload, mark):
    count = sum(1 for entry in state if entry[1] == mark.n and entry[2] == mark.c)
    return count >= len(payload.get("append", ()))


def _bounded_counter(state, payload, mark):
    if "lease" in payload:
        return None
    at = 1 if "add" in payload else 3
    return None if any(entry[0] == mark.n and entry[at] for entry in state) else False


_TESTS = {
    **dict.fromkeys(LATEST_WINS, _register),
    "first_write": _first_write,
    "max": _maximum,
    "min": _minimum,
    "ranked": _ranked,
    "counter": _counter,
    "add_wins": _add_wins,
    "flag": _flag,
    "multi_value": _multi_value,
    "map": _map,
    "append_only": _append_only,
    "bounded_counter": _bounded_counter,
}
