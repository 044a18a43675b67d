"""Random valid apps: spaces and roles, fields of every kind, unique values, references, deletes."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final, cast

from hypothesis import strategies as st

from core import (
    Access,
    AddWins,
    App,
    AppendOnly,
    Collection,
    Custom,
    FirstWrite,
    Flag,
    Group,
    Lww,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Reference,
    Unique,
)
from core.crdt.registry import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.crdt.field import Field

COLLECTIONS_MAX: Final = 3
"""Enough for a chain of references; more only makes rows meet less often."""
FIELDS_MAX: Final = 4
"""Few fields are written often."""
ROLES: Final = ("owner", "member", "reader")
_KINDS_OF_SPACES: Final = ("team", "desk")
_SCALARS: Final = st.sampled_from((str, int, float, bool))
_SCALARS_OR_JSON: Final = st.sampled_from((str, int, float, bool, object))
_BOUNDS: Final = st.sampled_from(((-3, 3), (0, 1), (5, 9)))


def _later_text(base: str | None, ours: str, theirs: str) -> str:
    del base
    return max(ours, theirs)


def _bounded(declare: Callable[..., Field[Any]]) -> st.SearchStrategy[Field[Any]]:
    return _BOUNDS.map(lambda bounds: declare(int, low=bounds[0], high=bounds[1]))


_DECLARATIONS: Final[dict[str, st.SearchStrategy[Field[Any]]]] = {
    "lww": st.builds(Lww, _SCALARS_OR_JSON)
    | _SCALARS.map(Lww.optional)
    | _BOUNDS.map(lambda bounds: Lww(int, low=bounds[0], high=bounds[1], default=bounds[0])),
    "group": st.builds(lambda: Group(lat=float, lon=float))
    | st.builds(lambda: Group(name=str, is_open=bool)),
    "first_write": st.builds(FirstWrite, _SCALARS),
    "max": _bounded(Max),
    "min": _bounded(Min),
    "ranked": st.sampled_from((("draft", "sent", "paid"), ("open", "shut"))).map(
        lambda labels: Ranked(*labels)
    ),
    "add_wins": st.builds(AddWins),
    "flag": st.builds(Flag),
    "multi_value": st.builds(MultiValue, _SCALARS_OR_JSON),
    "map": st.builds(Map, _SCALARS_OR_JSON),
    "append_only": st.builds(AppendOnly, _SCALARS_OR_JSON),
    "custom": st.builds(lambda: Custom(str, _later_text)),
}
"""How fields of a kind are declared; kinds that are not here have one declaration, their sample."""


def fields(kinds: Iterable[str] | None = None) -> st.SearchStrategy[Field[Any]]:
    """Declared fields of the given kinds (all by default), made anew at each draw."""
    chosen = sorted(SAMPLES if kinds is None else kinds)
    return st.sampled_from(chosen).flatmap(
        lambda kind: _DECLARATIONS[kind] if kind in _DECLARATIONS else st.builds(SAMPLES[kind])
    )


@st.composite
def apps(
    draw: st.DrawFn,
    *,
    kinds: Iterable[str] | None = None,
    collections_max: int = COLLECTIONS_MAX,
) -> App:
    """Valid apps of 1 to `collections_max` collections, without rules.

    `kinds` names the kinds of fields to declare (all by default). The role "owner" may do
    everything; other roles may do less, and some fields are for owners only.
    """
    spaces: dict[str, Sequence[str]] = {
        kind: ROLES[: draw(st.integers(1, len(ROLES)))]
        for kind in _KINDS_OF_SPACES[: draw(st.integers(1, len(_KINDS_OF_SPACES)))]
    }
    app = App("generated", version=1, spaces=spaces)
    for index in range(draw(st.integers(1, collections_max))):
        space = draw(st.sampled_from(sorted(spaces)))
        app.add(_collection(draw, app, f"collection_{index}", space=space, kinds=kinds))
    return app


def _collection(
    draw: st.DrawFn,
    app: App,
    name: str,
    *,
    space: str,
    kinds: Iterable[str] | None,
) -> type[Collection]:
    roles = app.spaces[space]
    earlier = [other for other, made in app.collections.items() if made.space_kind == space]
    body: dict[str, Any] = {}
    for index, field in enumerate(draw(st.lists(fields(kinds), min_size=1, max_size=FIELDS_MAX))):
        if draw(st.integers(0, 5)) == 0:
            field.write = frozenset({roles[0]})
        body[f"{field.kind}_{index}"] = field
    scalars = [key for key, field in body.items() if field.kind == "lww"]
    if scalars and draw(st.integers(0, 2)) == 0:
        scope: Any = draw(st.sampled_from(("space", "tenant")))
        body["unique"] = (Unique((draw(st.sampled_from(scalars)),), scope),)
    if draw(st.booleans()):
        target = draw(st.sampled_from([name, *earlier]))
        on_delete: Any = draw(st.sampled_from(("reject", "cascade", "clear")))
        body["link"] = Lww.optional(str)
        body["references"] = (Reference("link", target, on_delete),)
    body["access"] = _access(draw, roles)
    keywords = {"space": space, "name": name, "edit_wins": draw(st.booleans())}
    made = types.new_class(
        "Generated", (Collection,), keywords, lambda namespace: namespace.update(body)
    )
    return cast("type[Collection]", made)


def _access(draw: st.DrawFn, roles: tuple[str, ...]) -> Access:
    def granted() -> tuple[str, ...]:
        return roles[: draw(st.integers(1, len(roles)))]

    return Access(read=roles, insert=granted(), edit=granted(), delete=granted(), restore=granted())
