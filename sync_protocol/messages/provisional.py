"""provisional: what phones of the same region wrote while the primary is away."""

from __future__ import annotations

from sync_protocol.messages.base import Answer, AnswerPart, Clock, Counter, Device
from sync_protocol.messages.push import WireChange


class ProvisionalMutation(AnswerPart):
    """A mutation that an edge has accepted and the primary has not judged yet.

    Only the changes of rows that the receiver may read are in it; `h` is its author's time. It may
    still be rejected: show it as not confirmed.
    """

    device: Device
    counter: Counter
    h: Clock
    changes: list[WireChange]


class Provisional(Answer, tag="provisional"):
    """The whole set of provisional mutations for this device; it replaces the one before.

    Sent on a stream whenever the set changes without a commit. Sets are bounded: the newest
    mutations are left out when there are too many (docs/PROTOCOL.md).
    """

    mutations: list[ProvisionalMutation] = []
