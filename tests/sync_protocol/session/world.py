"""A server, devices with stores, and links that break: everything a session needs but a network.

The server is a model: one space, one collection, rows with one field; it keeps payload hashes like
a real one, so that clones and repeats are told apart.
"""

from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec

from sync_protocol.codec import decode_mutations, decode_space_rows, encode_space_rows, payload_hash
from sync_protocol.digest import DigestSum, bucket_of
from sync_protocol.faults import FaultKind
from sync_protocol.limits import BUCKETS
from sync_protocol.media import Media
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Checkpoint, Page, Rows
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push, WireChange, WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import DamagedBucket, Repaired
from sync_protocol.messages.welcome import Welcome
from sync_protocol.rows import decode_row, encode_row
from sync_protocol.session import effects as do
from sync_protocol.session import events as on
from sync_protocol.session.client import ClientSession
from sync_protocol.session.server import ServerSession

RowsById = dict[str, tuple[int, bytes]]


def digest_of(rows: RowsById) -> bytes:
    total = DigestSum()
    for _, row in rows.values():
        total.add(row)
    return bytes(total)


def buckets_of(rows: RowsById) -> list[bytes]:
    return [
        digest_of({key: row for key, row in rows.items() if bucket_of(key) == bucket})
        for bucket in range(BUCKETS)
    ]


def packed(rows: RowsById) -> msgspec.Raw:
    ordered = sorted(rows.values())
    return encode_space_rows(
        "s", {"c": Rows([s for s, _ in ordered], [msgspec.Raw(row) for _, row in ordered])}
    )


def unpacked(raw: msgspec.Raw) -> RowsById:
    rows = decode_space_rows(raw).collections["c"]
    return {
        decode_row(row)[0]: (sequence, bytes(row))
        for sequence, row in zip(rows.sequences, rows.rows, strict=True)
    }


@dataclass
class Service:
    """The primary: rows in commit order, and every device's payload hashes."""

    database: str = "db"
    sequence: int = 0
    rows: RowsById = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    hashes: dict[int, list[bytes]] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    trouble: list[FaultKind] = field(default_factory=list)
    devices: list["Device"] = field(default_factory=list)

    def write(self, row_id: str, text: str) -> None:
        self.sequence += 1
        alive = (self.sequence, 1, True)
        row = encode_row(row_id, alive, {"f": [self.sequence, 1, text]})
        self.rows[row_id] = (self.sequence, row)

    def tell(self, before: int) -> None:
        if self.sequence == before:
            return
        rows = {key: row for key, row in self.rows.items() if row[0] > before}
        for device in self.devices:
            digests = {"s": digest_of(self.rows)}
            device.poke(Poke(before, self.sequence, spaces=[packed(rows)], digests=digests))

    def answer(self, message: Hello | Push | Pull | Repair):
        if self.trouble:
            return Fault(self.trouble.pop(), "planted")
        return getattr(self, type(message).__name__.lower())(message)

    def hello(self, hello: Hello):
        n = self.numbers.setdefault(hello.installation, len(self.numbers) + 2)
        hashes = self.hashes.setdefault(n, [])
        resume = "replay" if hello.cursor and hello.cursor.database == self.database else "reset"
        return Welcome(1, n, self.database, self.sequence, 1, "f", 1, resume, len(hashes))

    def push(self, push: Push):
        hashes = self.hashes[push.device]
        for mutation in decode_mutations(push, Media.MSGPACK):
            assert isinstance(mutation, WireMutation)
            if mutation.counter > len(hashes) + 1:
                return Fault(FaultKind.COUNTER_GAP, "gap", merged_through=len(hashes))
            if mutation.counter <= len(hashes):
                if hashes[mutation.counter - 1] != payload_hash(mutation):
                    return Fault(FaultKind.CLONED_DEVICE, "clone", merged_through=len(hashes))
                continue
            hashes.append(payload_hash(mutation))
            change = mutation.changes[0]
            self.taken.append(change.fields["f"])
            self.write(change.id, change.fields["f"])
        counters = [each.counter or 0 for each in decode_mutations(push, Media.MSGPACK)]
        run = (counters[0], counters[-1], self.sequence)
        return Pushed(len(hashes), self.sequence, [run], database=self.database)

    def pull(self, pull: Pull):
        after = pull.cursor.sequence if pull.cursor else 0
        if pull.cursor and (pull.cursor.database != self.database or after > self.sequence):
            return Fault(FaultKind.CURSOR_UNKNOWN, "unknown")
        newer = sorted((s, key) for key, (s, _) in self.rows.items() if s > after)
        chosen = {key: self.rows[key] for _, key in newer[: pull.rows_max]}
        if more := len(newer) > pull.rows_max:
            cursor = Cursor(self.database, max(s for s, _ in chosen.values()))
        else:
            cursor = Cursor(self.database, self.sequence)
        return Page(
            cursor,
            more=more,
            reset=pull.cursor is None,
            spaces=[packed(chosen)],
            checkpoint=None if more else Checkpoint(self.sequence, {"s": digest_of(self.rows)}),
        )

    def repair(self, repair: Repair):
        mine = buckets_of(self.rows)
        damaged = [b for b in range(BUCKETS) if mine[b] != repair.digests["c"][b]]
        rows = {key: row for key, row in self.rows.items() if bucket_of(key) in damaged}
        return Repaired(
            "s",
            self.sequence,
            [DamagedBucket("c", bucket) for bucket in damaged],
            packed(rows),
            digest_of(self.rows),
        )


