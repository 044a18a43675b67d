"""Group: several values move together, as latitude and longitude do.

One LWW-register (Shapiro et al. 2011, section 3.2.1) over a record, so that a merge never mixes two
writes. Payload: an object with exactly the declared keys. State: [h, n, {keys sorted}].
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints, overload

from core import values
from core.crdt.field import Register
from core.crdt.scalar import Primitive, ScalarForm
from core.errors import DeclarationError, FieldError
from core.ids import is_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State

T = TypeVar("T")
D = TypeVar("D")

MEMBERS_MAX = 20
"""A group is one thought of a person; more values than this are a collection of their own."""


class Group(Register[T]):
    """Several scalars under one stamp, declared by keywords or by a frozen dataclass."""

    kind = "group"
    scalar_name = "json"

    @overload
    def __init__(
        self: Group[D | None], declared: type[D], /, *, write: Iterable[str] | None = None
    ) -> None: ...
    @overload
    def __init__(
        self: Group[Any], /, *, write: Iterable[str] | None = None, **members: type[Primitive]
    ) -> None: ...
    def __init__(
        self,
        declared: type[Any] | None = None,
        /,
        *,
        write: Iterable[str] | None = None,
        **members: type[Primitive],
    ) -> None:
        super().__init__(default=None, write=write)  # pyright: ignore[reportArgumentType]
        if (declared is None) == (not members):
            raise DeclarationError("Group takes a dataclass or keywords, one of the two")
        self.record = _record(members) if declared is None else _checked(declared)
        hints = get_type_hints(self.record)
        names = sorted(field.name for field in dataclasses.fields(self.record))
        if len(names) > MEMBERS_MAX or not all(is_name(name) for name in names):
            raise DeclarationError(f"Group takes up to {MEMBERS_MAX} lower-case member names")
        self._forms = {name: ScalarForm(hints[name]) for name in names}
        self._checks = {name: form.check for name, form in self._forms.items()}

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate an object with exactly the declared keys."""
        members = values.mapping(payload)
        if members.keys() != self._checks.keys():
            raise FieldError("wrong-keys", f"a group holds exactly {', '.join(self._checks)}")
        return {name: check(members[name]) for name, check in self._checks.items()}

    def value(self, state: State) -> T:
        """Return the record of the winning write."""
        return self.default if state is None else self.record(**state[2])

    def proposed(self, payload: Payload) -> T:
        """Return the record a change proposes."""
        return self.record(**payload)

    def describe(self) -> dict[str, Any]:
        """Return the members' scalars."""
        return {"members": {name: form.describe() for name, form in self._forms.items()}}


def _record(members: dict[str, type[Primitive]]) -> type[Any]:
    try:
        return dataclasses.make_dataclass("Record", members.items(), frozen=True, slots=True)
    except TypeError as problem:
        raise DeclarationError(f"these cannot be members of a group: {problem}") from problem


def _checked(declared: type[Any]) -> type[Any]:
    parameters = getattr(declared, "__dataclass_params__", None)
    if not isinstance(declared, type) or parameters is None or not parameters.frozen:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError("Group takes a frozen dataclass")
    if not dataclasses.fields(declared):
        raise DeclarationError("a group without members")
    return declared
