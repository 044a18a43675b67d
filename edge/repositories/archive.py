"""Whole tables page by page, and what an erasure deletes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge.ports.archive import QuarantineRecord
from edge.ports.records import (
    ConflictRecord,
    DeviceRecord,
    InvitationRecord,
    MemberRecord,
    MergedRun,
    ReceiptRecord,
)
from edge.repositories.sql.columns import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from core.row import RowState
    from edge.ports.sql import SqlRow, SqlWriter
    from edge.repositories.sql.table import Table

_SOME = "n IN (SELECT value FROM json_each(?))"
_COUNTED = ("email", "uses", "used", "sequence", "created_ms", "expires_ms")
_WROTE = (
    "(winner->>2 IN (SELECT value FROM json_each(?1)) "
    "OR loser->>2 IN (SELECT value FROM json_each(?1)))"
)


class SqlArchive:
    """All tables of a tenant. `tables` are generated once per app, this object once per unit."""

    def __init__(self, sql: SqlWriter, tables: Mapping[str, Table]) -> None:
        self._sql = sql
        self._tables = tables

    def rows(self, collection: str, *, after: str, limit: int) -> list[RowState]:
        """Return rows, living and dead, by id: the order they lie in."""
        table = self._tables[collection]
        found = self._sql.all(
            f"SELECT {table.select_list} FROM {table.name} AS t WHERE t.id > ? "
            "ORDER BY t.id LIMIT ?",
            (after, limit),
        )
        return [table.decode(row) for row in found]

    def members(
        self, *, after: tuple[str, str], limit: int, person: str | None
    ) -> list[MemberRecord]:
        """Return memberships by (person, space)."""
        found = self._sql.all(
            "SELECT person, space, kind, role, sequence FROM sk_member "
            "WHERE (person, space) > (?1, ?2) AND (?3 IS NULL OR person = ?3) "
            "ORDER BY person, space LIMIT ?4",
            (*after, person, limit),
        )
        return [MemberRecord(*row) for row in found]

    def founders(self, *, after: str, limit: int, person: str | None) -> list[tuple[str, str]]:
        """Return (space, who made it) by space."""
        found = self._sql.all(
            "SELECT space, person FROM sk_founder "
            "WHERE space > ?1 AND (?2 IS NULL OR person = ?2) ORDER BY space LIMIT ?3",
            (after, person, limit),
        )
        return [(row[0], row[1]) for row in found]

    def invitations(self, *, after: str, limit: int, person: str | None) -> list[InvitationRecord]:
        """Return invitations by id; with `person`, those they have made."""
        found = self._sql.all(
            "SELECT id, code_sha256, space, role, inviter, is_by_admin, email, uses, used, "
            "sequence, created_ms, expires_ms FROM sk_invitation "
            "WHERE id > ?1 AND (?2 IS NULL OR inviter = ?2) ORDER BY id LIMIT ?3",
            (after, person, limit),
        )
        return [
            InvitationRecord(
                *row[:5], is_by_admin=row[5] != 0, **dict(zip(_COUNTED, row[6:], strict=True))
            )
            for row in found
        ]

    def devices(self, *, after: int, limit: int, person: str | None) -> list[DeviceRecord]:
        """Return devices by number."""
        found = self._sql.all(
            "SELECT n, person, installation, counter, effective, acknowledged, seen_ms "
            "FROM sk_device WHERE n > ?1 AND (?2 IS NULL OR person = ?2) ORDER BY n LIMIT ?3",
            (after, person, limit),
        )
        return [DeviceRecord(*row) for row in found]

    def runs(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[MergedRun]:
        """Return runs by (device, last counter)."""
        found = self._page(
            "SELECT n, first, last, sequence, hashes FROM sk_merged_run",
            "last", after, limit, numbers,
        )  # fmt: skip
        return [MergedRun(*row) for row in found]

    def receipts(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[ReceiptRecord]:
        """Return other outcomes by (device, counter)."""
        found = self._page(
            "SELECT n, counter, outcome, sequence, h, hash, detail FROM sk_receipt",
            "counter", after, limit, numbers,
        )  # fmt: skip
        return [ReceiptRecord(*row[:6], detail=json.loads(row[6])) for row in found]

    def quarantined(
        self, *, after: tuple[int, int], limit: int, numbers: Sequence[int] | None
    ) -> list[QuarantineRecord]:
        """Return quarantined mutations by (device, counter)."""
        found = self._page(
            "SELECT n, counter, payload, reason FROM sk_quarantine",
            "counter", after, limit, numbers,
        )  # fmt: skip
        return [QuarantineRecord(*row) for row in found]

    def conflicts(
        self, *, after: int, limit: int, numbers: Sequence[int] | None
    ) -> list[ConflictRecord]:
        """Return conflicts by id; with `numbers`, those in which one of the devices wrote."""
        found = self._sql.all(
            "SELECT id, sequence, collection, row, space, field, winner, loser, at_ms "
            f"FROM sk_conflict WHERE id > ?2 AND (?1 IS NULL OR {_WROTE}) ORDER BY id LIMIT ?3",
            (None if numbers is None else to_json(list(numbers)), after, limit),
        )
        return [
            ConflictRecord(*row[:6], winner=_side(row[6]), loser=_side(row[7]), at_ms=row[8])
            for row in found
        ]

    def erase_rows(self, space: str, *, limit: int) -> int:
        """Delete at most `limit` rows of a space, and the log of changes to them."""
        erased = 0
        for table in self._tables.values():
            gone = self._sql.all(
                f"DELETE FROM {table.name} WHERE id IN (SELECT id FROM {table.name} "
                "WHERE space = ? LIMIT ?) RETURNING id",
                (space, limit - erased),
            )
            if gone:
                self._sql.run(
                    "DELETE FROM sk_primary_change WHERE collection = ? "
                    "AND row IN (SELECT value FROM json_each(?))",
                    (table.collection, to_json([row[0] for row in gone])),
                )
            erased += len(gone)
            if erased >= limit:
                break
        return erased

    def erase_space(self, space: str) -> int:
        """Delete a space without rows, and all that is kept of it."""
        conflicts = self._sql.run("DELETE FROM sk_conflict WHERE space = ?", (space,))
        for table in ("sk_digest", "sk_invitation", "sk_founder", "sk_space"):
            self._sql.run(f"DELETE FROM {table} WHERE space = ?", (space,))
        return conflicts

    def erase_receipts(self, numbers: Sequence[int], *, limit: int) -> int:
        """Delete at most `limit` outcomes of each kind of some devices."""
        erased = 0
        for table, key in (
            ("sk_merged_run", "last"),
            ("sk_receipt", "counter"),
            ("sk_quarantine", "counter"),
        ):
            erased += self._sql.run(
                f"DELETE FROM {table} WHERE (n, {key}) IN "
                f"(SELECT n, {key} FROM {table} WHERE {_SOME} LIMIT ?)",
                (to_json(list(numbers)), limit),
            )
        return erased

    def erase_conflicts(self, numbers: Sequence[int], *, limit: int) -> int:
        """Delete at most `limit` conflicts in which some devices wrote."""
        return self._sql.run(
            f"DELETE FROM sk_conflict WHERE id IN (SELECT id FROM sk_conflict WHERE {_WROTE} "
            "LIMIT ?2)",
            (to_json(list(numbers)), limit),
        )

    def blank_receipts(
        self, numbers: Sequence[int], *, after: tuple[int, int], limit: int
    ) -> tuple[int, int] | None:
        """Remove the values that some devices wrote from one page of other devices' receipts."""
        page = self.receipts(after=after, limit=limit, numbers=None)
        wanted = frozenset(numbers)
        blanked = [
            (to_json(detail), receipt.n, receipt.counter)
            for receipt in page
            if (detail := _without_values(receipt.detail, wanted)) is not None
        ]
        self._sql.many("UPDATE sk_receipt SET detail = ? WHERE n = ? AND counter = ?", blanked)
        return (page[-1].n, page[-1].counter) if len(page) == limit else None

    def erase_person(self, person: str, *, emails: Sequence[str]) -> None:
        """Delete memberships, and invitations by a person or to their addresses."""
        self._sql.run("DELETE FROM sk_member WHERE person = ?", (person,))
        self._sql.run("DELETE FROM sk_founder WHERE person = ?", (person,))
        self._sql.run(
            "DELETE FROM sk_invitation WHERE inviter = ? "
            "OR lower(email) IN (SELECT lower(value) FROM json_each(?))",
            (person, to_json(list(emails))),
        )

    def erase_devices(self, numbers: Sequence[int], new_pseudonym: Callable[[], str]) -> None:
        """Replace owner and installation of some devices."""
        self._sql.many(
            "UPDATE sk_device SET person = ?2, installation = ?2, seen_ms = 0 WHERE n = ?1",
            [(n, new_pseudonym()) for n in numbers],
        )

    def _page(
        self,
        select: str,
        key: str,
        after: tuple[int, int],
        limit: int,
        numbers: Sequence[int] | None,
    ) -> list[SqlRow]:
        some = "" if numbers is None else f"AND {_SOME} "
        given = [] if numbers is None else [to_json(list(numbers))]
        return self._sql.all(
            f"{select} WHERE (n, {key}) > (?, ?) {some}ORDER BY n, {key} LIMIT ?",
            [*after, *given, limit],
        )


def _side(text: str) -> tuple[Any, int, int]:
    value, h, n = json.loads(text)
    return value, h, n


def _without_values(detail: dict[str, Any], numbers: frozenset[int]) -> dict[str, Any] | None:
    """Return a receipt's detail without the values that some devices wrote; None: unchanged."""
    conflicts: list[dict[str, Any]] = detail.get("conflicts", [])
    theirs = [
        side
        for conflict in conflicts
        for side in (conflict["winner"], conflict["loser"])
        if side["n"] in numbers and side["value"] is not None
    ]
    for side in theirs:
        side["value"] = None
    return detail if theirs else None
