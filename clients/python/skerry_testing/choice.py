"""Choosing from a few things, at less cost than a strategy made anew for each choice."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def choose(draw: st.DrawFn, options: Sequence[T]) -> T:
    """Draw one of the options; shrinks towards the first."""
    return options[draw(_below(len(options)))]


def choose_some(draw: st.DrawFn, options: Sequence[T], *, least: int, most: int) -> list[T]:
    """Draw `least` to `most` different options, as far as there are so many."""
    left = list(options)
    count = choose(draw, range(min(least, len(left)), min(most, len(left)) + 1))
    return [left.pop(draw(_below(len(left)))) for _ in range(count)]


@cache
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)
