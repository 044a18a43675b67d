"""The pure heart of Skerry: CRDT types, clock, schema, policies and rules; no I/O.

What an app's declaration needs is exported here.
"""

from core.changes import Change, Operation
from core.constraints import Reference, Unique
from core.crdt.add_wins import AddWins
from core.crdt.append_only import AppendOnly
from core.crdt.blob_reference import Blob, BlobReference
from core.crdt.bounded_counter import BoundedCounter
from core.crdt.counter import Counter
from core.crdt.custom import Custom
from core.crdt.extremum import Max, Min
from core.crdt.first_write import FirstWrite
from core.crdt.flag import Flag
from core.crdt.group import Group
from core.crdt.list_order import ListOrder, Place
from core.crdt.lww import Lww
from core.crdt.map import Map
from core.crdt.multi_value import MultiValue
from core.crdt.ranked import Ranked
from core.crdt.tree_parent import TreeParent
from core.ids import RowId, SpaceId
from core.policy import Access
from core.rules import Accept, Actor, Derive, Reject
from core.schema.app import App
from core.schema.collection import Collection
from core.schema.lens import Lens

__all__ = [
    "Accept",
    "Access",
    "Actor",
    "AddWins",
    "App",
    "AppendOnly",
    "Blob",
    "BlobReference",
    "BoundedCounter",
    "Change",
    "Collection",
    "Counter",
    "Custom",
    "Derive",
    "FirstWrite",
    "Flag",
    "Group",
    "Lens",
    "ListOrder",
    "Lww",
    "Map",
    "Max",
    "Min",
    "MultiValue",
    "Operation",
    "Place",
    "Ranked",
    "Reference",
    "Reject",
    "RowId",
    "SpaceId",
    "TreeParent",
    "Unique",
]
