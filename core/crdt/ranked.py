"""Ranked: the label furthest along wins (draft < sent < paid), and an epoch reopens.

A join over the lexicographic order of (epoch, rank) (Shapiro et al. 2011, section 2.2); no stamps.
Payload: label, which means epoch 0, or [epoch, label]. State: [epoch, rank].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core import values
from core.crdt.field import Field
from core.errors import DeclarationError, FieldError, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write

EPOCH_MAX: Final = 2**31
LABELS_MAX: Final = 100
LABEL_BYTES_MAX: Final = 256


class Ranked(Field[str]):
    """One of a few ordered labels; the default is the first."""

    kind = "ranked"

    def __init__(
        self, *labels: str, default: str | None = None, write: Iterable[str] | None = None
    ) -> None:
        if not 0 < len(labels) <= LABELS_MAX or len(set(labels)) != len(labels):
            raise DeclarationError(f"Ranked takes 1 to {LABELS_MAX} distinct labels")
        self.labels: tuple[str, ...] = labels
        self._ranks: dict[str, int] = {label: rank for rank, label in enumerate(labels)}
        for label in labels:
            try:
                values.text(label, bytes_max=LABEL_BYTES_MAX)
            except FieldError as problem:
                raise DeclarationError(f"label: {problem.message}") from problem
        if default is not None and default not in self._ranks:
            raise DeclarationError("the default is not one of the labels")
        super().__init__(default=labels[0] if default is None else default, write=write)

    def parse(self, payload: object) -> list[int]:
        """Validate a label or [epoch, label]; return [epoch, rank].

        The parsed form is taken as well, so that a parsed payload parses to itself.
        """
        if isinstance(payload, str):
            return [0, self._rank(payload)]
        pair = values.array(payload, items_max=2)
        if len(pair) != 2:  # noqa: PLR2004  (a pair)
            raise FieldError("wrong-type", "expected a label or [epoch, label]")
        epoch = values.integer(pair[0], low=0, high=EPOCH_MAX)
        return [epoch, self._rank(pair[1])]

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [epoch, rank]."""
        del at
        return payload

    def admit(self, before: State, payload: Payload, at: Write) -> State:
        """Return the delta; refuse an epoch beyond the next one: nobody could reopen it."""
        if payload[0] > (0 if before is None else before[0]) + 1:
            raise Refusal("epoch-ahead", "The epoch is beyond the next one.")
        return self.delta(payload, at)

    def merge(self, left: State, right: State) -> State:
        """Keep the larger (epoch, rank)."""
        if left is None or right is None:
            return right if left is None else left
        return right if (right[0], right[1]) > (left[0], left[1]) else left

    def value(self, state: State) -> str:
        """Return the label."""
        return self.default if state is None else self._label(state[1])

    def epoch_of(self, state: State) -> int:
        """Return the present epoch; to reopen, write [epoch + 1, label]."""
        return 0 if state is None else state[0]

    def proposed(self, payload: Payload) -> str:
        """Return the label a change proposes."""
        return self._label(payload[1])

    def describe(self) -> dict[str, Any]:
        """Return the labels in their order."""
        return {"labels": list(self.labels)}

    def _label(self, rank: int) -> str:
        return self.labels[rank]

    def _rank(self, label: object) -> int:
        if isinstance(label, int) and not isinstance(label, bool):
            return values.integer(label, low=0, high=len(self.labels) - 1)
        rank = self._ranks.get(label) if isinstance(label, str) else None
        if rank is None:
            raise FieldError("unknown-label", "not one of the declared labels")
        return rank
