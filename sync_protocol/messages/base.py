"""What all messages share: tagged by `kind`, defaults left out.

A device's messages are refused with a field that the server does not know: it would ignore what was
meant. A server's are not: servers learn of new fields first, and phones are updated when they like.

Bounds on the forms of numbers, ids and digests live here too, so that nothing a peer sends is out
of the range that SQLite, JSON and JavaScript hold exactly.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from core.ids import DEVICE_NUMBER_MAX, INTEGER_MAX
from sync_protocol import limits

Clock = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Device = Annotated[int, msgspec.Meta(ge=0, le=DEVICE_NUMBER_MAX)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
"""A mutation counter; 0 stands for "none"."""
Sequence = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Version = Annotated[int, msgspec.Meta(ge=1, le=limits.SCHEMA_VERSION_MAX)]
Skew = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
Digest = Annotated[
    bytes, msgspec.Meta(min_length=limits.DIGEST_BYTES, max_length=limits.DIGEST_BYTES)
]
Run = tuple[Counter, Counter, Sequence]
"""(first counter, last counter, sequence of the run's last row write)."""


class Message(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True):
    """What a device sends: a frame of the stream, or the body of an HTTP request."""


class Answer(msgspec.Struct, tag_field="kind", omit_defaults=True):
    """What a server sends: a frame of the stream, or the body of an HTTP answer."""


class Part(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A piece of what a device sends, or sends back, untagged."""


class AnswerPart(msgspec.Struct, omit_defaults=True):
    """A piece of what only a server sends, untagged."""
