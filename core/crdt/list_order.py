"""List order: drag and drop; the latest move of an item wins.

One LWW-register per item that holds its list and a fractional index (Kleppmann 2020, "Moving
elements in list CRDTs"; jittered against collisions). Items are ordered by (index,
id). Not for text. Payload: {"parent": row id or null, "index": text}. State: [h, n, payload].

An index is a fraction in base 62 without trailing zeros, so that between any two there is a third.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import values
from core.crdt.field import Register
from core.errors import DeclarationError, FieldError
from core.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.crdt.field import Payload, State

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INDEX_LENGTH_MAX: Final = 1_024
JITTER_BITS: Final = 32
"""Devices that insert into one gap at once collide rarely: 5,000 keys, one chance in 340."""

REBALANCED_MAX: Final = 100_000
_DIGITS: Final = {character: digit for digit, character in enumerate(ALPHABET)}
_BASE: Final = len(ALPHABET)
_LENGTH_MIN: Final = 8
_WINDOW: Final = 1 << JITTER_BITS
_KEYS = frozenset({"parent", "index"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands: the row it is listed under (None: the top) and its index there."""

    parent: str | None
    index: str


class ListOrder(Register[Place | None]):
    """An item's place in a list; ORDER BY index, id."""

    kind = "list_order"
    scalar_name = "json"

    def __init__(self, *, write: Iterable[str] | None = None) -> None:
        super().__init__(default=None, write=write)

    def parse(self, payload: object) -> dict[str, Any]:
        """Validate a place."""
        place = values.mapping(payload, keys=_KEYS)
        if len(place) != len(_KEYS):
            raise FieldError("wrong-keys", "a place holds parent and index")
        parent = place["parent"]
        if parent is not None and not (isinstance(parent, str) and is_id(parent)):
            raise FieldError("bad-id", "the parent is not a row id")
        return {"index": _checked(place["index"]), "parent": parent}

    def value(self, state: State) -> Place | None:
        """Return the place, or None before any write."""
        return self.default if state is None else Place(**state[2])

    def proposed(self, payload: Payload) -> Place:
        """Return the place a change proposes."""
        return Place(**payload)

    def describe(self) -> dict[str, Any]:
        """A list order has no parameters."""
        return {}


def between(left: str | None, right: str | None, jitter: int) -> str:
    """Return an index strictly between two (None: the end of the list).

    `jitter` is entropy, of which JITTER_BITS are used. Between two neighbours the new key takes the
    middle, so that each insert into the same gap costs about one bit of length whatever the
    pattern; at an end of the list keys keep their length. Raises FieldError unless left < right,
    both being indexes, and when the gap is used up (`too-long`: rebalance the list).
    """
    low = "" if left is None else _checked(left)
    high = None if right is None else _checked(right)
    if high is not None and low >= high:
        raise FieldError("bad-order", "the left index is not below the right one")
    is_open = left is None or right is None
    prefix, floor, ceiling, length = "", 0, 0 if right is not None else 1, 0
    gap_min = _WINDOW if is_open else _WINDOW * 16
    while ceiling - floor <= gap_min or (is_open and length < _LENGTH_MIN):
        floor = floor * _BASE + _digit(low, length)
        ceiling = ceiling * _BASE + (0 if high is None else _digit(high, length))
        length += 1
        if floor == ceiling:
            prefix, floor, ceiling = prefix + ALPHABET[floor], 0, 0
    if length > INDEX_LENGTH_MAX:
        raise FieldError("too-long", "no room between the two: rebalance the list")
    offset = jitter % _WINDOW
    if is_open and left is not None:
        number = floor + 1 + offset
    elif is_open and right is not None:
        number = ceiling - 1 - offset
    else:
        number = (floor + ceiling - _WINDOW) // 2 + offset
    return (prefix + _text(number, length - len(prefix))).rstrip("0")


def rebalanced(count: int) -> list[str]:
    """Return `count` evenly spaced indexes, for the primary's own change that shortens a list."""
    if not 0 <= count <= REBALANCED_MAX:
        raise DeclarationError(f"a list of more than {REBALANCED_MAX} items is not rebalanced")
    step = _BASE**_LENGTH_MIN // (count + 1)
    return [_text(step * place, _LENGTH_MIN).rstrip("0") for place in range(1, count + 1)]


def _checked(index: object) -> str:
    checked = values.text(index, bytes_max=INDEX_LENGTH_MAX)
    if not checked or checked.endswith("0") or any(c not in _DIGITS for c in checked):
        raise FieldError("bad-index", "an index is base 62 and does not end in 0")
    return checked


def _digit(index: str, position: int) -> int:
    return _DIGITS[index[position]] if position < len(index) else 0


def _text(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, _BASE)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
