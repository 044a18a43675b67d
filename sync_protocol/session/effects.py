"""Effects: what the sessions ask of the shells around them, to be carried out in order.

No effect deletes a mutation that has no final receipt: whatever arrives, the queue stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_protocol.messages.fault import Fault
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import ProvisionalMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.union import ClientMessage, ServerMessage
from sync_protocol.messages.welcome import Welcome

if TYPE_CHECKING:
    from sync_protocol.session.events import Lane


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the other side."""

    message: ClientMessage | ServerMessage


@dataclass(frozen=True, slots=True)
class BecomeDevice:
    """Client: keep the device number, the skew and the server's clock.

    Unless the welcome is stale, mutations above its `merged_through` become waiting again, whatever
    receipt they had: the database that gave it is gone.
    """

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class BecomeNew:
    """Client: this installation's identity is used elsewhere, or its history is lost.

    Make a new installation id, number the queue from 1 again without losing any of it, and forget
    the device number; the cursor and the confirmed rows stay. Reconnect follows.

    `database` is the one whose history is lost behind a counter, "" when none is: what another one
    has judged behind it waits again.
    """

    database: str = ""
    merged_through: int = 0


@dataclass(frozen=True, slots=True)
class PreparePush:
    """Client: answer with PushReady, holding mutations after `after_counter`, in counter order.

    `is_gap`: the server has told that it has nothing behind that counter, so what is retained is
    sent too.
    """

    device: int
    after_counter: int
    mutations_max: int
    is_gap: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Client: keep the receipts; mutations with a final one wait for nothing any more."""

    pushed: Pushed


@dataclass(frozen=True, slots=True)
class KeepPage:
    """Client: put a page aside; its round is not complete, and nothing of it may be shown."""

    page: Page


@dataclass(frozen=True, slots=True)
class ApplyRound:
    """Client: apply the pages kept aside and this last one, in one transaction.

    The page's set of provisional mutations replaces the one before. Verify the checkpoint's
    digests, answer Mismatched for each space that differs, then RoundApplied.
    """

    page: Page


@dataclass(frozen=True, slots=True)
class ApplyPoke:
    """Client: apply rows right away and move the cursor to the poke's sequence.

    Its set of provisional mutations, if it has one, replaces the one before. Verify the poke's
    digests; answer Mismatched for each space that differs, and nothing else.
    """

    poke: Poke


@dataclass(frozen=True, slots=True)
class ApplyProvisional:
    """Client: replace the set of provisional mutations; answer nothing."""

    mutations: list[ProvisionalMutation]


@dataclass(frozen=True, slots=True)
class NoteReplicated:
    """Client: commits up to `sequence` outlive the primary; forget what is safe by that."""

    sequence: int


@dataclass(frozen=True, slots=True)
class ApplyRepair:
    """Client: replace whole buckets with the rows given; answer RepairApplied."""

    repaired: Repaired


@dataclass(frozen=True, slots=True)
class ResetRead:
    """Client: drop the cursor and the pages kept aside; the queue stays.

    The confirmed rows stay too, until a page with `reset` replaces them.
    """


@dataclass(frozen=True, slots=True)
class ReportDamage:
    """Client: a space differs from the server's although it was repaired; tell people."""

    space: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Client: answer RetryDue after `after_ms`, or after `backoff_ms(attempt, jitter)` if None."""

    of: Lane
    after_ms: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Client: close the link and make a new one after a delay as in Retry; then Connected."""

    after_ms: int | None
    attempt: int


@dataclass(frozen=True, slots=True)
class SignIn:
    """Client: the session is not authenticated; get a new token, then Connected."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Stop:
    """Client: syncing cannot go on without a person or a new app; the queue stays."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Reached:
    """The session has changed to another state."""

    state: str


@dataclass(frozen=True, slots=True)
class Serve:
    """Server: serve a request; answer Answered."""

    message: ClientMessage


@dataclass(frozen=True, slots=True)
class Close:
    """Server: close the stream, after what was sent before."""


ClientEffect = (
    Send
    | BecomeDevice
    | BecomeNew
    | PreparePush
    | Settle
    | KeepPage
    | ApplyRound
    | ApplyPoke
    | ApplyProvisional
    | NoteReplicated
    | ApplyRepair
    | ResetRead
    | ReportDamage
    | Retry
    | Reconnect
    | SignIn
    | Stop
    | Reached
)
ServerEffect = Send | Serve | Close | Reached