@dataclass
class Device:
    """A phone: a store, a client session, and a link that holds messages both ways."""

    service: Service
    installation: str
    session: ClientSession = field(default_factory=lambda: ClientSession(rows_max=2))
    stream: ServerSession | None = None
    up: list = field(default_factory=list)
    down: list = field(default_factory=list)
    queue: list[tuple[int, str]] = field(default_factory=list)
    counter: int = 0
    rows: RowsById = field(default_factory=dict)
    kept: list[Page] = field(default_factory=list)
    cursor: Cursor | None = None
    retries: list[do.Retry] = field(default_factory=list)
    log: list[do.ClientEffect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service.devices.append(self)

    def write(self, text: str) -> None:
        self.counter += 1
        self.queue.append((self.counter, text))
        self.feed(on.QueueChanged())

    def feed(self, event: on.ClientEvent) -> None:
        for effect in self.session.handle(event):
            self.log.append(effect)
            if (method := getattr(self, f"_{type(effect).__name__.lower()}", None)) is not None:
                method(effect)

    def connect(self) -> None:
        assert self.stream is None
        self.stream = ServerSession()
        hello = Hello(1, "a", 1, "f", self.installation, 1, self.counter, self.cursor)
        self.feed(on.Connected(hello))

    def disconnect(self) -> None:
        if self.stream is not None:
            self._cut()
            self.feed(on.Disconnected())

    def deliver_up(self) -> None:
        if self.up and self.stream:
            self._serve(self.stream.handle(on.Received(self.up.pop(0))))

    def deliver_down(self) -> None:
        if self.down:
            self.feed(on.Received(self.down.pop(0)))

    def poke(self, poke: Poke) -> None:
        if self.stream is not None:
            self._serve(self.stream.handle(on.Changed(poke)))

    def retry(self) -> None:
        if self.retries:
            self.feed(on.RetryDue(self.retries.pop(0).of))

    def _serve(self, effects: list[do.ServerEffect]) -> None:
        assert self.stream is not None
        for effect in effects:
            if isinstance(effect, do.Send):
                self.down.append(effect.message)
            elif isinstance(effect, do.Serve):
                name: Any = type(effect.message).__name__.lower()
                before = self.service.sequence
                answer = self.service.answer(effect.message)
                self._serve(self.stream.handle(on.Answered(name, answer)))
                self.service.tell(before)

    def _cut(self) -> None:
        self.stream = None
        self.up.clear()
        self.down.clear()

    def _send(self, effect) -> None:
        self.up.append(effect.message)

    def _reconnect(self, effect) -> None:
        self._cut()
        self.retries.clear()

    _signin = _stop = _reconnect

    def _becomenew(self, effect) -> None:
        self.installation += "+"
        self.queue = [(number, text) for number, (_, text) in enumerate(self.queue, 1)]
        self.counter = len(self.queue)

    def _preparepush(self, effect) -> None:
        chosen = [each for each in self.queue if each[0] > effect.after_counter][:2]
        if not chosen:
            self.feed(on.PushReady(None))
            return
        raws = [
            msgspec.Raw(
                msgspec.msgpack.encode(
                    WireMutation(
                        c, c, [WireChange("c", f"r{crc32(text.encode()) % 7}", fields={"f": text})]
                    )
                )
            )
            for c, text in chosen
        ]
        push = Push(effect.device, 1, 1, raws[: effect.mutations_max])
        self.feed(on.PushReady(push, through=chosen[len(push.mutations) - 1][0]))

    def _settle(self, effect) -> None:
        for first, last, _ in effect.pushed.merged:
            self.queue = [each for each in self.queue if not first <= each[0] <= last]

    def _retry(self, effect) -> None:
        self.retries.append(effect)

    def _resetread(self, effect) -> None:
        self.cursor = None
        self.kept.clear()

    def _keeppage(self, effect) -> None:
        self.kept.append(effect.page)

    def _applyround(self, effect) -> None:
        for page in [*self.kept, effect.page]:
            if page.reset:
                self.rows.clear()
            for space in page.spaces:
                self.rows.update(unpacked(space))
        self.kept.clear()
        self.cursor = cursor = effect.page.cursor
        self._verify(effect.page.checkpoint.digests)
        self.feed(on.RoundApplied(cursor))

    def _applypoke(self, effect) -> None:
        for space in effect.poke.spaces:
            self.rows.update(unpacked(space))
        assert self.cursor is not None
        self.cursor = Cursor(self.cursor.database, effect.poke.sequence)
        self._verify(effect.poke.digests)

    def _verify(self, digests: dict[str, bytes]) -> None:
        if "s" in digests and digest_of(self.rows) != digests["s"]:
            self.feed(on.Mismatched("s", {"c": buckets_of(self.rows)}))

    def _applyrepair(self, effect) -> None:
        damaged = {each.bucket for each in effect.repaired.damaged}
        self.rows = {key: row for key, row in self.rows.items() if bucket_of(key) not in damaged}
        self.rows.update(unpacked(effect.repaired.rows))
        is_equal = digest_of(self.rows) == effect.repaired.digest
        self.feed(on.RepairApplied(effect.repaired.space, is_equal))
