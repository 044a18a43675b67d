"""Spaces, and who is in them with which role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.ports.records import MemberRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.ports.sql import SqlWriter

_COLUMNS = "m.person, m.space, m.kind, m.role, m.sequence"


class SqlMembers:
    """sk_member and sk_space. A removed membership stays, with role NULL, for devices to learn."""

    def __init__(self, sql: SqlWriter) -> None:
        self._sql = sql

    def membership(self, person: str, space: str) -> MemberRecord | None:
        """Return a person's present membership of a space."""
        found = self._select(
            "WHERE m.person = ? AND m.space = ? AND m.role IS NOT NULL", (person, space)
        )
        return found[0] if found else None

    def of_person(self, person: str) -> list[MemberRecord]:
        """Return a person's present memberships."""
        return self._select("WHERE m.person = ? AND m.role IS NOT NULL", (person,))

    def changed(self, person: str, *, after: int) -> list[MemberRecord]:
        """Return a person's memberships that were given, changed or removed after a sequence."""
        return self._select("WHERE m.person = ? AND m.sequence > ?", (person, after))

    def heads(self, *, after: int) -> dict[str, int]:
        """Return every space with a row write after a sequence, and its last one."""
        return dict(
            self._sql.all("SELECT space, sequence FROM sk_space WHERE sequence > ?", (after,))
        )

    def changed_people(self, *, after: int) -> set[str]:
        """Return everyone whose memberships changed after a sequence."""
        rows = self._sql.all("SELECT person FROM sk_member WHERE sequence > ?", (after,))
        return {row[0] for row in rows}

    def dirty_spaces(self, person: str, *, after: int) -> list[MemberRecord]:
        """Return the person's memberships whose space has a row write after a sequence."""
        return self._select(
            "CROSS JOIN sk_space s ON s.space = m.space "
            "WHERE m.person = ? AND m.role IS NOT NULL AND s.sequence > ?",
            (person, after),
        )

    def latest(self, person: str, space: str) -> MemberRecord | None:
        """Return a person's membership as it was last changed, removed ones too."""
        found = self._select("WHERE m.person = ? AND m.space = ?", (person, space))
        return found[0] if found else None

    def of_space(self, space: str, *, limit: int) -> list[MemberRecord]:
        """Return a space's present members, by person; at most `limit`."""
        return self._select(
            "WHERE m.space = ? AND m.role IS NOT NULL ORDER BY m.person LIMIT ?", (space, limit)
        )

    def count(self, space: str) -> int:
        """Return how many members a space has."""
        row = self._sql.one(
            "SELECT count(*) FROM sk_member WHERE space = ? AND role IS NOT NULL", (space,)
        )
        return 0 if row is None else row[0]

    def count_others(self, space: str, *, roles: Iterable[str], besides: str) -> int:
        """Return how many members besides one person have one of these roles."""
        row = self._sql.one(
            "SELECT count(*) FROM sk_member WHERE space = ? AND person <> ? "
            "AND role IN (SELECT value FROM json_each(?))",
            (space, besides, msgspec.json.encode([*roles]).decode()),
        )
        return 0 if row is None else row[0]

    def note_founder(self, space: str, person: str) -> None:
        """Note who made a space."""
        self._sql.run("INSERT INTO sk_founder (space, person) VALUES (?, ?)", (space, person))

    def founded_by(self, person: str) -> int:
        """Return how many spaces a person has made."""
        row = self._sql.one("SELECT count(*) FROM sk_founder WHERE person = ?", (person,))
        return 0 if row is None else row[0]

    def set(self, member: MemberRecord) -> None:
        """Store a membership; its space comes into being with its first member."""
        self.ensure_space(member.space, member.kind)
        self._sql.run(
            "INSERT INTO sk_member (person, space, kind, role, sequence) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (person, space) DO UPDATE SET role = excluded.role, "
            "sequence = excluded.sequence",
            (member.person, member.space, member.kind, member.role, member.sequence),
        )

    def ensure_space(self, space: str, kind: str) -> None:
        """Make a space exist."""
        self._sql.run(
            "INSERT INTO sk_space (space, kind) VALUES (?, ?) ON CONFLICT (space) DO NOTHING",
            (space, kind),
        )

    def kind_of(self, space: str) -> str | None:
        """Return what kind of space this is, or None when there is no such space."""
        row = self._sql.one("SELECT kind FROM sk_space WHERE space = ?", (space,))
        return None if row is None else row[0]

    def touch_spaces(self, heads: Mapping[str, int]) -> None:
        """Note the last row write of each space."""
        self._sql.run(
            "UPDATE sk_space SET sequence = max(sequence, head.value) FROM json_each(?) AS head "
            "WHERE sk_space.space = head.key",
            (msgspec.json.encode(heads).decode(),),
        )

    def _select(self, condition: str, parameters: tuple[object, ...]) -> list[MemberRecord]:
        rows = self._sql.all(f"SELECT {_COLUMNS} FROM sk_member m {condition}", parameters)
        return [MemberRecord(*row) for row in rows]
