"""What a target is: a function of bytes that returns, or fails because an invariant is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes: what it refuses with the errors its docstring names is fine.

    `seeds` are the first inputs, made of vectors and of messages kept from earlier releases.
    `is_tree` tells that inputs are JSON or MessagePack behind `prefix_bytes` bytes, so that the
    mutator may change them as trees.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    bytes_max: int = 2_048
    is_tree: bool = False
    prefix_bytes: int = 0
