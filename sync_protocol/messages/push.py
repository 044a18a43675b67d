"""push: mutations of one device in counter order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from core.ids import INTEGER_MAX
from sync_protocol import limits
from sync_protocol.messages.base import Clock, Device, Id, Message, Name, Part, Version

_FIELDS = msgspec.Meta(max_length=limits.FIELDS_PER_CHANGE_MAX)


class WireChange(Part):
    """Edits of one row. `fields` holds payloads by field name (docs/CRDTS.md), `base` the clock
    values of the registers its author had seen, `seen` that of the row's alive register; `space` is
    given by inserts.
    """

    collection: Name
    id: Id
    op: Literal["insert", "edit", "delete", "restore"] = "edit"
    space: Annotated[str, msgspec.Meta(max_length=64)] = ""
    fields: Annotated[dict[Name, Any], _FIELDS] = {}
    base: Annotated[dict[Name, Clock], _FIELDS] = {}
    seen: Clock = 0


class WireMutation(Part):
    """Changes that stand or fall together; `counter` is contiguous per device, `h` its time."""

    counter: Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
    h: Clock
    changes: Annotated[
        list[WireChange],
        msgspec.Meta(min_length=1, max_length=limits.CHANGES_PER_MUTATION_MAX),
    ]


class Push(Message, tag="push"):
    """`device` is checked against the session; `clock` is the device's clock at sending.

    Each mutation is decoded by itself, so that a malformed one is quarantined and the ones behind
    it are still taken.
    """

    device: Device
    clock: Clock
    schema_version: Version
    mutations: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=limits.MUTATIONS_PER_PUSH_MAX)]
