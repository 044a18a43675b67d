"""What each kind of field must hold, given all writes to it that count: models of their own.

Derived from docs/CRDTS.md, and written for sets of writes rather than for merges, so that a mistake
of the engine's merges is not repeated here. A model returns what is wrong with a state, or "".

`own` tells that the primary may have changed the row by itself (cascades, repaired trees, revived
rows, resolved values, what rules derive): its writes have n = 1 and are no phone's mutations.
"""

from dataclasses import dataclass

from tests.history.effects import Mark
from tests.history.rows import same

PRIMARY = 1


@dataclass(slots=True)
class Written:
    """One write of a field that counts: who, when, what, and the dots its author had confirmed."""

    claim: object
    mark: Mark
    payload: object
    confirmed: dict


def register(_spec, state, writes, *, own):
    """The write with the larger stamp, whole."""
    if not writes:
        return "" if state is None or own else f"{state}: nobody wrote it"
    if state is None:
        return "it was written, and is empty"
    h, n, value = state
    if n == PRIMARY and own:
        return _beaten(writes, h, n)
    mine = [
        write for write in writes if write.mark.n == n and write.mark.low <= h <= write.mark.high
    ]
    if not any(same(write.payload, value) for write in mine):
        return f"{state}: nobody wrote this value at that time"
    latest = max(write.mark.c for write in writes if write.mark.n == n)
    if max(write.mark.c for write in mine) < latest:
        return f"{state}: a later write of the same device is missing"
    return _beaten(writes, h, n)


def _beaten(writes, h, n):
    for write in writes:
        if (write.mark.low, write.mark.n) > (h, n):
            return f"[{h}, {n}, ...] stands, though {write.claim} is later"
    return ""


def custom(spec, state, writes, *, own):
    """A register of the values proposed; what the app's function made of them is the primary's."""
    proposed = [_entry(write, write.payload["value"]) for write in writes]
    return register(spec, state, proposed, own=own)


def alive(_spec, state, writes, *, own):
    """The alive register: as a register, over insert, delete and restore."""
    if state[:2] == (0, 0):
        return "" if not writes else "it was inserted, and was never born"
    if not writes and not own:
        return f"{state}: nobody made or deleted it"
    h, n, value = state
    if n == PRIMARY and own:
        return _beaten(writes, h, n)
    mine = [
        write for write in writes if write.mark.n == n and write.mark.low <= h <= write.mark.high
    ]
    if not any(write.payload is value for write in mine):
        return f"{state}: nobody {'made or restored' if value else 'deleted'} it at that time"
    return _beaten(writes, h, n)


def first_write(_spec, state, writes, *, own):
    """The write that the primary took first; its stamp is the primary's."""
    if not writes:
        return "" if state is None or own else f"{state}: nobody wrote it"
    if state is None:
        return "it was written, and is empty"
    if own and state[1] == PRIMARY:
        return ""
    known = [write for write in writes if write.claim.s is not None]
    first = min(known, key=lambda write: write.claim.s) if len(known) == len(writes) else None
    mine = [write for write in writes if write.mark.n == state[1]]
    if first is None and mine:
        first = min(mine, key=lambda write: write.mark.c)
    if first is None or first.mark.n != state[1] or not same(first.payload, state[2]):
        return f"{state}: not what was written first"
    return ""


def extremum(choose):
    """Return the model of max or min."""

    def model(_spec, state, writes, *, own):
        if not writes:
            return "" if state is None or own else f"{state}: nobody wrote it"
        expected = choose(write.payload for write in writes)
        if state is None:
            return "it was written, and is empty"
        if state[0] == expected or (own and choose(state[0], expected) == state[0]):
            return ""
        return f"{state[0]}, where {expected} was written"

    return model


def ranked(spec, state, writes, *, own):
    """The largest (epoch, rank)."""
    if not writes:
        return "" if state is None or own else f"{state}: nobody wrote it"
    expected = max(_rank(spec, write.payload) for write in writes)
    if state is None:
        return "it was written, and is empty"
    if tuple(state) == expected or (own and tuple(state) > expected):
        return ""
    return f"{state}, where {list(expected)} was written"


