"""hello: a device introduces itself; the first message of a stream, and once per HTTP session."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sync_protocol.messages.base import Clock, Counter, Id, Message, Name, Version
from sync_protocol.messages.cursor import Cursor


class Hello(Message, tag="hello"):
    """Who is there, how far it has read, and what its clock says.

    `installation` is the device's own random id (one per installed app); `clock` its hybrid clock
    at sending; `counter` the last mutation counter it used; `cursor` None on a first sync.
    """

    protocol: int
    app: Name
    schema_version: Version
    fingerprint: Annotated[str, msgspec.Meta(max_length=64)]
    installation: Id
    clock: Clock
    counter: Counter = 0
    cursor: Cursor | None = None
