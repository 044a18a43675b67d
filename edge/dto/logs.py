"""Receipts and conflicts over REST."""

from __future__ import annotations

from typing import Any

import msgspec


class ReceiptAnswer(msgspec.Struct):
    """The outcome of one mutation of one device."""

    device: int
    counter: int
    outcome: str
    sequence: int
    code: str
    message: str
    fields: list[str]
    conflicts: list[Any]


class ReceiptPage(msgspec.Struct):
    """Receipts in the order of their counters; the last one's counter is the next `after`."""

    receipts: list[ReceiptAnswer]


class ConflictSide(msgspec.Struct):
    """One of two concurrent writes; `at_ms` is Unix milliseconds."""

    value: Any
    at_ms: int
    device: int


class ConflictAnswer(msgspec.Struct):
    """A write that lost to one it had not seen."""

    id: int
    sequence: int
    collection: str
    row: str
    space: str
    field: str
    winner: ConflictSide
    loser: ConflictSide
    at_ms: int


class ConflictPage(msgspec.Struct):
    """Conflicts, oldest first; the last one's id is the next `after`."""

    conflicts: list[ConflictAnswer]
