"""A figure: a measured value beside the limit it is held against and what is required of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`limit` was measured in the same run, in the same unit; `ratio` is value / limit.

    `at_least`, `at_most` and `ratio_at_least` are what is required; none of them: for information.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    ratio_at_least: float | None = None

    def __post_init__(self) -> None:
        if self.ratio is None and self.limit:
            object.__setattr__(self, "ratio", self.value / self.limit)

    @property
    def required(self) -> str:
        """What is required, in words; empty when nothing is."""
        parts: list[str] = []
        if self.at_least is not None:
            parts.append(f">= {self.at_least:,g}")
        if self.at_most is not None:
            parts.append(f"<= {self.at_most:,g}")
        if self.ratio_at_least is not None:
            parts.append(f"ratio >= {self.ratio_at_least:g}")
        return " and ".join(parts)

    @property
    def is_met(self) -> bool | None:
        """Whether everything required holds; None when nothing is required."""
        if not self.required:
            return None
        is_enough = self.at_least is None or self.value >= self.at_least
        is_little = self.at_most is None or self.value <= self.at_most
        is_near = self.ratio_at_least is None or (self.ratio or 0) >= self.ratio_at_least
        return is_enough and is_little and is_near


def median_of(rounds: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Return each figure with the medians of its value, limit and ratio over all rounds."""
    by_name: dict[str, list[Figure]] = {}
    for figures in rounds:
        for figure in figures:
            by_name.setdefault(figure.name, []).append(figure)
    return [
        replace(
            same[0],
            value=median(figure.value for figure in same),
            limit=_median_given([figure.limit for figure in same]),
            ratio=_median_given([figure.ratio for figure in same]),
        )
        for same in by_name.values()
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def _median_given(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return median(given) if given else None