def _rank(spec, payload):
    epoch, label = payload if isinstance(payload, list) else (0, payload)
    return epoch, spec["labels"].index(label) if isinstance(label, str) else label


def counter(_spec, state, writes, *, own):
    """The sum of the additions in the newest epoch."""
    if not writes:
        return "" if state is None or own else f"{state}: nobody counted"
    parts = [counted(write.payload) for write in writes]
    epoch = max(part[0] for part in parts)
    expected = [epoch, sum(delta for at, delta in parts if at == epoch)]
    if state == expected or own:
        return ""
    return f"{state}, where the accepted additions make {expected}"


def counted(payload):
    """Return the epoch that a counter's payload is of, and what it adds."""
    if isinstance(payload, list):
        return payload[0], payload[1]
    if "reset" in payload:
        return payload["reset"], 0
    return payload.get("epoch", 0), payload["add"]


def bounded_counter(_spec, state, writes, *, own):
    """Added and used per device; never more used than granted, nor granted than there is."""
    wrong = escrow(state)
    if wrong:
        return wrong
    expected = {}
    for write in writes:
        added, used = expected.get(write.mark.n, (0, 0))
        payload = write.payload
        expected[write.mark.n] = (added + payload.get("add", 0), used + payload.get("use", 0))
    found = {n: (added, used) for n, added, _, used, _ in state or ()}
    for n in expected.keys() | found.keys():
        have, want = found.get(n, (0, 0)), expected.get(n, (0, 0))
        if have != want and not (n == PRIMARY and own):
            return f"device {n} has added and used {have}, where {want} were accepted"
    return ""


def escrow(state):
    """Return how a stock is overdrawn, or ""."""
    entries = state or ()
    for n, _, granted, used, _ in entries:
        if used > granted:
            return f"device {n} has used {used} of {granted} granted"
    added = sum(entry[1] for entry in entries)
    if sum(entry[2] for entry in entries) > added:
        return f"more is granted than the {added} there are: {state}"
    return ""


def add_wins(_spec, state, writes, *, own):
    """An element is there while an addition is that no remove of it had seen."""
    adds, removes = {}, []
    for write in writes:
        for element in write.payload.get("add", ()):
            key = (element, write.mark.n)
            adds[key] = max(write.mark.c, adds.get(key, 0))
        for element, dots in write.payload.get("remove", {}).items():
            removes.append((element, dots, write))
    found = {(element, n): (add, removed) for element, n, add, removed in state or ()}
    return _dots_wrong(found, adds, removes, own=own)


def flag(_spec, state, writes, *, own):
    """As a set of one element."""
    adds, removes = {}, []
    for write in writes:
        if "on" in write.payload:
            adds["", write.mark.n] = max(write.mark.c, adds.get(("", write.mark.n), 0))
        else:
            removes.append(("", write.payload["off"], write))
    found = {("", n): (add, removed) for n, add, removed in state or ()}
    return _dots_wrong(found, adds, removes, own=own)


def _dots_wrong(found, adds, removes, *, own):
    low, high = _removed(removes)
    for key in found.keys() | adds.keys():
        n = key[1]
        add, removed = found.get(key, (0, 0))
        if n == PRIMARY and own:
            continue
        if add != adds.get(key, 0):
            return f"{key}: the latest addition is {add}, where {adds.get(key, 0)} was accepted"
        # A dot that no addition in force has made was lost with a database that was set back.
        if removed < min(low.get(key, 0), add):
            return f"{key}: removed up to {removed}, where a remove had seen {low[key]}"
        if removed > high.get(key, 0) and not own:
            return f"{key}: removed up to {removed}, where removes had seen {high.get(key, 0)}"
    return ""


