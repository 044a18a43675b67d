"""repair: after a digest mismatch, the device shows its digests per bucket."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sync_protocol import limits
from sync_protocol.messages.base import Device, Digest, Message, Version


class Repair(Message, tag="repair"):
    """`digests[collection][bucket]` of one space, as the device has them after its checkpoint."""

    device: Device
    schema_version: Version
    space: str
    digests: dict[
        str,
        Annotated[list[Digest], msgspec.Meta(min_length=limits.BUCKETS, max_length=limits.BUCKETS)],
    ]
