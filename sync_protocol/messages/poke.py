"""poke: the server tells a stream that something it may see has changed."""

from __future__ import annotations

import msgspec

from sync_protocol.messages.base import Answer, Counter, Digest, Sequence
from sync_protocol.messages.provisional import ProvisionalMutation


class Poke(Answer, tag="poke"):
    """Changes in (`since`, `sequence`] of the stream's spaces, in `spaces` (each a SpaceRows).

    A device whose cursor stands at or after `since` applies it at once and verifies `digests`; any
    other, and every device when `pull` is true, pulls instead. Slow readers lose pokes, never data.
    `replicated` as in a page; `provisional`, when it is not None, replaces the set of provisional
    mutations together with these rows. A poke whose `since` equals its `sequence` has no rows: it
    only tells the last three fields, and is taken wherever the cursor stands.
    """

    since: Sequence
    sequence: Sequence
    pull: bool = False
    spaces: list[msgspec.Raw] = []
    digests: dict[str, Digest] = {}
    merged_through: Counter = 0
    replicated: Sequence = 0
    provisional: list[ProvisionalMutation] | None = None

    @property
    def is_news(self) -> bool:
        """Whether it tells of no rows, only what is replicated, provisional or judged."""
        return self.since == self.sequence and not self.pull
