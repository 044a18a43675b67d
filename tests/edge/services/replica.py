"""A device's confirmed rows as plain Python: rounds applied whole, digests verified each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.row import RowState
from sync_protocol.digest import MODULUS, bucket_of, row_digest, to_bytes
from sync_protocol.limits import BUCKETS
from sync_protocol.rows import decode_row, encode_row
from sync_protocol.space_rows import decode_space_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

    from core.schema.app import App
    from sync_protocol.messages.page import Page
    from sync_protocol.messages.poke import Poke
    from sync_protocol.messages.repaired import Repaired

Key = tuple[str, str]


class DigestMismatch(AssertionError):
    """A checkpoint's digest differs from the replica's."""

    def __init__(self, space: str) -> None:
        super().__init__(space)
        self.space = space


class Replica:
    """What a device holds. It never sees the node's tables."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.cursor: Any = None
        self.rows: dict[Key, RowState] = {}
        self.hashes: dict[Key, int] = {}
        """The digest of each row as the server holds it (another form, after a lens)."""
        self.roles: dict[str, tuple[str, str]] = {}
        self.staged: list[Page] = []
        self.rows_received = 0
        self.resets = 0
        self.rounds = 0

    @staticmethod
    def digest_of(state: RowState) -> int:
        """The digest of one row."""
        return row_digest(encode_row(state.id, state.alive, state.fields))

    def take(self, page: Page) -> None:
        """Keep a page; apply the round when it is whole, and verify its checkpoint."""
        if page.reset:
            self.staged.clear()
        self.staged.append(page)
        if page.more:
            assert page.checkpoint is None
            return
        assert page.checkpoint is not None
        assert page.checkpoint.sequence == page.cursor.sequence
        if self.cursor is None:
            self._drop(None)
        for staged in self.staged:
            self._apply_page(staged)
        self.staged.clear()
        self.cursor = page.cursor
        self.rounds += 1
        self.verify(page.checkpoint.digests)

    def poke(self, poke: Poke) -> bool:
        """Apply a poke that goes on where this replica stands; False: pull instead."""
        if poke.pull or self.cursor is None or self.cursor.sequence != poke.since:
            return False
        self._apply(poke.spaces)
        self.cursor.sequence = poke.sequence
        self.verify(poke.digests)
        return True

    def repair(self, repaired: Repaired) -> None:
        """Replace damaged buckets whole."""
        damaged = {(part.collection, part.bucket) for part in repaired.damaged}
        for key, state in list(self.rows.items()):
            if state.space == repaired.space and (key[0], bucket_of(key[1])) in damaged:
                del self.rows[key]
        self._apply([repaired.rows])
        self.verify({repaired.space: repaired.digest})

    def buckets(self, space: str) -> dict[str, list[bytes]]:
        """This replica's digests of one space, for a repair."""
        sums = {name: [0] * BUCKETS for name in self._app.collections}
        for (collection, row), state in self.rows.items():
            if state.space == space and state.is_alive:
                sums[collection][bucket_of(row)] += self._digest((collection, row))
        return {name: [to_bytes(total) for total in totals] for name, totals in sums.items()}

    def verify(self, digests: dict[str, bytes]) -> None:
        """Compare each space's digest."""
        for space, digest in digests.items():
            total = sum(
                self._digest(key)
                for key, state in self.rows.items()
                if state.space == space and state.is_alive
            )
            if to_bytes(total % MODULUS) != digest:
                raise DigestMismatch(space)

    def living(self) -> dict[Key, RowState]:
        """The rows a person sees."""
        return {key: state for key, state in self.rows.items() if state.is_alive}

    def _digest(self, key: Key) -> int:
        return self.hashes.get(key) or self.digest_of(self.rows[key])

    def _apply_page(self, page: Page) -> None:
        if page.reset:
            self.resets += 1
            self._drop(None)
        for space in page.lost:
            self._drop(space)
        for gained in page.gained:
            role = (gained.kind, gained.role)
            if self.roles.get(gained.space) != role:
                self._forget_unreadable(gained.space, *role)
            self.roles[gained.space] = role
        self._apply(page.spaces)

    def _forget_unreadable(self, space: str, kind: str, role: str) -> None:
        """Another role may read less: what it may not read goes."""
        for key, state in list(self.rows.items()):
            declared = self._app.collections[key[0]]
            if state.space == space and (
                declared.space_kind != kind or role not in declared.access.read
            ):
                del self.rows[key]

    def _apply(self, spaces: Iterable[msgspec.Raw]) -> None:
        for raw in spaces:
            part = decode_space_rows(raw)
            assert part.space in self.roles, "a row of a foreign space"
            for collection, rows in part.collections.items():
                assert rows.sequences == sorted(rows.sequences)
                for index, (sequence, row) in enumerate(
                    zip(rows.sequences, rows.rows, strict=True)
                ):
                    row_id, alive, fields = decode_row(row)
                    key = (collection, row_id)
                    self.rows_received += 1
                    held = self.rows.get(key)
                    if held is not None and held.sequence > sequence:
                        continue
                    self.rows[key] = RowState(row_id, part.space, sequence, alive, dict(fields))  # type: ignore[arg-type]
                    self.hashes.pop(key, None)
                    if rows.hashes:
                        self.hashes[key] = int.from_bytes(rows.hashes[index], "big")

    def _drop(self, space: str | None) -> None:
        for key, state in list(self.rows.items()):
            if space is None or state.space == space:
                del self.rows[key]
        if space is None:
            self.roles.clear()
        else:
            self.roles.pop(space, None)
