"""Last-writer-wins register: the latest write wins (Shapiro et al. 2011, section 3.2.1).

Payload: the value itself, or null where the field is optional. State: [h, n, value].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from core.crdt.field import Register
from core.crdt.scalar import Primitive, ScalarForm

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
S = TypeVar("S", bound=Primitive)


class ScalarRegister(Register[T]):
    """A register of one scalar; its kinds differ in which write wins."""

    def __init__(
        self,
        scalar: type[T],
        *,
        default: T | None = None,
        bytes_max: int | None = None,
        low: float | None = None,
        high: float | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        form = ScalarForm(scalar, bytes_max=bytes_max, low=low, high=high)
        super().__init__(default=form.default(default), write=write)
        self._use(form)

    def parse(self, payload: object) -> T:
        """Validate one scalar of the declared type."""
        return self._check(payload)

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and limits."""
        return self._form.describe()

    def _use(self, form: ScalarForm) -> None:
        self._form = form
        self._check = form.check
        self.scalar_name = form.name
        self.is_nullable = form.is_nullable


class Lww(ScalarRegister[T]):
    """One scalar; of two writes the later stamp wins, and the loser goes to the conflict log."""

    kind = "lww"

    @staticmethod
    def optional(
        scalar: type[S],
        *,
        default: S | None = None,
        bytes_max: int | None = None,
        low: float | None = None,
        high: float | None = None,
        write: Iterable[str] | None = None,
    ) -> Lww[S | None]:
        """Declare a register that may hold null, and holds it until it is written."""
        declared: Lww[Any] = Lww(scalar, write=write)
        form = ScalarForm(scalar, is_nullable=True, bytes_max=bytes_max, low=low, high=high)
        declared.default = form.default(default)
        declared._use(form)
        return declared
