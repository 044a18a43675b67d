"""Constraints over more than one row, checked by the primary at ingest.

They are not safe under merge (Bailis et al. 2014, "Coordination avoidance"), so only the primary
can keep them; a device that breaks one offline receives a typed compensation in its receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Unique:
    """No two living rows of the collection share these fields' values (within a space, or at all).

    Only registers can be unique; rows in which one of the fields was never written do not count.
    """

    fields: tuple[str, ...]
    scope: Literal["space", "tenant"] = "space"

    @property
    def name(self) -> str:
        """A name for the index and for receipts."""
        return "_".join(self.fields)


@dataclass(frozen=True, slots=True)
class Reference:
    """The field holds the id of a living row of `collection`, in the same space, or is empty.

    `on_delete`: `reject` keeps the target alive while it is referenced; `cascade` deletes the
    referencing rows by a change of the primary's own; `clear` empties the field likewise.
    """

    field: str
    collection: str
    on_delete: Literal["reject", "cascade", "clear"] = "reject"
