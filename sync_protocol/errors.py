"""Errors of the protocol package.

ProtocolError
├── MalformedMessage   bytes that are not the message they claim to be       malformed
├── MessageTooLarge    more bytes, or more bytes once decompressed, than a   too-large
│                      message may have
├── UnsupportedMedia   a content type or encoding nobody here speaks         unsupported-media
├── UnknownMessage     a message kind that this side never receives          unknown-message
└── OutOfTurn          a message or event that the session's state forbids   out-of-turn

Each carries the kind of fault that answers it. None is retryable: the same bytes, or the same order
of messages, will fail again.
"""

from __future__ import annotations

from typing import ClassVar

from sync_protocol.faults import FaultKind
from sync_protocol.messages.fault import Fault


class ProtocolError(Exception):
    """Root of every error that sync_protocol raises; `kind` is what the other side is told."""

    kind: ClassVar[FaultKind]
    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def to_fault(self) -> Fault:
        """Return the wire message that answers this error."""
        return Fault(fault=self.kind, message=self.message)


class MalformedMessage(ProtocolError):
    """The bytes do not hold a message of the expected form."""

    kind = FaultKind.MALFORMED


class MessageTooLarge(ProtocolError):
    """The message exceeds `bytes_max` bytes after decompression."""

    kind = FaultKind.TOO_LARGE

    def __init__(self, *, bytes_max: int) -> None:
        super().__init__(f"a message may have at most {bytes_max} bytes after decompression")
        self.bytes_max = bytes_max


class UnsupportedMedia(ProtocolError):
    """The content type or content encoding is not one of the protocol's."""

    kind = FaultKind.UNSUPPORTED_MEDIA


class UnknownMessage(ProtocolError):
    """The message's `kind` is not one that this side receives."""

    kind = FaultKind.UNKNOWN_MESSAGE

    def __init__(self, *, name: str) -> None:
        super().__init__(f"no message of kind {name!r:.60} is received here")
        self.name = name


class OutOfTurn(ProtocolError):
    """The session's state has no transition for this event."""

    kind = FaultKind.OUT_OF_TURN

    def __init__(self, *, state: str, event: str) -> None:
        super().__init__(f"{event} is not expected while the session is {state}")
        self.state = state
        self.event = event
