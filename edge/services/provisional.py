"""Provisional: what a device is shown of mutations that nobody has judged yet.

Invariants
  PV1  a change is shown only to people who may read its row, as the database has it or an insert
       that is shown says, and only if its author is in the row's space too
  PV2  a mutation that the snapshot has the outcome of is left out: its rows would count twice
  PV3  a set is a prefix: the newest are left out when there are too many
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core.ids import is_id
from edge.services.access import ReadAccess
from sync_protocol import limits
from sync_protocol.messages.provisional import ProvisionalMutation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from core.schema.app import App
    from edge.ports.records import MemberRecord
    from edge.ports.stores import Unit
    from edge.services.session import DeviceSession
    from edge.services.standing import Accepted
    from sync_protocol.messages.push import WireChange

_encode = msgspec.msgpack.Encoder().encode
Placed = tuple[str, "WireChange"]
"""A change and the space of its row."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """An accepted mutation that the snapshot has no outcome of, its changes in today's form."""

    device: int
    counter: int
    h: int
    changes: tuple[Placed, ...]


class _Allowed(dict[tuple[int, str], tuple[str, ...]]):
    """By device and space: the collections that its person may read there, looked up once."""

    def __init__(self, find: Callable[[int, str], tuple[str, ...]]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: tuple[int, str]) -> tuple[str, ...]:
        found = self[key] = self._find(*key)
        return found


class Provisionals:
    """Makes the sets of one app's devices."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._access = ReadAccess(app)

    def unjudged(self, accepted: Sequence[Accepted], unit: Unit) -> list[Unjudged]:
        """Return what the snapshot has no outcome of, with each row's space (PV2)."""
        if not accepted:
            return []
        counters = unit.devices.counters(list({each.device for each in accepted}))
        waiting = [
            each for each in accepted if each.mutation.counter > counters.get(each.device, 0)
        ]
        allowed = _Allowed(lambda device, space: self._readable(device, space, unit))
        spaces = self._spaces(waiting, allowed, unit)
        found: list[Unjudged] = []
        for each in waiting:
            placed: list[Placed] = []
            for change in each.mutation.changes:
                space = spaces.get((change.collection, change.id))
                if space is None:
                    continue
                raised = self._raised(change, each.schema_version)
                if change.collection in allowed[each.device, space] and raised is not None:
                    placed.append((space, raised))
            mutation = each.mutation
            found.append(Unjudged(each.device, mutation.counter, mutation.h, tuple(placed)))
        return found

    def of_device(
        self,
        session: DeviceSession,
        members: Mapping[str, MemberRecord],
        unjudged: Iterable[Unjudged],
    ) -> list[ProvisionalMutation]:
        """Return one device's set: others' changes that its person may read (PV1, PV3)."""
        found: list[ProvisionalMutation] = []
        size_bytes = 0
        for mutation in unjudged:
            if mutation.device == session.device:
                continue
            changes = [
                change
                for space, change in mutation.changes
                if space in members
                and change.collection in self._access.collections(members[space])
                and not self._app.lenses_from(change.collection, session.schema_version)
            ]
            if not changes:
                continue
            shown = ProvisionalMutation(mutation.device, mutation.counter, mutation.h, changes)
            size_bytes += len(_encode(shown))
            if (
                len(found) >= limits.PROVISIONAL_MUTATIONS_MAX
                or size_bytes > limits.PROVISIONAL_BYTES_MAX
            ):
                break
            found.append(shown)
        return found

    def _spaces(
        self, waiting: Iterable[Accepted], allowed: _Allowed, unit: Unit
    ) -> dict[tuple[str, str], str]:
        """Return each row's space: the database's, else that of its first insert that is shown."""
        ids: dict[str, set[str]] = {}
        inserted: dict[tuple[str, str], str] = {}
        for each in waiting:
            for change in each.mutation.changes:
                if change.collection in self._app.collections and is_id(change.id):
                    ids.setdefault(change.collection, set()).add(change.id)
                    if change.op == "insert" and (
                        change.collection in allowed[each.device, change.space]
                        and self._raised(change, each.schema_version) is not None
                    ):
                        inserted.setdefault((change.collection, change.id), change.space)
        stored = {
            (collection, row): str(state.space)
            for collection, wanted in ids.items()
            for row, state in unit.rows.load(collection, sorted(wanted)).items()
        }
        return inserted | stored

    def _readable(self, device: int, space: str, unit: Unit) -> tuple[str, ...]:
        """Return the collections that a mutation's author may read in a space."""
        author = unit.devices.by_number(device)
        member = None if author is None else unit.members.membership(author.person, space)
        return () if member is None else self._access.collections(member)

    def _raised(self, change: WireChange, schema_version: int) -> WireChange | None:
        """Return a change in today's form; None where it cannot be: the primary will judge."""
        if schema_version >= self._app.version:
            return change
        payloads: dict[str, Any] = change.fields
        base = change.base
        try:
            for lens in self._app.lenses_from(change.collection, schema_version):
                payloads, base = lens.raise_payloads(payloads), lens.raise_names(base)
        except Exception:  # noqa: BLE001  (an app's own function on whatever a phone has sent)
            return None
        return msgspec.structs.replace(change, fields=payloads, base=base)
