"""Events: what the shells around the two sessions tell them.

Messages from the other side are events too: `Received` wraps one, and the tables list its type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.fault import Fault, Request
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.push import Push
from sync_protocol.messages.union import ClientMessage, ServerMessage

Lane = Literal["push", "read", "greet"]
"""What is being retried: the pushes, or hello, pull and repair, which follow one another."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message has arrived from the other side."""

    message: ClientMessage | ServerMessage


@dataclass(frozen=True, slots=True)
class Connected:
    """Client: messages can be sent now; `hello` is how the device introduces itself.

    `replaced`: the databases that the one read or greeted last goes on from; `numbered`: that one,
    and the number it knows the device by (0: none); `floor`: how far the rows went that are read
    from zero again (None: they are not).
    """

    hello: Hello
    replaced: frozenset[str] = frozenset()
    numbered: tuple[str, int] = ("", 0)
    floor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The link is gone, or could not be made."""


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """Client: mutations have been queued."""


@dataclass(frozen=True, slots=True)
class PushReady:
    """Client: the answer to PreparePush; `push` None when nothing is left to send.

    `through` is the last counter in the push, `unconfirmed` the device's lowest counter that has
    been sent and has no final receipt (0: none).
    """

    push: Push | None
    through: int = 0
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class RoundApplied:
    """Client: ApplyRound is done and durable; Mismatched events, if any, came before it."""

    cursor: Cursor
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Client: a space's digest differs from the server's after ApplyRound or ApplyPoke.

    `digests` are the device's, by collection and bucket.
    """

    space: str
    digests: dict[str, list[bytes]]


@dataclass(frozen=True, slots=True)
class RepairApplied:
    """Client: ApplyRepair is done; `is_equal` tells whether the digests are equal now.

    They may differ although all is well, when other rows of the space have changed meanwhile.
    """

    space: str
    is_equal: bool


@dataclass(frozen=True, slots=True)
class PullWanted:
    """Client: the app asks for what is new."""


@dataclass(frozen=True, slots=True)
class RetryDue:
    """Client: the delay of a Retry is over."""

    of: Lane


@dataclass(frozen=True, slots=True)
class Answered:
    """Server: the service has answered a request (`request` tells which kind)."""

    request: Request
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class Changed:
    """Server: something this stream may see has changed."""

    poke: Poke


@dataclass(frozen=True, slots=True)
class ProvisionalChanged:
    """Server: the set of provisional mutations for this stream's device has changed."""

    message: Provisional


@dataclass(frozen=True, slots=True)
class Expelled:
    """Server: the stream has to end (revoked, expired, shutting down)."""

    fault: Fault


ClientEvent = (
    Connected
    | Received
    | Disconnected
    | QueueChanged
    | PushReady
    | RoundApplied
    | Mismatched
    | RepairApplied
    | PullWanted
    | RetryDue
)
ServerEvent = Received | Answered | Changed | ProvisionalChanged | Expelled | Disconnected
