"""Payloads of every field type, folded into a state of two to four devices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from core.clock import COUNTER_BITS
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.custom import Custom
from core.crdt.field import Field, State, Write
from core.crdt.registry import SAMPLES
from core.errors import FieldError, Refusal
from sync_protocol.errors import MalformedMessage
from sync_protocol.rows import check_value, decode_row, encode_row
from tests.fuzz.plain import require_plain
from tests.fuzz.target import Target
from tests.laws.sql_histories import TWINS
from tests.vectors.payloads import HISTORIES

DEVICES = (2, 3, 4, 1)
WRITES_MAX = 8
PAYLOAD_DEPTH = 5
"""What surrounds a payload in a push (sync_protocol.mutations)."""
FIELDS: list[Field[Any]] = [
    make() for kind in sorted(SAMPLES) for make in (SAMPLES[kind], TWINS.get(kind, SAMPLES[kind]))
]


def run(content: bytes) -> None:
    """A kind of field in the first byte, then MessagePack: [[device, step, payload], ...].

    Invariant: a payload that is plain is refused, or parses to what parses to itself; what the
    primary admits is a state that is plain, storable and canonical, and the laws L1 to L4 of
    core.crdt.field hold of the deltas; E1 and E2 hold of stock.
    Errors: MalformedMessage (not plain), FieldError (quarantined), Refusal (rejected).
    """
    field = FIELDS[content[0] % len(FIELDS)] if content else FIELDS[0]
    state: State = None
    deltas: list[State] = []
    for at, raw in _writes(content[1:]):
        try:
            check_value(raw, depth=PAYLOAD_DEPTH)
            payload = field.parse(raw)
        except (MalformedMessage, FieldError):
            continue
        _require_parsed(field, payload)
        deltas.append(field.delta(payload, at))
        try:
            # Whole milliseconds apart, so that leases end at different times.
            admitted = field.admit(state, payload, at._replace(h=at.h << COUNTER_BITS))
        except Refusal:
            continue
        state = field.merge(state, admitted)
        _require_state(field, state)
    _require_laws(field, deltas)


def _writes(content: bytes) -> Iterator[tuple[Write, Any]]:
    """Each device's counters are contiguous, and its clock grows by 1 or 2: ties abound."""
    try:
        made = msgspec.msgpack.decode(content)
    except (ValueError, RecursionError):
        return
    clocks: dict[int, tuple[int, int]] = dict.fromkeys(DEVICES, (0, 0))
    for each in made[:WRITES_MAX] if isinstance(made, list) else ():
        if not isinstance(each, list) or len(each) != 3:
            continue
        device, step, payload = each
        if type(device) is not int or type(step) is not int:
            continue
        n = DEVICES[device % len(DEVICES)]
        h, counter = clocks[n]
        clocks[n] = h + step % 2 + 1, counter + 1
        yield Write(clocks[n][0], n, counter + 1), payload


def _require_parsed(field: Field[Any], payload: Any) -> None:
    require_plain(payload, is_stored=True)
    assert _text(field.parse(payload)) == _text(payload)
    field.proposed(payload)
    if isinstance(field, Custom):
        try:
            require_plain(field.resolve(payload["base"], payload["value"], payload["value"]))
        except Refusal:
            return


def _require_state(field: Field[Any], state: State) -> None:
    field.value(state)
    if state is None:
        return
    require_plain(state, is_stored=True)
    row = encode_row("r", (1, 2, True), {"f": state})
    _, _, fields = decode_row(row)
    assert _text(fields["f"]) == _text(state)
    if isinstance(field, BoundedCounter):
        assert all(used <= granted for _, _, granted, used, _ in state), "E1"
        assert field.value(state) >= 0, "E2"
        assert field.pool(state) >= 0, "E2"


def _require_laws(field: Field[Any], deltas: list[State]) -> None:
    total: State = None
    for delta in deltas:
        assert field.merge(delta, None) == delta == field.merge(None, delta), "L2"
        left, right = field.merge(total, delta), field.merge(delta, total)
        assert _text(left) == _text(right), "L1"
        if field.is_idempotent:
            assert _text(field.merge(left, left)) == _text(left), "L3"
            assert _text(field.merge(left, delta)) == _text(left), "L3"
        total = left
    backwards: State = None
    for delta in reversed(deltas):
        backwards = field.merge(delta, backwards)
    assert _text(backwards) == _text(total), "L1"


def _text(value: Any) -> str:
    """Tell 1 from 1.0 and from true, which == does not."""
    return json.dumps(value, sort_keys=True)


def seeds() -> Iterator[bytes]:
    """The vectors' histories."""
    kinds = sorted(SAMPLES)
    for kind, history in HISTORIES.items():
        for twin in (0, 1):
            writes = [[n - 2, h, payload] for h, n, _, payload in history]
            yield bytes([kinds.index(kind) * 2 + twin]) + msgspec.msgpack.encode(writes)


TARGETS = (Target("payloads", run, seeds, bytes_max=2_048, is_tree=True, prefix_bytes=1),)
