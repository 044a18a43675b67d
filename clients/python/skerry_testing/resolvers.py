"""Checks of an app's own resolver: what the primary relies on, and laws to ask for by name.

The primary calls `resolver(base, ours, theirs)` when a write meets a value that its author had not
seen (core/judge.py): `ours` is the value merged first, `theirs` the write's, `base` what its author
had seen, None for nothing. `ours` and `theirs` differ; `base` may be anything the field ever held.
"""

from __future__ import annotations

import copy
import itertools
import json
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hypothesis import given
from hypothesis import settings as Settings  # noqa: N812  (a class)
from hypothesis import strategies as st

from core.errors import Refusal
from skerry_testing.payloads import values as values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.crdt.custom import Custom

T = TypeVar("T")


class Law(Enum):
    """What a resolver may promise beyond what the primary relies on; ask for what yours promises.

    Convergence is none of them: the primary resolves once and sends the result to everybody.
    """

    ONE_SIDED = "where one side kept the base, the other side's value is the result"
    """A three-way merge keeps this; one that prefers, say, the longer text need not."""
    SYMMETRIC = "exchanging ours and theirs changes nothing"
    """Then the result does not depend on which of two writes reached the primary first."""
    ORDER_FREE = "three concurrent writes give one result in any order of arrival"


def check_resolver(
    field: Custom[T],
    values: st.SearchStrategy[T] | None = None,
    *,
    laws: Iterable[Law] = (),
    settings: Settings | None = None,
) -> None:
    """Try to break a declared custom field's resolver: `check_resolver(Airfield.description)`.

    Always checked, because the primary relies on it: it raises nothing, what it returns fits the
    field (scalar, `bytes_max`), the same arguments give the same result, and it leaves its
    arguments as they are. `laws` are checked besides. `values` are those to merge; without it they
    are small ones of the declared scalar, for texts of up to four short lines. Raises
    AssertionError with the smallest counterexample; `settings` are Hypothesis' own.
    """
    drawn = cast("st.SearchStrategy[Any]", values_of(field) if values is None else values)
    _try(_is_sound(field), settings, base=st.none() | drawn, ours=drawn, theirs=drawn)
    if Law.ONE_SIDED in (asked := frozenset(laws)):
        _try(_is_one_sided(field), settings, base=drawn, changed=drawn)
    if Law.SYMMETRIC in asked:
        _try(_is_symmetric(field), settings, base=st.none() | drawn, ours=drawn, theirs=drawn)
    if Law.ORDER_FREE in asked:
        writes = st.lists(drawn, min_size=2, max_size=3)
        _try(_is_order_free(field), settings, base=st.none() | drawn, writes=writes)


def _try(
    holds: Callable[..., None],
    settings: Settings | None,
    **arguments: st.SearchStrategy[Any],
) -> None:
    once = Settings(settings or Settings(), report_multiple_bugs=False)
    once(given(**arguments)(holds))()


def _is_sound(field: Custom[Any]) -> Callable[..., None]:
    def resolver_is_sound(base: Any, ours: Any, theirs: Any) -> None:  # noqa: ANN401
        arguments = (base, ours, theirs)
        kept = copy.deepcopy(arguments)
        first = _resolved(field, *arguments)
        assert _text(arguments) == _text(kept), f"it changed its arguments: {_shown(*arguments)}"
        again = _resolved(field, *kept)
        assert _text(first) == _text(again), f"it is not deterministic: {first!r}, then {again!r}"

    return resolver_is_sound


def _is_one_sided(field: Custom[Any]) -> Callable[..., None]:
    def one_side_kept_the_base(base: Any, changed: Any) -> None:  # noqa: ANN401
        for ours, theirs in ((base, changed), (changed, base)):
            result = _resolved(field, base, ours, theirs)
            assert _text(result) == _text(changed), (
                f"{_shown(base, ours, theirs)} gives {result!r}, not {changed!r}: "
                f"{Law.ONE_SIDED.value}"
            )

    return one_side_kept_the_base


def _is_symmetric(field: Custom[Any]) -> Callable[..., None]:
    def either_may_arrive_first(base: Any, ours: Any, theirs: Any) -> None:  # noqa: ANN401
        result = _resolved(field, base, ours, theirs)
        other = _resolved(field, base, theirs, ours)
        assert _text(result) == _text(other), (
            f"{_shown(base, ours, theirs)} gives {result!r}, and exchanged {other!r}: "
            f"{Law.SYMMETRIC.value}"
        )

    return either_may_arrive_first


def _is_order_free(field: Custom[Any]) -> Callable[..., None]:
    def any_order_of_arrival(base: Any, writes: list[Any]) -> None:  # noqa: ANN401
        results: dict[str, Any] = {}
        for order in itertools.permutations(writes):
            present = order[0]
            for write in order[1:]:
                present = _resolved(field, base, present, write)
            results.setdefault(_text(present), order)
        assert len(results) == 1, f"base={base!r}: {results}: {Law.ORDER_FREE.value}"

    return any_order_of_arrival


def _resolved(field: Custom[Any], base: Any, ours: Any, theirs: Any) -> Any:  # noqa: ANN401
    """Resolve as the primary does: of equal values nothing is asked."""
    if _text(ours) == _text(theirs):
        return ours
    try:
        return field.resolve(base, ours, theirs)
    except Refusal as refusal:
        raise AssertionError(
            f"{_shown(base, ours, theirs)}: {refusal}; a phone would be told {refusal.code!r}"
        ) from refusal.__cause__


def _shown(base: object, ours: object, theirs: object) -> str:
    return f"resolver(base={base!r}, ours={ours!r}, theirs={theirs!r})"


def _text(value: object) -> str:
    """Return JSON, which tells 1 from 1.0 and from true."""
    return json.dumps(value, ensure_ascii=False)
