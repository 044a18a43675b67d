"""Schema lenses: what an app of an older schema version wrote or reads, translated.

A lens stands between version `below` and `below + 1` (after Litt et al. 2020, Project Cambria).
Additive changes need none. Lenses are pure and touch payloads and states, never stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import DeclarationError, FieldError

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Lens:
    """How one collection changed from version `below` to `below + 1`.

    `renamed` maps old field names to new ones; `up` and `down` convert a register's value, keyed by
    the *new* name.
    """

    collection: str
    below: int
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    up: Mapping[str, Convert] = field(default_factory=dict[str, Convert])
    down: Mapping[str, Convert] = field(default_factory=dict[str, Convert])

    def __post_init__(self) -> None:
        if len(set(self.renamed.values())) != len(self.renamed):
            raise DeclarationError(f"lens of {self.collection!r}: two fields become one")

    def raise_payloads(self, payloads: Mapping[str, Any]) -> dict[str, Any]:
        """Translate a change's field payloads (or bases) one version up."""
        raised: dict[str, Any] = {}
        for old_name, payload in payloads.items():
            name = self.renamed.get(old_name, old_name)
            if name in raised:
                raise FieldError("field-repeated", f"{name!r} is written under two names at once")
            raised[name] = _converted(self.up[name], payload) if name in self.up else payload
        return raised

    def raise_names(self, versions: Mapping[str, int]) -> dict[str, int]:
        """Translate the field names of base versions one version up."""
        return {self.renamed.get(name, name): value for name, value in versions.items()}

    def lower_states(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """Translate a row's field states one version down."""
        old_names = {new: old for old, new in self.renamed.items()}
        return {
            old_names.get(name, name): (
                [*state[:-1], self.down[name](state[-1])] if name in self.down else state
            )
            for name, state in states.items()
        }


def _converted(convert: Convert, payload: Any) -> Any:  # noqa: ANN401  (a register's payload)
    """Convert a payload's value; a custom field's payload holds the base it was made from too."""
    if isinstance(payload, dict) and payload.keys() == {"base", "value"}:  # pyright: ignore[reportUnknownMemberType]
        base, value = payload["base"], payload["value"]  # pyright: ignore[reportUnknownVariableType]
        return {"base": None if base is None else convert(base), "value": convert(value)}
    return convert(payload)
