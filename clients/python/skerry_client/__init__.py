"""The reference client: an offline-first database on a phone, and its sync.

from skerry_client import Account, Add, Skerry

account = Account("https://example.org", "account.json")
phone = Skerry("survey.db", app, url="https://example.org", token=account.token)
async with phone:
    field = phone.insert(Airfield, space="region:north", name="Tempelhof")
    phone.edit(Airfield, field, visits=Add(1))
"""

from skerry_client.errors import (
    AccountRefused,
    ClientError,
    NoAnswer,
    RowExists,
    RowMissing,
    SignedOut,
    SignInRefused,
    StepUpNeeded,
    TransactionOpen,
    UnknownField,
    VaultUnreadable,
    WriteTwice,
    WrongDatabase,
)
from skerry_client.identity.account import Account
from skerry_client.identity.vault import FileTokenStore, TokenStore
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
    "Account",
    "AccountRefused",
    "Add",
    "AddElements",
    "Append",
    "ClientError",
    "Drop",
    "FileTokenStore",
    "Lease",
    "LostConflict",
    "NoAnswer",
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
    "SignInRefused",
    "SignedOut",
    "Skerry",
    "Status",
    "StepUpNeeded",
    "TokenStore",
    "Transaction",
    "TransactionOpen",
    "UnknownField",
    "Use",
    "VaultUnreadable",
    "WriteTwice",
    "WrongDatabase",
]
