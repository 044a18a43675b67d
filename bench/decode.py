"""Decode: mutations a second that are read out of a push and hashed, as before every merge."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from bench.figure import Figure
from bench.todo_rows import COLLECTION, FIRST_MS, SPACE, Row, todo_rows
from core.clock import saturated
from sync_protocol.media import Media
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.mutations import decode_mutations, payload_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 15
_CODECS: dict[Media, Any] = {Media.MSGPACK: msgspec.msgpack, Media.JSON: msgspec.json}


def measure(*, quick: bool) -> list[Figure]:
    count, rounds = (200, 1) if quick else (5_000, ROUNDS)
    mutations = [_mutation(number, row) for number, row in enumerate(todo_rows(count), 1)]
    return [_figure(media, mutations, rounds) for media in Media]


def _figure(media: Media, mutations: Sequence[WireMutation], rounds: int) -> Figure:
    raws = [msgspec.Raw(_CODECS[media].encode(mutation)) for mutation in mutations]
    push = Push(1, saturated(FIRST_MS), 1, raws)
    untyped = _CODECS[media].Decoder().decode
    values, limits = list[float](), list[float]()
    for _ in range(rounds):
        started = time.process_time()
        hashes = {payload_hash(each) for each in decode_mutations(push, media)}
        decoded = time.process_time()
        for raw in raws:
            untyped(raw)
        limits.append(len(raws) / (time.process_time() - decoded))
        values.append(len(raws) / (decoded - started))
        assert len(hashes) == len(raws), "mutations with different counters have different hashes"
    name = "decode" if media is Media.MSGPACK else "decode.json"
    unit = "mutations/s of CPU"
    return Figure(name=name, value=median(values), unit=unit, limit=median(limits))


def _mutation(number: int, row: Row) -> WireMutation:
    change = WireChange(COLLECTION, row.id, "insert", SPACE, row.fields)
    return WireMutation(number, saturated(row.made_ms), [change])
