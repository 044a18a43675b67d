"""Renumbering: what a cloned phone's waiting mutations become under its new identity.

A clone keeps its mutations without a final outcome and numbers them from 1 again. Their payloads
may name earlier writes of the same device by dot: those the primary has already merged stay under
the old device number, those still waiting move with their mutation. A dot covers all earlier writes
of its device, so one dot may become two.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core.ids import SELF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.schema.app import App
    from sync_protocol.messages.push import WireChange, WireMutation

Dot = list[int]


@dataclass(frozen=True, slots=True)
class Renumbering:
    """Waiting counters, ascending; the i-th of them becomes counter i + 1."""

    old_device: int
    waiting: tuple[int, ...]

    def counter(self, old: int) -> int:
        """Return the new counter of a waiting mutation."""
        return bisect_right(self.waiting, old)

    def dots(self, dots: list[Dot]) -> list[Dot]:
        """Rewrite the dots of the device itself; those of others stay."""
        latest: dict[int, int] = {}
        for n, counter in dots:
            if n not in (SELF, self.old_device):
                latest[n] = max(counter, latest.get(n, 0))
                continue
            index = bisect_right(self.waiting, counter)
            if index:
                latest[SELF] = max(index, latest.get(SELF, 0))
            merged = self._last_merged(counter, index)
            if merged and self.old_device != SELF:
                latest[self.old_device] = max(merged, latest.get(self.old_device, 0))
        return [[n, latest[n]] for n in sorted(latest)]

    def mutation(
        self, mutation: WireMutation, kinds: Mapping[tuple[str, str], str]
    ) -> WireMutation:
        """Rewrite a waiting mutation; `kinds` maps (collection, field) to the field's kind."""
        return msgspec.structs.replace(
            mutation,
            counter=self.counter(mutation.counter),
            changes=[self.change(change, kinds) for change in mutation.changes],
        )

    def change(self, change: WireChange, kinds: Mapping[tuple[str, str], str]) -> WireChange:
        """Rewrite the dots inside one change."""
        fields = {
            name: self._payload(payload, kinds.get((change.collection, name), ""))
            for name, payload in change.fields.items()
        }
        return msgspec.structs.replace(change, fields=fields)

    def _payload(self, payload: Any, kind: str) -> Any:  # noqa: ANN401  (each kind has its own)
        if kind == "add_wins" and "remove" in payload:
            removed = {element: self.dots(dots) for element, dots in payload["remove"].items()}
            return {**payload, "remove": removed}
        if kind == "flag" and "off" in payload:
            return {"off": self.dots(payload["off"])}
        if kind == "multi_value" and "seen" in payload:
            return {**payload, "seen": self.dots(payload["seen"])}
        return payload

    def _last_merged(self, counter: int, index: int) -> int:
        """Return the largest counter up to `counter` that is not waiting, 0 for none."""
        while index and self.waiting[index - 1] == counter:
            counter, index = counter - 1, index - 1
        return counter


def kinds_of(app: App, schema_version: int) -> dict[tuple[str, str], str]:
    """Return the kinds of all fields, by the names they had in a schema version."""
    kinds: dict[tuple[str, str], str] = {}
    for collection, declared in app.collections.items():
        names = {name: name for name in declared.fields}
        for lens in reversed(app.lenses_from(collection, schema_version)):
            old_names = {new: old for old, new in lens.renamed.items()}
            names = {now: old_names.get(name, name) for now, name in names.items()}
        for name, old in names.items():
            kinds[collection, old] = declared.fields[name].kind
    return kinds
