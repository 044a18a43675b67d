"""Rows over REST: what is sent and what is answered; OpenAPI has them per collection."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from sync_protocol import limits
from sync_protocol.messages.push import Clock, Id
from sync_protocol.messages.pushed import Receipt

FieldPayloads = Annotated[dict[str, Any], msgspec.Meta(max_length=limits.FIELDS_PER_CHANGE_MAX)]


class NewRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row to insert; without `id` the node makes one."""

    space: Id
    fields: FieldPayloads = {}
    id: Id | None = None


class RowEdit(msgspec.Struct, forbid_unknown_fields=True):
    """Fields to write; `base` is the clock value of each register as it was read (`versions`)."""

    fields: FieldPayloads
    base: dict[str, Clock] | None = None


class RowAnswer(msgspec.Struct):
    """One row as a person sees it; `versions` are the clock values to send back as `base`."""

    id: str
    space: str
    sequence: int
    alive: bool
    values: dict[str, Any]
    versions: dict[str, int]


class RowPage(msgspec.Struct):
    """A page of rows; `next` is the `after` of the following page, null at the end."""

    rows: list[RowAnswer]
    next: str | None


class Written(msgspec.Struct):
    """The outcome of a write: its receipt and the row as it is now."""

    receipt: Receipt
    row: RowAnswer | None
