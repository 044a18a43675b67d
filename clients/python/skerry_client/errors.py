"""Errors of the client.

ClientError
├── RowMissing           there is no such living row on this phone (also a LookupError)
├── RowExists            an insert names a row that is already there
├── UnknownField         a field that the collection does not declare
├── WriteTwice           one transaction writes a field twice that cannot be written twice
├── TransactionOpen      a second transaction while one is open, or a sync inside one
├── WrongDatabase        the file belongs to another app
├── SignInRefused        a password, code or token that is worth nothing
├── SignedOut            nobody is signed in (any more): sign in again
├── StepUpNeeded         the person must prove again who they are
├── AccountRefused       the server refuses something else about the account; `fault` says what
├── NoAnswer             about the account: no network, a busy server, or garbage (retryable)
└── VaultUnreadable      the vault of key and tokens cannot be read

Payloads that a field cannot take raise core's FieldError, shortages raise core's Refusal, both
before anything is stored. Network trouble of the sync raises nothing: it shows in `Skerry.status`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync_protocol.faults import FaultKind


class ClientError(Exception):
    """Root of every error of the client; `is_retryable` says whether trying again helps."""

    is_retryable = False


class RowMissing(ClientError, LookupError):
    """The row is not there, or deleted."""

    def __init__(self, *, collection: str, row: str) -> None:
        super().__init__(f"no living row {row!r} in {collection!r}")
        self.collection = collection
        self.row = row


class RowExists(ClientError):
    """An insert with the id of a row that is already there."""

    def __init__(self, *, collection: str, row: str) -> None:
        super().__init__(f"{collection!r} already holds a row {row!r}")
        self.collection = collection
        self.row = row


class UnknownField(ClientError, AttributeError):
    """The collection does not declare this field."""

    def __init__(self, *, collection: str, field: str) -> None:
        super().__init__(f"{collection!r} has no field {field!r}")
        self.collection = collection
        self.field = field


class WriteTwice(ClientError):
    """Inside one transaction only registers can be written again: the last value counts."""

    def __init__(self, *, collection: str, row: str, field: str) -> None:
        super().__init__(f"{field!r} of {row!r} is written twice in one transaction")
        self.collection = collection
        self.row = row
        self.field = field


class TransactionOpen(ClientError):
    """Transactions do not nest, and a sync never happens inside one."""

    is_retryable = True

    def __init__(self) -> None:
        super().__init__("a transaction is open on this phone")


class WrongDatabase(ClientError):
    """The file cannot be opened by this app: `found` instead of `expected`."""

    def __init__(self, *, found: str, expected: str) -> None:
        super().__init__(f"the file belongs to {found}, not to {expected}")
        self.found = found
        self.expected = expected


class SignInRefused(ClientError):
    """What was presented does not sign in; `reason` is the server's, for people."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SignedOut(ClientError):
    """Nobody is signed in on this phone; what was written waits until somebody is."""

    def __init__(self) -> None:
        super().__init__("nobody is signed in: sign in again")


class StepUpNeeded(ClientError):
    """The operation is dangerous, and the last proof of who the person is too old."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccountRefused(ClientError):
    """The server knows what is asked for and does not do it; nobody is signed out by that."""

    def __init__(self, *, fault: FaultKind, reason: str) -> None:
        super().__init__(f"{fault}: {reason}")
        self.fault = fault
        self.reason = reason


class NoAnswer(ClientError):
    """The server was not reached, or could not answer; ask again, `retry_after_ms` if it said."""

    is_retryable = True

    def __init__(self, *, reason: str, retry_after_ms: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class VaultUnreadable(ClientError):
    """The vault holds something that is not this account's; clearing it allows a new sign-in."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the vault cannot be read: {reason}")
        self.reason = reason
