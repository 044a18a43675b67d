"""welcome: the answer to hello."""

from __future__ import annotations

from typing import Literal

from sync_protocol.messages.base import Answer, Clock, Counter, Device, Id, Sequence, Skew, Version


class Welcome(Answer, tag="welcome"):
    """The device's number, what the server already has of it, and how its sync will resume.

    `merged_through` is the highest contiguous mutation counter with a final outcome; `clock` the
    server's hybrid clock; `skew` the device's lead in clock units (0 within the tolerance);
    `resume`: `current` (nothing new), `replay` (pull goes on from the cursor), `reset` (pull starts
    from zero; the device keeps its unsent queue). `replicated` as in a page. `stale`: the
    node is behind the device's cursor, so there is nothing new here yet. `replaced`: the last
    databases that this one goes on from; what their primaries say counts no more.
    """

    protocol: int
    device: Device
    database: str
    sequence: Sequence
    schema_version: Version
    fingerprint: str
    clock: Clock
    resume: Literal["current", "replay", "reset"]
    merged_through: Counter = 0
    skew: Skew = 0
    replicated: Sequence = 0
    stale: bool = False
    replaced: list[Id] = []
