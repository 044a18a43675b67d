"""The oracle: what a primary makes of a history, in memory and without a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from core.judge import RowKey
from core.row import RowState
from core.schema.collection import Collection
from skerry_testing.primary import Primary, Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.judge import LostWrite
    from core.schema.app import App
    from skerry_testing.history import Delivery, History

C = TypeVar("C", bound=Collection)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one delivery of a history amounts to.

    `states` holds every row, deleted ones too, by (collection name, row id); `receipts` has one
    entry per mutation, in the order in which they were taken.
    """

    states: Mapping[RowKey, RowState]
    receipts: tuple[Receipt, ...]

    def rows(self, declared: type[C]) -> list[C]:
        """Return the living rows of a collection, by id, as rules see them."""
        name = declared.collection_name
        return [
            declared(state)
            for key, state in sorted(self.states.items())
            if key[0] == name and state.is_alive
        ]

    def row(self, declared: type[C], row_id: str) -> C | None:
        """Return one living row, or None."""
        state = self.states.get((declared.collection_name, row_id))
        return declared(state) if state is not None and state.is_alive else None

    @property
    def conflicts(self) -> list[LostWrite]:
        """Writes that lost without having been seen, as the conflict log keeps them."""
        return [lost for receipt in self.receipts for lost in receipt.lost]

    @property
    def rejected(self) -> list[Receipt]:
        """Receipts of mutations that were kept out."""
        return [receipt for receipt in self.receipts if receipt.outcome == "rejected"]


def replay(app: App, history: History) -> Outcome:
    """Return what the primary makes of a history as it happened (its first delivery)."""
    return _run(app, history, history.deliveries[0])


def replay_all(app: App, history: History) -> list[Outcome]:
    """Return what the primary makes of each delivery of a history, in their order."""
    return [_run(app, history, delivery) for delivery in history.deliveries]


def _run(app: App, history: History, delivery: Delivery) -> Outcome:
    primary = Primary(app, history.role_in)
    for push in delivery:
        person = history.phone(push.device).person
        for mutation in history.mutations_of(push.device)[push.first - 1 : push.last]:
            primary.take(mutation, person, push.now_ms)
    return Outcome(primary.rows.states, tuple(primary.receipts))
