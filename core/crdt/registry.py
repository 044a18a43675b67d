"""Every field type there is; laws, vectors, the SQL engine and the clients loop over this table.

A new type is a module, one line in FIELD_TYPES and one in SAMPLES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.crdt.add_wins import AddWins
from core.crdt.append_only import AppendOnly
from core.crdt.blob_reference import BlobReference
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.counter import Counter
from core.crdt.custom import Custom
from core.crdt.extremum import Max, Min
from core.crdt.first_write import FirstWrite
from core.crdt.flag import Flag
from core.crdt.group import Group
from core.crdt.list_order import ListOrder
from core.crdt.lww import Lww
from core.crdt.map import Map
from core.crdt.multi_value import MultiValue
from core.crdt.ranked import Ranked
from core.crdt.tree_parent import TreeParent

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.crdt.field import Field

_CLASSES: tuple[type[Field[Any]], ...] = (
    Lww,
    Group,
    FirstWrite,
    Max,
    Min,
    Ranked,
    AddWins,
    Flag,
    MultiValue,
    Map,
    Counter,
    BoundedCounter,
    ListOrder,
    TreeParent,
    AppendOnly,
    BlobReference,
    Custom,
)

FIELD_TYPES: Final[dict[str, type[Field[Any]]]] = {declared.kind: declared for declared in _CLASSES}
"""The class of each kind."""


def _longer(base: str | None, ours: str, theirs: str) -> str:
    del base
    return max(ours, theirs, key=lambda text: (len(text), text))


SAMPLES: Final[dict[str, Callable[[], Field[Any]]]] = {
    "lww": lambda: Lww.optional(str),
    "group": lambda: Group(lat=float, lon=float),
    "first_write": lambda: FirstWrite(str),
    "max": lambda: Max(int, low=-1_000_000, high=1_000_000),
    "min": lambda: Min(float, low=-1e6, high=1e6),
    "ranked": lambda: Ranked("draft", "sent", "paid"),
    "add_wins": lambda: AddWins(str),
    "flag": Flag,
    "multi_value": lambda: MultiValue(str),
    "map": lambda: Map(int),
    "counter": Counter,
    "bounded_counter": BoundedCounter,
    "list_order": ListOrder,
    "tree_parent": TreeParent,
    "append_only": lambda: AppendOnly(str),
    "blob_reference": BlobReference,
    "custom": lambda: Custom(str, _longer),
}
"""A representative field of each kind, made anew at each call."""
