"""The tables of the outbox, and what is done with them in one transaction each.

A push is one row of `ob_push` (whose it is, and when it came) and one row of `ob_entry` per
mutation; `ob_refused` holds what the primary does not take.

Invariants
  O1  a push's counters first..last all have their entries, and no two pushes share a counter
  O2  what the primary refuses moves aside with its reason, in one transaction, bounded
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from core.ids import TenantId
from edge.ports.fleet import OutboxEntry
from edge.ports.outbox import Waiting
from edge.repositories.formats import bring_to_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.ports.sql import SqlReader, SqlWriter

Key = tuple[str, int]
"""(tenant, device)."""

FORMAT: Final = 1
REFUSED_MAX: Final = 100_000
"""Refused mutations kept for the operator, and their bytes: the phones have them still, unless they
were set back to a backup since."""
REFUSED_BYTES_MAX: Final = 64 * 1024 * 1024
REFUSED_KEPT_MS: Final = 7 * 86_400_000
"""A week to look into a refusal; longer would only keep what people have had erased."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ob_meta (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ob_push (
    tenant TEXT NOT NULL, device INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
    position INTEGER NOT NULL, schema_version INTEGER NOT NULL, clock INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL, principal BLOB NOT NULL, PRIMARY KEY (tenant, device, last)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ob_push__position ON ob_push (tenant, position);
