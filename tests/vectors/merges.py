"""clock.json, ties.json and merge_<kind>.json: what core computes, written down."""

from itertools import permutations
from typing import Any

import msgspec

from core.clock import (
    CLOCK_MAX,
    EPOCH_UNIX_MS,
    HybridClock,
    effective,
    measured_skew,
    pack,
    unix_ms,
)
from core.crdt.field import Write
from core.crdt.registry import SAMPLES
from core.row import merge_alive
from tests.vectors.payloads import HISTORIES

NOW = EPOCH_UNIX_MS + 90_000_000_000
SECOND = 1_000 << 12


def clock() -> dict[str, Any]:
    packed = [(EPOCH_UNIX_MS, 0), (EPOCH_UNIX_MS, 4095), (NOW, 7), (unix_ms(CLOCK_MAX), 4095)]
    ticking = HybridClock()
    ticks = [
        {"now_unix_ms": step, "h": ticking.tick(step)}
        for step in (NOW, NOW, NOW - 60_000, NOW + 1, 0)
    ]
    ticking.observe(pack(unix_ms=NOW + 500))
    ticks.append({"now_unix_ms": NOW + 2, "h": ticking.tick(NOW + 2)})
    leads = [0, 5_000, 5_001, -5_000, -5_001, 86_400_000]
    now = pack(unix_ms=NOW)
    rebased = [
        {"h": h, "skew": skew, "previous": previous, "now_unix_ms": NOW, "seen": seen}
        for h, skew, previous, seen in (
            (now, 0, 0, 0),
            (now - SECOND, 0, now, 0),
            (now + 4 * SECOND, 0, 0, 0),
            (now + 60 * SECOND, 0, 0, 0),
            (now + 3_600 * SECOND, 3_600 * SECOND, now - 1, 0),
            (now - 3_600 * SECOND, -3_600 * SECOND, 0, 0),
            (CLOCK_MAX, 0, now + 10 * SECOND, 0),
            (now - SECOND, 0, 0, now),
            (now - SECOND, 0, 0, now + 60 * SECOND),
        )
    ]
    return {
        "epoch_unix_ms": EPOCH_UNIX_MS,
        "pack": [
            {"unix_ms": ms, "counter": counter, "h": pack(unix_ms=ms, counter=counter)}
            for ms, counter in packed
        ],
        "ticks": ticks,
        "observed_before_last_tick": pack(unix_ms=NOW + 500),
        "skew": [
            {
                "device_clock": pack(unix_ms=NOW + lead),
                "now_unix_ms": NOW,
                "skew": measured_skew(device_clock=pack(unix_ms=NOW + lead), now_unix_ms=NOW),
            }
            for lead in leads
        ],
        "effective": [{**each, "effective": effective(**each)} for each in rebased],
    }


def ties() -> dict[str, Any]:
    registers = [[1, 2, "b"], [1, 10, "a"], [2, 1, "c"], [1, 3, None]]
    lww = SAMPLES["lww"]()
    alive = [(1, 2, True), (1, 2, False), (1, 3, True), (2, 1, False)]
    return {
        "registers": [
            {"left": left, "right": right, "merged": lww.merge(left, right)}
            for left, right in permutations(registers, 2)
        ],
        "alive": [
            {"left": left, "right": right, "merged": merge_alive(left, right)}
            for left, right in permutations(alive, 2)
        ],
    }


def merge(kind: str) -> dict[str, Any]:
    declared = SAMPLES[kind]()
    writes: list[dict[str, Any]] = []
    deltas: list[Any] = []
    for h, n, counter, payload in HISTORIES[kind]:
        delta = declared.delta(declared.parse(payload), Write(h, n, counter))
        writes.append({"h": h, "n": n, "counter": counter, "payload": payload, "delta": delta})
        deltas.append(delta)
    state = None
    folded: list[dict[str, Any]] = []
    for delta in deltas:
        state = declared.merge(state, delta)
        folded.append({"state": state, "value": shown(declared.value(state))})
    return {
        "kind": kind,
        "declared": declared.describe(),
        "is_idempotent": declared.is_idempotent,
        "writes": writes,
        "folded": folded,
        "pairs": [
            {"left": left, "right": right, "merged": declared.merge(left, right)}
            for left, right in permutations([None, *deltas], 2)
        ],
    }


def shown(value: object) -> Any:
    """What a person sees, as JSON; sets are sorted."""
    return msgspec.json.decode(msgspec.json.encode(value, order="deterministic"))
