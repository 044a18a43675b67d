"""The reference client: an offline-first database on a phone, and its sync.

from skerry_client import Add, Skerry

phone = Skerry("survey.db", app, url="https://example.org", token=get_token)
async with phone:
    field = phone.insert(Airfield, space="region:north", name="Tempelhof")
    phone.edit(Airfield, field, visits=Add(1))
"""

from skerry_client.errors import (
    ClientError,
    RowExists,
    RowMissing,
    TransactionOpen,
    UnknownField,
    WriteTwice,
    WrongDatabase,
)
from skerry_client.operations import (
    Add,
    AddElements,
    Append,
    Drop,
    Lease,
    Off,
    On,
    Operation,
    Put,
    RemoveElements,
    Reopen,
    Reset,
    Resolve,
    Use,
)
from skerry_client.phone import Skerry
from skerry_client.store.conflicts import LostConflict, RefusedChange, Rejected
from skerry_client.syncing import Status
from skerry_client.transaction import Transaction

__all__ = [
    "Add",
    "AddElements",
    "Append",
    "ClientError",
    "Drop",
    "Lease",
    "LostConflict",
    "Off",
    "On",
    "Operation",
    "Put",
    "RefusedChange",
    "Rejected",
    "RemoveElements",
    "Reopen",
    "Reset",
    "Resolve",
    "RowExists",
    "RowMissing",
    "Skerry",
    "Status",
    "Transaction",
    "TransactionOpen",
    "UnknownField",
    "Use",
    "WriteTwice",
    "WrongDatabase",
]
