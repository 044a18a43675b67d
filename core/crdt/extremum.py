"""Max and Min: the highest or the lowest number ever written stays (a score, a read mark).

A join over a total order (Shapiro et al. 2011, section 2.2); no stamps. A poison value would win
for ever, so both bounds are required. Payload: the number. State: [number].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from core.crdt.field import Field
from core.crdt.scalar import ScalarForm
from core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State, Write
    from core.values import ScalarName

N = TypeVar("N", bound=float)


class Extremum(Field[N]):
    """A bounded number that moves in one direction only."""

    is_nullable = False

    def __init__(
        self,
        scalar: type[N],
        *,
        low: N,
        high: N,
        default: N | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        self._form = ScalarForm(scalar, low=low, high=high)
        if self._form.name not in ("integer", "number"):
            raise DeclarationError("Max and Min hold int or float")
        self.scalar_name: ScalarName = self._form.name
        implied = self._identity(low=low, high=high) if default is None else default
        super().__init__(default=self._form.default(implied), write=write)

    @staticmethod
    def _identity(*, low: N, high: N) -> N:
        raise NotImplementedError

    def parse(self, payload: object) -> N:
        """Validate a number within the bounds."""
        return self._form.check(payload)

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [number]."""
        del at
        return [payload]

    def value(self, state: State) -> N:
        """Return the extreme number; before any write the default."""
        return self.default if state is None else state[0]

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and bounds."""
        return self._form.describe()


class Max(Extremum[N]):
    """The largest number ever written; the default is `low`."""

    kind = "max"

    @staticmethod
    def _identity(*, low: N, high: N) -> N:
        del high
        return low

    def merge(self, left: State, right: State) -> State:
        """Keep the larger number."""
        if left is None or right is None:
            return right if left is None else left
        return right if right[0] > left[0] else left


class Min(Extremum[N]):
    """The smallest number ever written; the default is `high`."""

    kind = "min"

    @staticmethod
    def _identity(*, low: N, high: N) -> N:
        del low
        return high

    def merge(self, left: State, right: State) -> State:
        """Keep the smaller number."""
        if left is None or right is None:
            return right if left is None else left
        return right if right[0] < left[0] else left
