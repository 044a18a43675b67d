"""Mail that leaves the node: one plain text to one person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail; its printed form shows neither the address nor the text, which holds a code."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


class MailFailed(Exception):
    """A mail was not taken; `message` says why and never holds an address, a text or a password."""

    def __init__(self, message: str, *, is_permanent: bool) -> None:
        super().__init__(message)
        self.message = message
        self.is_permanent = is_permanent

    @property
    def is_retryable(self) -> bool:
        """Whether sending the same mail later can help."""
        return not self.is_permanent


class MailTransport(Protocol):
    """Hands mails on; one that is retried can arrive twice, as the answer to it may be lost."""

    async def send(self, mail: Mail) -> None:
        """Hand one mail on, within a bounded time; raise MailFailed."""
        ...

    async def close(self) -> None:
        """Let go of what is open; nothing is sent afterwards."""
        ...
