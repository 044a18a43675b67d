"""Dots: which write of which device an observed remove has seen (Shapiro et al. 2011; ORSWOT).

A dot is [n, counter]: the device number, or 0 for the author itself, and its mutation's counter. Of
one device only the latest dot per thing matters, so a list of dots is a small version vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core import values
from core.errors import FieldError, Refusal
from core.ids import DEVICE_NUMBER_MAX, SELF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.crdt.field import State

ENTRIES_MAX: Final = 1_000
"""The default size of a field that can grow; a state is sent whole whenever its row changes."""


def parse_dots(payload: object, *, items_max: int) -> list[list[int]]:
    """Validate [[n, counter], ...]; return it sorted, the largest counter of each device only."""
    latest: dict[int, int] = {}
    for item in values.array(payload, items_max=items_max):
        pair = values.array(item, items_max=2)
        if len(pair) != 2:  # noqa: PLR2004  (a pair)
            raise FieldError("wrong-type", "a dot is [device, counter]")
        n = values.integer(pair[0], low=0, high=DEVICE_NUMBER_MAX)
        counter = values.integer(pair[1], low=1)
        latest[n] = max(counter, latest.get(n, 0))
    return [[n, latest[n]] for n in sorted(latest)]


def resolve(dots: list[list[int]], author: int) -> dict[int, int]:
    """Map device to counter, with 0 replaced by the author's own number."""
    latest: dict[int, int] = {}
    for n, counter in dots:
        device = author if n == SELF else n
        latest[device] = max(counter, latest.get(device, 0))
    return latest


def seen_at_most(
    dots: list[list[int]], *, author: int, counter: int, known: Mapping[int, int]
) -> list[list[int]]:
    """Cut dots down to what can have been seen: the primary's own, and the author's before this.

    A remove that names a counter of the future would destroy writes its author has never seen.
    """
    cut: list[list[int]] = []
    for n, claimed in sorted(resolve(dots, author).items()):
        seen = min(claimed, counter - 1 if n == author else known.get(n, 0))
        if seen > 0:
            cut.append([n, seen])
    return cut


def require_room(*, before: State, after: State, entries_max: int) -> None:
    """Raise Refusal when a write would make a full field grow."""
    size = 0 if after is None else len(after)
    if size > entries_max and size > (0 if before is None else len(before)):
        raise Refusal("field-full", f"The field holds {entries_max} entries at most.")
