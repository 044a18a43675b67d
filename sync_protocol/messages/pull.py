"""pull: ask for everything after a cursor."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sync_protocol import limits
from sync_protocol.messages.base import Counter, Device, Message, Sequence, Version
from sync_protocol.messages.cursor import Cursor


class Pull(Message, tag="pull"):
    """`unconfirmed` is the lowest counter without a final receipt (0: none): receipts from there on
    come with the page, read in the same snapshot as the rows. `wait_for` asks for at least this
    sequence (read-your-writes).
    """

    device: Device
    schema_version: Version
    cursor: Cursor | None = None
    rows_max: Annotated[int, msgspec.Meta(ge=1, le=limits.ROWS_PER_PAGE_MAX)] = (
        limits.ROWS_PER_PAGE_DEFAULT
    )
    unconfirmed: Counter = 0
    wait_for: Sequence = 0