CREATE TABLE IF NOT EXISTS ob_entry (
    tenant TEXT NOT NULL, device INTEGER NOT NULL, counter INTEGER NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (tenant, device, counter)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ob_refused (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, device INTEGER NOT NULL,
    counter INTEGER NOT NULL, schema_version INTEGER NOT NULL, payload BLOB NOT NULL,
    accepted_ms INTEGER NOT NULL, refused_ms INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT
"""
"""Statements end with a semicolon; none holds one inside."""

_DEVICE: Final = "tenant = ? AND device = ?"
_PUSH: Final = (
    "SELECT tenant, device, first, last, position, schema_version, clock, accepted_ms, principal "
    "FROM ob_push"
)
_WITH_ENTRIES: Final = (
    "ob_push p CROSS JOIN ob_entry e ON e.tenant = p.tenant AND e.device = p.device "
    "AND e.counter BETWEEN p.first AND p.last"
)


@dataclass(frozen=True, slots=True)
class Push:
    """A row of ob_push."""

    tenant: str
    device: int
    first: int
    last: int
    position: int
    schema_version: int
    clock: int
    accepted_ms: int
    principal: bytes

    def entry(self, counter: int, payload: bytes) -> OutboxEntry:
        """Return one of its entries."""
        return OutboxEntry(
            self.position + counter - self.first,
            TenantId(self.tenant),
            self.device,
            counter,
            self.schema_version,
            self.clock,
            self.principal,
            payload,
            self.accepted_ms,
        )


@dataclass(frozen=True, slots=True)
class Gone:
    """What a settlement has removed, and what is the device's first mutation now."""

    count: int
    size_bytes: int
    head: tuple[int, int, int] | None
    """(counter, position, accepted_ms)."""


def opened(sql: SqlWriter, *, new_database_id: str) -> tuple[dict[Key, Waiting], int, int]:
    """Return what waits by device, the bytes of it all, and the next position."""
    bring_to_format(
        sql,
        _SCHEMA.split(";"),
        meta="ob_meta",
        known_format=FORMAT,
        new_database_id=new_database_id,
    )
    devices: dict[Key, Waiting] = {}
    size_bytes = next_position = 0
    for row in sql.all(f"{_PUSH} ORDER BY tenant, device, last"):
        push = Push(*row)
        count = push.last - push.first + 1
        size_bytes += len(push.principal)
        next_position = max(next_position, push.position + count)
        waiting = devices.get((push.tenant, push.device))
        if waiting is None:
            devices[push.tenant, push.device] = Waiting(
                push.first, push.last, count, push.position, push.accepted_ms
            )
        else:
            waiting.last = push.last
            waiting.count += count
    payloads = sql.one("SELECT coalesce(sum(length(payload)), 0) FROM ob_entry")
    return devices, size_bytes + (0 if payloads is None else payloads[0]), max(next_position, 1)


def grouped(
    entries: Sequence[OutboxEntry], position: int
) -> list[tuple[Push, list[tuple[int, bytes]]]]:
    """Cut entries into pushes: contiguous counters of one device that came together (O1)."""
    groups: list[list[OutboxEntry]] = []
    for entry in entries:
        before = groups[-1][-1] if groups else None
        if before is not None and entry.counter == before.counter + 1 and _same(before, entry):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    pushes: list[tuple[Push, list[tuple[int, bytes]]]] = []
    for group in groups:
        head = group[0]
        push = Push(
            head.tenant, head.device, head.counter, group[-1].counter, position,
            head.schema_version, head.clock, head.accepted_ms, head.principal,
        )  # fmt: skip
        pushes.append((push, [(entry.counter, entry.payload) for entry in group]))
        position += len(group)
    return pushes


def _same(one: OutboxEntry, other: OutboxEntry) -> bool:
    return (
        one.device == other.device
        and one.tenant == other.tenant
        and one.schema_version == other.schema_version
        and one.clock == other.clock
        and one.accepted_ms == other.accepted_ms
        and one.principal == other.principal
    )


def add(entries: Sequence[OutboxEntry], position: int, sql: SqlWriter) -> list[tuple[Push, int]]:
    """Store what is not there; return the pushes stored, each with the bytes of its payloads."""
    spans: dict[Key, tuple[int, int]] = {}
    for entry in entries:
        key = (str(entry.tenant), entry.device)
        low, high = spans.get(key, (entry.counter, entry.counter))
        spans[key] = (min(low, entry.counter), max(high, entry.counter))
    present: set[tuple[str, int, int]] = set()
    for (tenant, device), (low, high) in spans.items():
        rows = sql.all(
            f"SELECT counter FROM ob_entry WHERE {_DEVICE} AND counter BETWEEN ? AND ?",
            (tenant, device, low, high),
        )
        present.update((tenant, device, counter) for (counter,) in rows)
    fresh: dict[tuple[str, int, int], OutboxEntry] = {}
    for entry in entries:
        identity = (str(entry.tenant), entry.device, entry.counter)
        if identity not in present:
            fresh.setdefault(identity, entry)
    stored: list[tuple[Push, int]] = []
    for push, payloads in grouped(list(fresh.values()), position):
        sql.run(
            "INSERT INTO ob_push (tenant, device, first, last, position, schema_version, clock, "
            "accepted_ms, principal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                push.tenant, push.device, push.first, push.last, push.position,
                push.schema_version, push.clock, push.accepted_ms, push.principal,
            ),
        )  # fmt: skip
        sql.many(
            "INSERT INTO ob_entry (tenant, device, counter, payload) VALUES (?, ?, ?, ?)",
            [(push.tenant, push.device, counter, payload) for counter, payload in payloads],
        )
        stored.append((push, sum(len(payload) for _, payload in payloads)))
    return stored


def read(  # noqa: PLR0917
    sql: SqlReader,
    tenant: str,
    device: int,
    first: int,
    last: int,
    mutations_max: int,
    bytes_max: int,
) -> list[OutboxEntry]:
    """Return entries first..last within both bounds; sizes are read before payloads are."""
    where = f"WHERE {_DEVICE} AND counter BETWEEN ? AND ? ORDER BY counter"
    sizes = sql.all(
        f"SELECT counter, length(payload) FROM ob_entry {where} LIMIT ?",
        (tenant, device, first, last, mutations_max),
    )
    taken = _within([size for _, size in sizes], bytes_max)
    if not taken:
        return []
    last = sizes[taken - 1][0]
    pushes = [
        Push(*row)
        for row in sql.all(
            f"{_PUSH} WHERE {_DEVICE} AND last >= ? AND first <= ? ORDER BY last LIMIT ?",
            (tenant, device, first, last, taken),
        )
    ]
    found: list[OutboxEntry] = []
    index = 0
    for counter, payload in sql.all(
        f"SELECT counter, payload FROM ob_entry {where}", (tenant, device, first, last)
    ):
        while pushes[index].last < counter:
            index += 1
        found.append(pushes[index].entry(counter, payload))
    return found


def oldest(sql: SqlReader, tenant: str, limit: int, bytes_max: int) -> list[OutboxEntry]:
    """Return a tenant's oldest entries in order of acceptance, within both bounds."""
    order = "WHERE p.tenant = ? ORDER BY p.position, e.counter LIMIT ?"
    sizes = sql.all(f"SELECT length(e.payload) FROM {_WITH_ENTRIES} {order}", (tenant, limit))
    taken = _within([size for (size,) in sizes], bytes_max, is_first_free=False)
    rows = sql.all(
        "SELECT p.tenant, p.device, p.first, p.last, p.position, p.schema_version, p.clock, "
        f"p.accepted_ms, p.principal, e.counter, e.payload FROM {_WITH_ENTRIES} {order}",
        (tenant, taken),
    )
    return [Push(*row[:9]).entry(row[9], row[10]) for row in rows]


def _within(sizes: Sequence[int], bytes_max: int, *, is_first_free: bool = True) -> int:
    """Return how many of these sizes fit together; the first one whatever it is, if it is free."""
    total = 0
    for index, size in enumerate(sizes):
        total += size
        if total > bytes_max and (index > 0 or not is_first_free):
            return index
    return len(sizes)


def remove(
    tenant: str, device: int, through: int, refusal: tuple[str, int] | None, sql: SqlWriter
) -> Gone:
    """Drop, or put aside, a device's entries up to a counter."""
    up_to = (tenant, device, through)
    if refusal is not None:
        _put_aside(sql, up_to, *refusal)
    gone = cast(
        "tuple[int, int]",
        sql.one(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM ob_entry "
            f"WHERE {_DEVICE} AND counter <= ?",
            up_to,
        ),
    )
    sql.run(f"DELETE FROM ob_entry WHERE {_DEVICE} AND counter <= ?", up_to)
    principals = cast(
        "tuple[int]",
        sql.one(
            "SELECT coalesce(sum(length(principal)), 0) FROM ob_push "
            f"WHERE {_DEVICE} AND last <= ?",
            up_to,
        ),
    )
    sql.run(f"DELETE FROM ob_push WHERE {_DEVICE} AND last <= ?", up_to)
    # A push that is gone in part keeps its place: its positions follow from where it began.
    sql.run(
        "UPDATE ob_push SET position = position + ? + 1 - first, first = ? + 1 "
        f"WHERE {_DEVICE} AND first <= ?",
        (through, through, *up_to),
    )
    head = sql.one(
        f"SELECT first, position, accepted_ms FROM ob_push WHERE {_DEVICE} ORDER BY last LIMIT 1",
        (tenant, device),
    )
    return Gone(
        gone[0],
        gone[1] + principals[0],
        None if head is None else cast("tuple[int, int, int]", head),
    )


def _put_aside(sql: SqlWriter, up_to: tuple[str, int, int], reason: str, now_ms: int) -> None:
    tenant, device, through = up_to
    sql.run(
        "INSERT INTO ob_refused (tenant, device, counter, schema_version, payload, accepted_ms, "
        "refused_ms, reason) SELECT e.tenant, e.device, e.counter, p.schema_version, e.payload, "
        f"p.accepted_ms, ?, ? FROM {_WITH_ENTRIES} "
        "WHERE p.tenant = ? AND p.device = ? AND e.counter <= ? ORDER BY e.counter",
        (now_ms, reason, tenant, device, through),
    )
    sql.run("DELETE FROM ob_refused WHERE refused_ms < ?", (now_ms - REFUSED_KEPT_MS,))
    sql.run(
        "DELETE FROM ob_refused WHERE id <= (SELECT max(id) FROM (SELECT id, "
        "count(*) OVER latest AS count, sum(length(payload)) OVER latest AS size_bytes "
        "FROM ob_refused WINDOW latest AS (ORDER BY id DESC)) "
        "WHERE count > ? OR size_bytes > ?)",
        (REFUSED_MAX, REFUSED_BYTES_MAX),
    )
