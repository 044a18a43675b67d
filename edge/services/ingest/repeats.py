"""Repeats: the stored answer for a mutation taken before, and proof that it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from sync_protocol.messages.pushed import Receipt
from sync_protocol.mutations import HASH_BYTES, UNKNOWN_HASH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.ports.records import ReceiptRecord
    from edge.ports.stores import Unit
    from edge.services.ingest.prepared import PreparedMutation

RECEIPTS_MAX: Final = 5_000


def same_prefix(
    unit: Unit,
    n: int,
    repeated: Sequence[PreparedMutation],
    *,
    unwritten: Mapping[int, bytes] | None = None,
    believe_unknown: bool = True,
) -> int:
    """Return how many mutations at the start of `repeated` carry the payloads they had.

    `unwritten` are hashes, by counter, of what the same commit takes, and has no receipts of yet.
    Those whose receipts retention has dropped are believed, unless told otherwise.
    """
    known = _known(unit, n, repeated[0].counter, repeated[-1].counter)
    if unwritten:
        known |= unwritten
    for count, mutation in enumerate(repeated):
        stored = known.get(mutation.counter)
        if stored != mutation.hash and not (stored is None and believe_unknown):
            return count
    return len(repeated)


def stored_hashes(unit: Unit, n: int, first: int, last: int) -> bytes:
    """Return the payload hashes of counters first..last, one behind the other, zeros if unknown."""
    known = _known(unit, n, first, last)
    return b"".join(known.get(counter, UNKNOWN_HASH) for counter in range(first, last + 1))


def stored_answers(
    unit: Unit, n: int, first: int, last: int
) -> tuple[list[tuple[int, int, int]], list[Receipt]]:
    """Return the stored outcomes of counters first..last, as an answer carries them."""
    runs = [
        (max(first, run.first), min(last, run.last), run.sequence)
        for run in unit.receipts.runs(n, first=first, last=last)
    ]
    receipts = [
        to_receipt(record)
        for record in unit.receipts.receipts(n, first=first, last=last, limit=RECEIPTS_MAX)
    ]
    covered = sum(b - a + 1 for a, b, _ in runs) + len(receipts)
    if covered < last - first + 1:
        runs = _with_trimmed(runs, receipts, first, last)
    return runs, receipts


def detail_of(receipt: Receipt) -> dict[str, Any]:
    """Return what a stored receipt keeps beside its columns."""
    return {
        "code": receipt.code,
        "message": receipt.message,
        "fields": receipt.fields,
        "conflicts": msgspec.to_builtins(receipt.conflicts),
    }


def to_receipt(record: ReceiptRecord) -> Receipt:
    """Rebuild a receipt from its record."""
    return msgspec.convert(
        {
            "counter": record.counter,
            "outcome": record.outcome,
            "sequence": record.sequence,
            "h": record.h,
            **record.detail,
        },
        Receipt,
    )


def _known(unit: Unit, n: int, first: int, last: int) -> dict[int, bytes]:
    known: dict[int, bytes] = {}
    for run in unit.receipts.runs(n, first=first, last=last):
        for index in range(max(first, run.first) - run.first, min(last, run.last) - run.first + 1):
            at = index * HASH_BYTES
            known[run.first + index] = run.hashes[at : at + HASH_BYTES]
    for receipt in unit.receipts.receipts(n, first=first, last=last, limit=RECEIPTS_MAX):
        known[receipt.counter] = receipt.hash
    return known


def _with_trimmed(
    runs: list[tuple[int, int, int]], receipts: list[Receipt], first: int, last: int
) -> list[tuple[int, int, int]]:
    """Fill what retention has dropped: it had a final outcome, most likely a plain merge."""
    known = {receipt.counter for receipt in receipts}
    for a, b, _ in runs:
        known.update(range(a, b + 1))
    missing = [counter for counter in range(first, last + 1) if counter not in known]
    return sorted([*runs, *((counter, counter, 0) for counter in missing)])
