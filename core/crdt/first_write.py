"""First-writer-wins register: the original is kept, as for who created a row.

The dual of the LWW-register of Shapiro et al. 2011 (section 3.2.1). Stamps of the author would let
whoever backdates win, so the primary uses its receive stamp.

Payload: the value itself. State: [h, n, value].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from core.crdt.lww import ScalarRegister

if TYPE_CHECKING:
    from core.crdt.field import State

T = TypeVar("T")


class FirstWrite(ScalarRegister[T]):
    """One scalar; of two writes the smaller stamp wins."""

    kind = "first_write"
    uses_receive_stamp = True

    def merge(self, left: State, right: State) -> State:
        """Keep the side with the smaller stamp."""
        if left is None or right is None:
            return right if left is None else left
        return right if (right[0], right[1]) < (left[0], left[1]) else left