def _removed(removes):
    """Return what must be removed at least, and may be at most, by (element, n).

    A dot that the author's confirmed rows had is known to the primary. One that was only shown as
    provisional may not be when the remove is judged: then the addition survives.
    """
    low, high = {}, {}
    for element, dots, write in removes:
        author = write.mark.n
        for n, counter in dots:
            device = n or author
            key = (element, device)
            claimed = min(counter, write.mark.c - 1) if device == author else counter
            high[key] = max(claimed, high.get(key, 0))
            if device == author or write.confirmed.get((element, device), 0) >= claimed:
                low[key] = max(claimed, low.get(key, 0))
    return low, high


def multi_value(_spec, state, writes, *, own):
    """The writes that no other write had seen, one per device."""
    latest, removes = {}, []
    for write in writes:
        n = write.mark.n
        if n not in latest or write.mark.c > latest[n].mark.c:
            latest[n] = write
        dots = [dot for dot in write.payload.get("seen", ()) if dot[0] not in (0, n)]
        removes.append(("", dots, write))
    found = {("", n): (add, removed) for n, add, removed, _, _ in state or ()}
    adds = {("", n): write.mark.c for n, write in latest.items()}
    wrong = _dots_wrong(found, adds, removes, own=own)
    if wrong:
        return wrong
    for n, add, removed, h, value in state or ():
        if n not in latest:
            continue
        mark = latest[n].mark
        if removed >= add:
            if (h, value) != (0, None):
                return f"device {n}: a value that was resolved keeps {value!r}"
        elif not same(value, latest[n].payload["value"]) or not mark.low <= h <= mark.high:
            return f"device {n}: {value!r} at {h} is not what it wrote last"
    return ""


def mapping(_spec, state, writes, *, own):
    """Per key the write or removal with the larger stamp."""
    by_key = {}
    for write in writes:
        for key, value in write.payload.get("set", {}).items():
            by_key.setdefault(key, []).append(_entry(write, [0, value]))
        for key in write.payload.get("remove", ()):
            by_key.setdefault(key, []).append(_entry(write, [1, None]))
    found = {key: [h, n, [deleted, value]] for key, h, n, deleted, value in state or ()}
    for key in by_key.keys() | found.keys():
        wrong = register(None, found.get(key), by_key.get(key, []), own=own)
        if wrong:
            return f"key {key!r}: {wrong}"
    return ""


def _entry(write, payload):
    return Written(write.claim, write.mark, payload, write.confirmed)


def append_only(_spec, state, writes, *, own):
    """Every entry once, in the order of stamps."""
    entries = list(state or ())
    order = [entry[:4] for entry in entries]
    if order != sorted(order):
        return "its entries are out of order"
    expected = {
        (write.mark.n, write.mark.c, i): (write.mark, value)
        for write in writes
        for i, value in enumerate(write.payload.get("append", ()))
    }
    entries = [entry for entry in entries if entry[1] != PRIMARY or not own]
    found = {tuple(entry[1:4]): (entry[0], entry[4]) for entry in entries}
    if len(found) != len(entries):
        return "an entry is there twice"
    for identity in expected.keys() | found.keys():
        if identity not in found:
            return f"the entry {identity} is missing"
        if identity not in expected:
            return f"the entry {identity} was never appended"
        (h, value), (mark, wanted) = found[identity], expected[identity]
        if not same(value, wanted) or not mark.low <= h <= mark.high:
            return f"the entry {identity} is {value!r} at {h}, where {wanted!r} was appended"
    return ""


MODELS = {
    "alive": alive,
    "lww": register,
    "group": register,
    "list_order": register,
    "tree_parent": register,
    "blob_reference": register,
    "custom": custom,
    "first_write": first_write,
    "max": extremum(max),
    "min": extremum(min),
    "ranked": ranked,
    "counter": counter,
    "bounded_counter": bounded_counter,
    "add_wins": add_wins,
    "flag": flag,
    "multi_value": multi_value,
    "map": mapping,
    "append_only": append_only,
}
