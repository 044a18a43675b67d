"""An in-memory server on core's reference merge: the client's port conformance fake.

It commits a push at once, reads pages in sequence order with a backfill for gained spaces, and
verifies nothing about people: everybody is a member of `spaces`.
"""

import copy
from collections.abc import Callable

import msgspec

from core.crdt.field import Write
from core.errors import FieldError, Refusal
from core.row import RowDelta, RowState, merge_delta
from skerry_client.fold import alive_of
from sync_protocol.codec import decode_mutations, encode_space_rows
from sync_protocol.digest import ZERO, bucket_of, row_digest, to_bytes
from sync_protocol.faults import FaultKind
from sync_protocol.media import Media
from sync_protocol.messages.cursor import Backfill, Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Gained, Page, Rows
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed, Receipt
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.messages.welcome import Welcome
from sync_protocol.mutations import payload_hash
from sync_protocol.rows import encode_row


class FakeServer:
    def __init__(self, app, spaces, database="db"):
        self.app = app
        self.spaces = dict.fromkeys(spaces, 0)
        """Space to the sequence at which everybody gained it."""
        self.lost = {}
        self.database = database
        self.sequence = 0
        self.rows = {}
        """(collection, id) to (space, RowState)."""
        self.devices = {}
        """Installation to device number."""
        self.taken = {}
        """Device to [(payload hash, receipt)]."""
        self.horizon = 0
        self.rejects: Callable[..., str | None] = lambda _change: None
        """Return a code to reject a change."""
        self.dropped_receipts = False
        self.replicated: int | None = None
        """What survives the loss of this server; None: everything, as on a node by itself."""
        self.provisional = []
        self.stale = False
        """Whether this is a node that every phone is ahead of."""

    def answer(self, message):
        if isinstance(message, Hello):
            return self.hello(message)
        if isinstance(message, Push):
            return self.push(message)
        if isinstance(message, Pull):
            return self.pull(message)
        return self.repair(message)

    def hello(self, hello):
        device = self.devices.setdefault(hello.installation, len(self.devices) + 2)
        taken = self.taken.setdefault(device, [])
        return Welcome(
            protocol=1, device=device, database=self.database, sequence=self.sequence,
            schema_version=self.app.version, fingerprint=hello.fingerprint, clock=hello.clock,
            resume="replay", merged_through=len(taken), replicated=self.safe, stale=self.stale,
        )  # fmt: skip

    def push(self, push):
        taken = self.taken.get(push.device)
        if taken is None:
            return Fault(fault=FaultKind.UNKNOWN_DEVICE, message="who?", answers="push")
        receipts = []
        for mutation in decode_mutations(push, Media.MSGPACK):
            digest = payload_hash(mutation)
            assert mutation.counter is not None
            if mutation.counter <= len(taken):
                known, receipt = taken[mutation.counter - 1]
                if known != digest:
                    return Fault(
                        fault=FaultKind.CLONED_DEVICE, message="clone", answers="push",
                        merged_through=len(taken),
                    )  # fmt: skip
                receipts.append(receipt)
                continue
            if mutation.counter != len(taken) + 1:
                return Fault(
                    fault=FaultKind.COUNTER_GAP, message="gap", answers="push",
                    merged_through=len(taken),
                )  # fmt: skip
            receipt = self.merge(mutation, push.device)
            taken.append((digest, receipt))
            receipts.append(receipt)
        return Pushed(
            merged_through=len(taken),
            sequence=self.sequence,
            merged=[(r.counter, r.counter, r.sequence) for r in receipts if r.outcome == "merged"],
            receipts=[r for r in receipts if r.outcome != "merged"],
            replicated=self.safe,
            database=self.database,
        )

    @property
    def safe(self):
        return self.sequence if self.replicated is None else self.replicated

    def judged(self, device):
        return len(self.taken.get(device, []))

    def copied(self):
        """Return what a replica has of this server."""
        names = ("spaces", "lost", "sequence", "rows", "devices", "taken", "horizon")
        return copy.deepcopy({name: getattr(self, name) for name in names})

    def take_over(self, copied, database):
        """Go on as another database, from what a replica had."""
        for name, value in copy.deepcopy(copied).items():
            setattr(self, name, value)
        self.database = database
        self.replicated = None

    def merge(self, mutation, n):
        touched = {}
        try:
            for change in mutation.changes:
                code = self.rejects(change)
                if code is not None:
                    raise Refusal(code, "said the rule")  # noqa: TRY301
                self.admit(change, Write(mutation.h, n, mutation.counter), touched)
        except (Refusal, FieldError) as refusal:
            return Receipt(
                counter=mutation.counter,
                outcome="rejected" if isinstance(refusal, Refusal) else "quarantined",
                sequence=self.sequence,
                code=refusal.code,
                message=refusal.message,
                fields=["name"],
            )
        for key, row in touched.items():
            self.sequence += 1
            row.sequence = self.sequence
            self.rows[key] = row
        return Receipt(
            counter=mutation.counter, outcome="merged", sequence=self.sequence, h=mutation.h
        )

    def admit(self, change, at, touched):
        key = (change.collection, change.id)
        before = touched.get(key) or self.rows.get(key)
        if before is None:
            if change.op != "insert" or change.space not in self.spaces:
                raise Refusal("row-missing", "There is no such row for you.")
            before = RowState(change.id, change.space)
        elif before.space not in self.spaces:
            raise Refusal("row-missing", "There is no such row for you.")
        fields = self.app.collections[change.collection].fields
        deltas = {}
        for name, payload in change.fields.items():
            field = fields[name]
            delta = field.admit(before.fields.get(name), field.parse(payload), at)
            if delta is not None:
                deltas[name] = delta
        delta = RowDelta(
            change.collection, change.id, before.space, alive_of(change.op, at), deltas
        )
        touched[key] = merge_delta(before, delta, fields)

    def pull(self, pull):
        cursor = pull.cursor
        if self.stale and cursor is not None:
            nothing = Checkpoint(cursor.sequence, {})
            return Page(cursor=cursor, more=False, checkpoint=nothing, stale=True)
        reset = cursor is not None and cursor.database != self.database
        since = 0 if cursor is None or reset else cursor.sequence
        backfill = None if reset or cursor is None else cursor.backfill
        until = backfill.until if backfill else self.sequence
        after = backfill.after if backfill else (since if cursor and not reset else 0)
        gained = [
            Gained(space, "region", "member")
            for space, at in self.spaces.items()
            if backfill is None and (cursor is None or reset or at > since)
        ]
        fresh = {item.space for item in gained} if cursor and not reset else set()
        changed = sorted(
            (row.sequence, collection, row)
            for (collection, _), row in self.rows.items()
            if row.space in self.spaces
            and row.sequence <= until
            and (row.sequence > after or row.space in fresh)
        )
        page, rest = changed[: pull.rows_max], changed[pull.rows_max :]
        receipts = [
            receipt
            for _, receipt in self.taken.get(pull.device, [])
            if 0 < pull.unconfirmed <= receipt.counter
        ]
        common = {
            "reset": reset,
            "gained": gained,
            "lost": [s for s, at in self.lost.items() if at > since] if backfill is None else [],
            "spaces": self.encoded(page),
            "merged_through": len(self.taken.get(pull.device, [])),
            "receipts": [] if self.dropped_receipts else receipts,
            "horizon": self.horizon,
            "replicated": self.safe,
        }
        if rest:
            onward = Cursor(self.database, since, Backfill(until, page[-1][0]))
            return Page(cursor=onward, more=True, remaining=len(rest), **common)
        if until < self.sequence:
            onward = Cursor(self.database, since, Backfill(self.sequence, until))
            return Page(cursor=onward, more=True, **common)
        checkpoint = Checkpoint(self.sequence, {space: self.digest(space) for space in self.spaces})
        return Page(
            cursor=Cursor(self.database, self.sequence),
            more=False,
            checkpoint=checkpoint,
            provisional=[m for m in self.provisional if m.counter > self.judged(m.device)],
            **common,
        )

    def repair(self, repair):
        damaged = []
        wanted = []
        for collection in self.app.collections:
            theirs = repair.digests.get(collection, [ZERO] * 16)
            for bucket in range(16):
                if theirs[bucket] != self.digest(repair.space, collection, bucket):
                    damaged.append(DamagedBucket(collection, bucket))
                    wanted += [
                        (row.sequence, name, row)
                        for (name, _), row in self.rows.items()
                        if name == collection
                        and row.space == repair.space
                        and bucket_of(row.id) == bucket
                    ]
        encoded = self.encoded(sorted(wanted)) or [encode_space_rows(repair.space, {})]
        return Repaired(
            space=repair.space, sequence=self.sequence, damaged=damaged, rows=encoded[0],
            digest=self.digest(repair.space),
        )  # fmt: skip

    def encoded(self, changed):
        spaces = {}
        for sequence, collection, row in changed:
            rows = spaces.setdefault(row.space, {}).setdefault(collection, Rows([], []))
            rows.sequences.append(sequence)
            rows.rows.append(msgspec.Raw(self.bytes_of(row)))
        return [encode_space_rows(space, collections) for space, collections in spaces.items()]

    def bytes_of(self, row):
        return encode_row(row.id, row.alive, row.fields)

    def digest(self, space, collection=None, bucket=None):
        return to_bytes(
            sum(
                row_digest(self.bytes_of(row))
                for (name, _), row in self.rows.items()
                if row.space == space
                and row.is_alive
                and (collection is None or name == collection)
                and (bucket is None or bucket_of(row.id) == bucket)
            )
        )
