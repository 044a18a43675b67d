"""Errors of the core package.

CoreError
├── DeclarationError   the app's own declaration is wrong (raised at import or start)
├── ClockError         a stamp outside the packable range
├── IdentifierError    an id that is not of its form
├── FieldError         a payload that its field type cannot take: the mutation is quarantined
└── Refusal            a payload that is well formed but not admissible now: it is rejected
"""

from __future__ import annotations


class CoreError(Exception):
    """Root of every error that core raises; `is_retryable` says whether trying again can help."""

    is_retryable = False


class DeclarationError(CoreError):
    """The app's declaration cannot be served as it stands."""


class ClockError(CoreError):
    """A stamp is outside the 53 bits a stamp may use."""


class IdentifierError(CoreError):
    """An identifier has the wrong length, characters or range."""

    def __init__(self, *, kind: str, value: object) -> None:
        super().__init__(f"not a valid {kind}: {value!r:.80}")
        self.kind = kind
        self.value = value


class FieldError(CoreError):
    """A payload has the wrong shape, type or size for its field.

    `code` is stable and kebab-case (docs/ERRORS.md lists them); `message` is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Refusal(CoreError):
    """A well-formed payload that the present state does not admit (escrow spent, field full)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
