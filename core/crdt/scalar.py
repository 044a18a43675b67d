"""The form of one scalar inside a field: its name, its limits and its check.

`object` stands for any JSON value that is not null.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from core import values
from core.errors import DeclarationError, FieldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.values import ScalarName

Primitive = str | int | float | bool

_ZERO: Final[dict[ScalarName, Any]] = {"text": "", "integer": 0, "number": 0.0, "flag": False}


class ScalarForm:
    """What a declared `str`, `int`, `float`, `bool` or `object` takes; `check` is the hot path."""

    __slots__ = ("check", "is_nullable", "limits", "name")

    def __init__(
        self,
        scalar: type[object],
        *,
        is_nullable: bool = False,
        bytes_max: int | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        self.name: ScalarName = "json" if scalar is object else _name(scalar)
        self.is_nullable = is_nullable
        self.limits: dict[str, Any] = {}
        if bytes_max is not None or self.name == "text":
            if self.name != "text" or (bytes_max is not None and bytes_max < 1):
                raise DeclarationError("bytes_max is a positive limit of text")
            self.limits["bytes_max"] = values.TEXT_BYTES_MAX if bytes_max is None else bytes_max
        for limit, bound in (("low", low), ("high", high)):
            if bound is not None:
                self.limits[limit] = self._bound(bound)
        if low is not None and high is not None and low > high:
            raise DeclarationError("low is above high")
        plain = _CHECKS[self.name]
        strict: Callable[[object], Any] = partial(plain, **self.limits) if self.limits else plain
        self.check = _nullable(strict) if is_nullable else strict

    def default(self, declared: object | None) -> Any:  # noqa: ANN401  (of the declared scalar)
        """Return the checked default: the declared one, or null, or the scalar's zero."""
        if declared is None and (self.is_nullable or self.name == "json"):
            return None
        try:
            return self.check(_ZERO[self.name] if declared is None else declared)
        except FieldError as problem:
            raise DeclarationError(f"default: {problem.message}") from problem

    def describe(self) -> dict[str, Any]:
        """Return the scalar's name, its limits and whether it may be null."""
        return {"scalar": self.name, "nullable": self.is_nullable, **self.limits}

    def _bound(self, bound: float) -> float:
        if self.name not in ("integer", "number"):
            raise DeclarationError("low and high are limits of numbers")
        try:
            return _CHECKS[self.name](bound)
        except FieldError as problem:
            raise DeclarationError(f"limit: {problem.message}") from problem


def _present(value: object) -> values.Json:
    if value is None:
        raise FieldError("wrong-type", "expected a JSON value, got null")
    return values.json(value)


_CHECKS: Final[dict[ScalarName, Callable[..., Any]]] = {
    "text": values.text,
    "integer": values.integer,
    "number": values.number,
    "flag": values.flag,
    "json": _present,
}


def _name(scalar: type[object]) -> ScalarName:
    name = values.type_names.get(scalar)
    if name is None:
        raise DeclarationError(f"a field holds str, int, float, bool or object, not {scalar!r}")
    return name


def _nullable(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda payload: None if payload is None else check(payload)
