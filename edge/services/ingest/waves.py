"""Scheduling a group of mutations into waves that can each be judged and merged set-wise.

Within a wave no two mutations share a key, so each is judged against rows as the wave before left
them: the outcome equals judging them one by one in order. Keys tell which unique values a mutation
takes; which ones its rows give up is known to the commit only, which cuts a wave there.

Invariants
  W1  mutations that share a key are in different waves, in their order
  W2  a barrier is alone in its wave, after everything before it and before everything after it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from core.changes import Operation
from core.compensate import constrained_collections
from core.crdt.tree_parent import TreeParent

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from core.changes import Change
    from core.schema.app import App


class Keyed(Protocol):
    """Anything that changes rows."""

    @property
    def changes(self) -> tuple[Change[Any], ...]:
        """The parsed changes."""
        ...


M = TypeVar("M", bound=Keyed)


class Scheduler(Generic[M]):
    """Schedules mutations of one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._constrained = constrained_collections(app)
        self._referred = {
            reference.collection
            for declared in app.collections.values()
            for reference in declared.references
        }

    def waves(self, mutations: Iterable[M]) -> list[list[M]]:
        """Return the waves, in order."""
        waves: list[list[M]] = []
        wave_of: dict[Hashable, int] = {}
        floor = 0
        for mutation in mutations:
            if len(changes := mutation.changes) == 1 and (
                (change := changes[0]).collection not in self._constrained
            ):
                keys: list[Hashable] | None = [(change.collection, change.row)]
            else:
                keys = self._keys(mutation)
            if keys is None:
                at = len(waves)
                floor = at + 1
            else:
                at = floor
                for key in keys:
                    wave = wave_of.get(key, 0)
                    at = max(at, wave)
                for key in keys:
                    wave_of[key] = at + 1
            if at == len(waves):
                waves.append([])
            waves[at].append(mutation)
        return waves

    def _keys(self, mutation: M) -> list[Hashable] | None:
        """Return what the mutation's outcome may depend on; None: on more than can be named."""
        keys: list[Hashable] = []
        for change in mutation.changes:
            declared = self._app.collections[change.collection]
            keys.append((change.collection, change.row))
            if change.operation is Operation.DELETE and change.collection in self._referred:
                return None  # Who refers to the row, and to those rows, is not told by the change.
            for reference in declared.references:
                target = change.fields.get(reference.field)
                if isinstance(target, str):
                    keys.append((reference.collection, target))
            for unique in declared.unique:
                if change.operation is Operation.RESTORE:
                    return None
                given = [name for name in unique.fields if name in change.fields]
                if given and len(given) < len(unique.fields):
                    return None
                if given:
                    values = tuple(repr(change.fields[name]) for name in given)
                    keys.append((change.collection, unique.name, values))
            keys.extend(
                (change.collection, "tree", name)
                for name in change.fields
                if isinstance(declared.fields[name], TreeParent)
            )
        return keys
