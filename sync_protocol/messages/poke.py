"""poke: the server tells a stream that something it may see has changed."""

from __future__ import annotations

import msgspec

from sync_protocol.messages.base import Counter, Digest, Message, Sequence


class Poke(Message, tag="poke"):
    """Changes in (`since`, `sequence`] of the stream's spaces, in `spaces` (each a SpaceRows).

    A device whose cursor stands at or after `since` applies it at once and verifies `digests`; any
    other, and every device when `pull` is true, pulls instead. Slow readers lose pokes, never data.
    """

    since: Sequence
    sequence: Sequence
    pull: bool = False
    spaces: list[msgspec.Raw] = []
    digests: dict[str, Digest] = {}
    merged_through: Counter = 0
