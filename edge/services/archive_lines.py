"""Records as an archive shows them, for a tenant as a whole or for one person.

A person is shown the rows they may read now, whole, and of other rows only what they wrote
themselves: the rest belongs to people who no longer share it with them (GDPR, article 15 (4)).
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from core.clock import unix_ms
from core.crdt.blob_reference import Blob
from core.row import RowState
from edge.services.rows import to_json_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.crdt.field import Field, State
    from core.schema.collection import Collection
    from edge.ports.archive import QuarantineRecord
    from edge.ports.records import (
        ConflictRecord,
        DeviceRecord,
        InvitationRecord,
        MergedRun,
        ReceiptRecord,
    )

Line = dict[str, Any]

AUTHOR_AT: Final = {
    "add_wins": 1,
    "flag": 0,
    "multi_value": 0,
    "map": 2,
    "bounded_counter": 0,
    "append_only": 1,
}
"""Where an entry of each structured kind of state holds its author's device number. Registers hold
one author, [h, n, value]; counters, extrema and ranked fields hold none."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose archive it is; `person` None: the whole tenant's."""

    person: str | None = None
    numbers: tuple[int, ...] = ()
    readable: frozenset[tuple[str, str]] = frozenset()
    """(collection, space) pairs that the person may read."""

    @property
    def devices(self) -> tuple[int, ...] | None:
        """The device numbers to keep to; None: all."""
        return None if self.person is None else self.numbers

    def seen(self, declared: type[Collection], state: RowState) -> RowState | None:
        """Return what of a row belongs into the archive, or None."""
        if self.person is None or (declared.collection_name, state.space) in self.readable:
            return state
        own: dict[str, State] = {
            name: part
            for name, held in state.fields.items()
            if name in declared.fields
            and (part := _own_part(declared.fields[name], held, self.numbers)) is not None
        }
        if not own and state.alive[1] not in self.numbers:
            return None
        return RowState(state.id, state.space, state.sequence, state.alive, own)


def row_line(declared: type[Collection], state: RowState, *, is_whole: bool) -> Line:
    """Return a row as the REST API shows it; only its written fields unless `is_whole`."""
    fields = declared.fields
    names = fields if is_whole else [name for name in fields if name in state.fields]
    return {
        "id": state.id,
        "space": state.space,
        "sequence": state.sequence,
        "alive": state.is_alive,
        "values": {
            name: to_json_value(fields[name].value(state.fields.get(name))) for name in names
        },
        "versions": {
            name: held[0]
            for name, held in state.fields.items()
            if held is not None and name in fields and fields[name].is_register
        },
    }


def blob_lines(declared: type[Collection], state: RowState) -> Iterator[Line]:
    """Yield every reference to a blob that a row holds."""
    for name, held in state.fields.items():
        blob = declared.fields[name].value(held) if name in declared.fields else None
        if isinstance(blob, Blob):
            yield {
                "collection": declared.collection_name,
                "row": state.id,
                "space": state.space,
                "field": name,
                **asdict(blob),
            }


def device_line(device: DeviceRecord) -> Line:
    """Return a device; times are Unix ms."""
    return {
        "device": device.n,
        "person": device.person,
        "installation": device.installation,
        "mutations": device.counter,
        "acknowledged": device.acknowledged,
        "seen_ms": device.seen_ms,
    }


def invitation_line(invitation: InvitationRecord) -> Line:
    """Return an invitation without what proves its code."""
    line = asdict(invitation)
    del line["code_sha256"]
    return line


def founder_line(founder: tuple[str, str]) -> Line:
    """Return who made a space."""
    space, person = founder
    return {"space": space, "person": person}


def run_line(run: MergedRun) -> Line:
    """Return a run of plainly merged mutations."""
    return {
        "device": run.n,
        "first": run.first,
        "last": run.last,
        "outcome": "merged",
        "sequence": run.sequence,
    }


def receipt_line(receipt: ReceiptRecord) -> Line:
    """Return the outcome of one mutation; `at_ms` is when it was made (0: unknown)."""
    return {
        "device": receipt.n,
        "first": receipt.counter,
        "last": receipt.counter,
        "outcome": receipt.outcome,
        "sequence": receipt.sequence,
        "at_ms": _at_ms(receipt.h),
        **receipt.detail,
    }


def quarantine_line(record: QuarantineRecord) -> Line:
    """Return a mutation that could not be judged; its bytes in base 64."""
    return {
        "device": record.n,
        "counter": record.counter,
        "payload": b64encode(record.payload).decode(),
        "reason": record.reason,
    }


def conflict_line(record: ConflictRecord) -> Line:
    """Return one lost write as the REST API shows it."""
    sides = {
        name: {"value": value, "at_ms": _at_ms(h), "device": n}
        for name, (value, h, n) in (("winner", record.winner), ("loser", record.loser))
    }
    return {
        "id": record.id,
        "sequence": record.sequence,
        "collection": record.collection,
        "row": record.row,
        "space": record.space,
        "field": record.field,
        **sides,
        "at_ms": record.at_ms,
    }


def _own_part(field: Field[Any], state: State, numbers: tuple[int, ...]) -> State:
    """Return the part of a state that some devices wrote, or None."""
    if state is None:
        return None
    if field.is_register:
        return state if state[1] in numbers else None
    at = AUTHOR_AT.get(field.kind)
    if at is None:
        return None
    return [entry for entry in state if entry[at] in numbers] or None


def _at_ms(h: int) -> int:
    return unix_ms(h) if h else 0
