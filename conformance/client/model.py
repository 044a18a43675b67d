"""An in-memory server on the reference merge, which the behaviour cases bend to their needs.

It commits a push at once, reads pages in sequence order with a backfill for gained spaces, and asks
nobody who they are: everybody is a member of `spaces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from conformance.client.declared import APP, FINGERPRINT, NORTH
from core.crdt.field import Write
from core.errors import FieldError, Refusal
from core.ids import RowId, SpaceId
from core.row import RowDelta, RowState, merge_delta
from sync_protocol.codec import Media, decode_mutations, encode_space_rows
from sync_protocol.digest import ZERO, bucket_of, row_digest, to_bytes
from sync_protocol.faults import FaultKind
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Gained, Page, Rows
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Outcome, Pushed, Receipt
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome
from sync_protocol.mutations import Malformed, payload_hash
from sync_protocol.rows import encode_row

_ALIVE = {"insert": True, "restore": True, "delete": False}


@dataclass(slots=True)
class Space:
    """A space that everybody is a member of, since `gained` in the sequence."""

    gained: int = 0
    role: str = "member"


@dataclass(slots=True)
class Model:
    """The server's whole state; cases read it, and change it in the place of other people."""

    database: str = "model-1"
    sequence: int = 1
    spaces: dict[str, Space] = field(default_factory=lambda: {NORTH: Space()})
    lost: dict[str, int] = field(default_factory=dict[str, int])
    rows: dict[tuple[str, str], RowState] = field(default_factory=dict[tuple[str, str], RowState])
    extra: dict[tuple[str, str], dict[str, Any]] = field(
        default_factory=dict[tuple[str, str], dict[str, Any]]
    )
    """States of fields that the app does not declare, by row."""
    devices: dict[str, int] = field(default_factory=dict[str, int])
    taken: dict[int, list[tuple[bytes, Receipt]]] = field(
        default_factory=dict[int, list[tuple[bytes, Receipt]]]
    )
    outcome: Callable[[WireMutation], Receipt | None] = lambda _mutation: None
    """Return a receipt to judge a mutation so, without merging it."""
    replicated: int | None = None
    """None: everything outlives this server, as on a node by itself."""
    replaced: list[str] = field(default_factory=list[str])
    """The databases that this one goes on from."""
    next_device: int = 2
    page_rows: int = 10_000
    """At most so many rows in a page, however many the device asks for."""

    def answer(self, message: ClientMessage) -> ServerMessage:
        """Answer one message as a server does."""
        if isinstance(message, Hello):
            return self.hello(message)
        if isinstance(message, Push):
            return self.push(message)
        if isinstance(message, Pull):
            return self.pull(message)
        return self.repair(message)

    # --- what a device says ------------------------------------------------------------------

    def hello(self, hello: Hello) -> Welcome:
        """Give the installation its number."""
        if hello.installation not in self.devices:
            self.devices[hello.installation] = self.next_device
            self.next_device += 1
        device = self.devices[hello.installation]
        taken = self.taken.setdefault(device, [])
        known = hello.cursor is not None and hello.cursor.database == self.database
        return Welcome(
            protocol=1,
            device=device,
            database=self.database,
            sequence=self.sequence,
            schema_version=APP.version,
            fingerprint=FINGERPRINT,
            clock=hello.clock,
            resume="replay" if known else "reset",
            merged_through=len(taken),
            replicated=self.safe,
            replaced=self.replaced,
        )

    @property
    def safe(self) -> int:
        """Up to where commits outlive this server."""
        return self.sequence if self.replicated is None else self.replicated

    def push(self, push: Push) -> Pushed | Fault:
        """Take mutations, exactly once."""
        taken = self.taken.get(push.device)
        if taken is None:
            return Fault(FaultKind.UNKNOWN_DEVICE, "This number was given to nobody.")
        receipts: list[Receipt] = []
        for mutation in decode_mutations(push, Media.MSGPACK):
            counter = mutation.counter or len(taken) + 1
            if counter <= len(taken):
                known, receipt = taken[counter - 1]
                if known != payload_hash(mutation):
                    return Fault(FaultKind.CLONED_DEVICE, "Another payload had this counter.")
            elif counter > len(taken) + 1:
                message = "Mutations are missing."
                return Fault(FaultKind.COUNTER_GAP, message, merged_through=len(taken))
            else:
                receipt = self.judge(mutation, push.device, counter)
                taken.append((payload_hash(mutation), receipt))
            receipts.append(receipt)
        return self.pushed(receipts, merged_through=len(taken))

    def pushed(self, receipts: Iterable[Receipt], *, merged_through: int) -> Pushed:
        """Return the answer that holds these receipts."""
        receipts = list(receipts)
        merged = [r for r in receipts if r.outcome == "merged"]
        return Pushed(
            merged_through=merged_through,
            sequence=self.sequence,
            merged=[(r.counter, r.counter, r.sequence) for r in merged],
            receipts=[r for r in receipts if r.outcome != "merged"],
            replicated=self.safe,
            database=self.database,
        )

    def judge(self, mutation: WireMutation | Malformed, n: int, counter: int) -> Receipt:
        """Merge a mutation as a whole, or refuse it."""
        if isinstance(mutation, Malformed):
            return self._refused(counter, "quarantined", "malformed", mutation.reason)
        given = self.outcome(mutation)
        if given is not None and given.outcome not in {"accepted", "superseded"}:
            return given
        touched: dict[tuple[str, str], RowState] = {}
        try:
            for change in mutation.changes:
                self._admit(change, Write(mutation.h, n, counter), touched)
        except Refusal as refusal:
            return self._refused(counter, "rejected", refusal.code, refusal.message)
        except (FieldError, KeyError) as error:
            return self._refused(counter, "quarantined", "malformed", str(error))
        for key, row in touched.items():
            self.sequence += 1
            row.sequence = self.sequence
            self.rows[key] = row
        if given is not None:
            return msgspec.structs.replace(given, sequence=self.sequence, h=mutation.h)
        return Receipt(counter, "merged", self.sequence, mutation.h)

    def _refused(self, counter: int, outcome: Outcome, code: str, message: str) -> Receipt:
        return Receipt(counter, outcome, self.sequence, code=code, message=message)

    def _admit(
        self, change: WireChange, at: Write, touched: dict[tuple[str, str], RowState]
    ) -> None:
        key = (change.collection, change.id)
        before = touched.get(key) or self.rows.get(key)
        if before is None:
            if change.op != "insert" or change.space not in self.spaces:
                raise Refusal("row-missing", "There is no such row for you.")
            before = RowState(RowId(change.id), SpaceId(change.space))
        fields = APP.collections[change.collection].fields
        deltas: dict[str, Any] = {}
        for name, payload in change.fields.items():
            delta = fields[name].admit(before.fields.get(name), fields[name].parse(payload), at)
            if delta is not None:
                deltas[name] = delta
        alive = (at.h, at.n, _ALIVE[change.op]) if change.op in _ALIVE else None
        merged = RowDelta(change.collection, before.id, before.space, alive, deltas)
        touched[key] = merge_delta(before, merged, fields)

    # --- what other people write -------------------------------------------------------------

    def write(
        self,
        collection: str,
        row_id: str,
        *,
        n: int = 90,
        h: int = 1,
        op: Literal["insert", "edit", "delete", "restore"] = "insert",
        space: str = NORTH,
        **fields: Any,  # noqa: ANN401  (payloads)
    ) -> RowState:
        """Let another device write a row, at clock value `h`."""
        touched: dict[tuple[str, str], RowState] = {}
        change = WireChange(collection, row_id, op, space, fields)
        self._admit(change, Write(h, n, self.sequence + 1), touched)
        row = touched[collection, row_id]
        self.sequence += 1
        row.sequence = self.sequence
        self.rows[collection, row_id] = row
        return row

    def leave(self, space: str) -> None:
        """Take everybody out of a space."""
        self.sequence += 1
        del self.spaces[space]
        self.lost[space] = self.sequence

    def join(self, space: str, role: str = "member") -> None:
        """Let everybody into a space, or give them another role in it."""
        self.sequence += 1
        self.lost.pop(space, None)
        self.spaces[space] = Space(self.sequence, role)

    # --- what a device reads -----------------------------------------------------------------

    def pull(self, pull: Pull) -> Page | Fault:
        """Return the next page."""
        cursor = pull.cursor
        if cursor is not None and (
            cursor.database != self.database or cursor.sequence > self.sequence
        ):
            return Fault(FaultKind.CURSOR_UNKNOWN, "This cursor is of another database.")
        since = 0 if cursor is None else cursor.sequence
        backfill = None if cursor is None else cursor.backfill
        fresh = {s for s, held in self.spaces.items() if since == 0 or held.gained > since}

        def is_due(row: RowState) -> bool:
            start = 0 if row.space in fresh else since
            if backfill is not None:
                start = max(start, backfill.after)
            return row.space in self.spaces and row.sequence > start

        changed = sorted(
            ((row.sequence, name, row) for (name, _), row in self.rows.items() if is_due(row)),
            key=lambda each: each[0],
        )
        rows_max = min(pull.rows_max, self.page_rows)
        page, rest = changed[:rows_max], changed[rows_max:]
        receipts = self.receipts(pull)
        answer = Page(
            Cursor(self.database, self.sequence),
            more=False,
            gained=[
                Gained(space, "region", self.spaces[space].role)
                for space in sorted(fresh)
                if backfill is None
            ],
            lost=[space for space, at in self.lost.items() if at > since > 0],
            spaces=self.encoded(page),
            merged_through=len(self.taken.get(pull.device, [])),
            merged=[(r.counter, r.counter, r.sequence) for r in receipts if r.outcome == "merged"],
            receipts=[r for r in receipts if r.outcome != "merged"],
            replicated=self.safe,
        )
        if rest:
            answer.cursor = Cursor(self.database, since, Backfill(self.sequence, page[-1][0]))
            answer.more, answer.remaining = True, len(rest)
        else:
            digests = {space: self.digest(space) for space in self.spaces}
            answer.checkpoint = Checkpoint(self.sequence, digests)
        return answer

    def receipts(self, pull: Pull) -> list[Receipt]:
        """Return the outcomes that a pull asks for."""
        taken = self.taken.get(pull.device, [])
        return [receipt for _, receipt in taken if 0 < pull.unconfirmed <= receipt.counter]

    def repair(self, repair: Repair) -> Repaired:
        """Return the rows of the buckets that differ."""
        damaged: list[DamagedBucket] = []
        wanted: list[tuple[int, str, RowState]] = []
        for collection in APP.collections:
            theirs = repair.digests.get(collection, [ZERO] * 16)
            for bucket in range(16):
                if theirs[bucket] == self.digest(repair.space, collection, bucket):
                    continue
                damaged.append(DamagedBucket(collection, bucket))
                wanted += [
                    (row.sequence, name, row)
                    for (name, _), row in self.rows.items()
                    if name == collection
                    and row.space == repair.space
                    and bucket_of(row.id) == bucket
                ]
        encoded = self.encoded(sorted(wanted, key=lambda each: each[0]))
        rows = encoded[0] if encoded else encode_space_rows(repair.space, {})
        digest = self.digest(repair.space)
        return Repaired(repair.space, self.sequence, damaged, rows, digest)

    def poke(self, since: int) -> Poke:
        """Return the poke that tells of everything after a sequence."""
        changed = sorted(
            (
                (row.sequence, name, row)
                for (name, _), row in self.rows.items()
                if row.sequence > since and row.space in self.spaces
            ),
            key=lambda each: each[0],
        )
        return Poke(
            since,
            self.sequence,
            spaces=self.encoded(changed),
            digests={row.space: self.digest(row.space) for _, _, row in changed},
            replicated=self.safe,
        )

    def encoded(self, changed: Iterable[tuple[int, str, RowState]]) -> list[msgspec.Raw]:
        """Return rows as the SpaceRows of their spaces."""
        spaces: dict[str, dict[str, Rows]] = {}
        for sequence, collection, row in changed:
            rows = spaces.setdefault(row.space, {}).setdefault(collection, Rows([], []))
            rows.sequences.append(sequence)
            rows.rows.append(msgspec.Raw(self.bytes_of(collection, row)))
        return [encode_space_rows(space, collections) for space, collections in spaces.items()]

    def bytes_of(self, collection: str, row: RowState) -> bytes:
        """Return a row's canonical bytes, with what the app does not declare."""
        extra = self.extra.get((collection, row.id), {})
        return encode_row(row.id, row.alive, {**row.fields, **extra})

    def digest(self, space: str, collection: str = "", bucket: int | None = None) -> bytes:
        """Return the digest of a space, of a collection in it, or of one bucket."""
        return to_bytes(
            sum(
                row_digest(self.bytes_of(name, row))
                for (name, _), row in self.rows.items()
                if row.space == space
                and row.is_alive
                and collection in {"", name}
                and bucket in {None, bucket_of(row.id)}
            )
        )
