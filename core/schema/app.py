"""The app's declaration: spaces and roles, collections, rules, lenses. All derives from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import DeclarationError
from core.ids import is_name
from core.schema.collection import Collection
from core.schema.lens import Lens

if TYPE_CHECKING:
    from core.rules import Rule

R = TypeVar("R", bound="Rule")


class App:
    """One app, served by `skerry serve MODULE`.

    `version` is the schema version (1, 2, ...); `spaces` maps each kind of space to its roles;
    phones with a schema below `oldest_version` are told to update.

    `founders` maps kinds of spaces to the role of whoever makes one: kinds without it are made by
    administrators only. `managers` maps kinds to the roles that may invite, give roles and remove;
    without it administrators alone do. Both stay on the node: `describe` does not tell them.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        spaces: dict[str, Sequence[str]],
        oldest_version: int = 1,
        founders: Mapping[str, str] | None = None,
        managers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not is_name(name):
            raise DeclarationError(f"{name!r} cannot name an app")
        if not 1 <= oldest_version <= version:
            raise DeclarationError("versions start at 1, and oldest_version is at most version")
        for words in ([kind, *roles] for kind, roles in spaces.items()):
            for word in words:
                if not is_name(word):
                    raise DeclarationError(f"{word!r} cannot name a kind of space or a role")
        self.name = name
        self.version = version
        self.oldest_version = oldest_version
        self.spaces = {kind: tuple(roles) for kind, roles in spaces.items()}
        self.founders = dict(founders or {})
        self.managers = _roles_by_kind("managers", managers or {}, self.spaces)
        _roles_by_kind("founders", {k: (role,) for k, role in self.founders.items()}, self.spaces)
        self.collections: dict[str, type[Collection]] = {}
        self.rules: dict[str, list[Rule]] = {}
        self.lenses: dict[tuple[str, int], Lens] = {}

    def add(self, *collections: type[Collection]) -> None:
        """Declare collections; their spaces, roles and references are checked here."""
        for declared in collections:
            name = declared.collection_name
            if name in self.collections:
                raise DeclarationError(f"two collections are called {name!r}")
            if declared.space_kind not in self.spaces:
                raise DeclarationError(f"{name!r} lives in an undeclared space kind")
            self._check_roles(declared)
            self.collections[name] = declared
            self.rules[name] = []
        for declared in collections:
            for reference in declared.references:
                target = self.collections.get(reference.collection)
                if target is None or target.space_kind != declared.space_kind:
                    raise DeclarationError(
                        f"{declared.collection_name!r} refers to {reference.collection!r}, which "
                        "is not a collection of the same kind of space"
                    )

    def rule(self, declared: type[Collection]) -> Callable[[R], R]:
        """Register a rule of a collection; rules run in the order of their registration."""

        def register(rule: R) -> R:
            self._rules_of(declared).append(rule)
            return rule

        return register

    def lens(self, lens: Lens) -> None:
        """Register how a collection changed between two schema versions."""
        key = (lens.collection, lens.below)
        if key in self.lenses or not 1 <= lens.below < self.version:
            raise DeclarationError(f"lens {key} is declared twice or outside the versions")
        self.lenses[key] = lens

    def lenses_from(self, collection: str, version: int) -> list[Lens]:
        """Return the lenses of a collection from `version` up to the present, lowest first."""
        return [
            lens
            for below in range(version, self.version)
            if (lens := self.lenses.get((collection, below))) is not None
        ]

    def describe(self) -> dict[str, Any]:
        """Return what both sides must agree on, as plain JSON with sorted keys."""
        return {
            "app": self.name,
            "version": self.version,
            "collections": {
                name: {
                    "space": declared.space_kind,
                    "edit_wins": declared.edit_wins,
                    "fields": {
                        field: {"kind": spec.kind, **spec.describe()}
                        for field, spec in sorted(declared.fields.items())
                    },
                }
                for name, declared in sorted(self.collections.items())
            },
        }

    def _rules_of(self, declared: type[Collection]) -> list[Rule]:
        rules = self.rules.get(declared.collection_name)
        if rules is None:
            raise DeclarationError(f"add {declared.collection_name!r} before its rules")
        return rules

    def _check_roles(self, declared: type[Collection]) -> None:
        known = set(self.spaces[declared.space_kind])
        access = declared.access
        if not access.read:
            raise DeclarationError(f"{declared.collection_name!r} names no role that may read it")
        named = set[str]().union(
            access.read,
            access.insert,
            access.edit,
            access.delete,
            access.restore,
            *(field.write or () for field in declared.fields.values()),
        )
        unknown = sorted(named - known)
        if unknown:
            raise DeclarationError(f"{declared.collection_name!r} names unknown roles: {unknown}")


def _roles_by_kind(
    title: str, roles_by_kind: Mapping[str, Sequence[str]], spaces: Mapping[str, Sequence[str]]
) -> dict[str, frozenset[str]]:
    """Return roles per kind of space; raise DeclarationError when one is not declared."""
    for kind, roles in roles_by_kind.items():
        if kind not in spaces:
            raise DeclarationError(f"{title} names the undeclared kind of space {kind!r}")
        if isinstance(roles, str):
            raise DeclarationError(f"{title} of {kind!r} takes a collection of roles, not one text")
        unknown = sorted(set(roles) - set(spaces[kind]))
        if unknown:
            raise DeclarationError(f"{title} of {kind!r} names unknown roles: {unknown}")
    return {kind: frozenset(roles) for kind, roles in roles_by_kind.items()}
