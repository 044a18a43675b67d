"""Custom: the app's own three-way merge decides what concurrent writes amount to.

An LWW-register (Shapiro et al. 2011, section 3.2.1) whose conflicts the primary resolves with a
pure function of the app (mergeable types: Kaki et al. 2019); the result is a change of its own.
Payload: {"base": the value the author saw or null, "value": v}. State: [h, n, value].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from core import values
from core.crdt.field import Register
from core.crdt.scalar import ScalarForm
from core.errors import CoreError, FieldError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.crdt.field import Payload, State, Write

T = TypeVar("T")
_KEYS = frozenset({"base", "value"})


class Custom(Register[T]):
    """A scalar, or any JSON value (`object`), merged by `resolver(base, ours, theirs)`."""

    kind = "custom"

    def __init__(
        self,
        scalar: type[T],
        resolver: Callable[[T | None, T, T], T],
        *,
        default: T | None = None,
        bytes_max: int | None = None,
        write: Iterable[str] | None = None,
    ) -> None:
        self._form = ScalarForm(scalar, bytes_max=bytes_max)
        super().__init__(default=self._form.default(default), write=write)
        self._resolver = resolver
        self.scalar_name = self._form.name

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate the value and the base it was made from."""
        operation = values.mapping(payload, keys=_KEYS)
        if "value" not in operation:
            raise FieldError("wrong-keys", "a custom write holds a value and its base")
        base = operation.get("base")
        return {
            "base": None if base is None else self._form.check(base),
            "value": self._form.check(operation["value"]),
        }

    def delta(self, payload: Payload, at: Write) -> State:
        """Return [h, n, value]."""
        return [at.h, at.n, payload["value"]]

    def resolve(self, base: T | None, ours: T, theirs: T) -> T:
        """Call the app's function and check its result; raise Refusal when either fails.

        `ours` is the value merged first, `theirs` the concurrent one.
        """
        try:
            return self._form.check(self._resolver(base, ours, theirs))
        except CoreError as problem:
            raise Refusal("resolver-failed", f"The resolver's result: {problem}") from problem
        except Exception as problem:
            message = f"The resolver raised {type(problem).__name__}."
            raise Refusal("resolver-failed", message) from problem

    def proposed(self, payload: Payload) -> T:
        """Return the value a change proposes."""
        return payload["value"]

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name and limits."""
        return self._form.describe()
