"""repaired: the rows of the damaged buckets, whole."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sync_protocol import limits
from sync_protocol.messages.base import Answer, AnswerPart, Digest, Sequence


class DamagedBucket(AnswerPart):
    """All rows of one bucket of one collection replace what the device has there."""

    collection: str
    bucket: Annotated[int, msgspec.Meta(ge=0, lt=limits.BUCKETS)]


class Repaired(Answer, tag="repaired"):
    """`rows` is one SpaceRows with every row of the damaged buckets at `sequence`.

    `digest` is the space's digest at that sequence.
    """

    space: str
    sequence: Sequence
    damaged: list[DamagedBucket]
    rows: msgspec.Raw
    digest: Digest
