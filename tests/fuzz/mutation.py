"""Mutations of inputs: of bytes, and of the trees that JSON and MessagePack hold.

The same function serves libFuzzer as custom mutator, and the replay, where Hypothesis is the
random: msgspec decodes in C, where coverage does not see, so whole trees have to be changed to get
past it.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any, Final

import msgspec

from tests.fuzz.target import Target

LEAVES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, 2, -1, 127, 128, 255, 2**31, 2**32, 2**53 - 1, 2**53, -(2**53),
    2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**30, 0.0, -0.0, 1.0, 1.5, 5e-324, 1e16, 1e308,
    float("nan"), float("inf"), "", "a", "1", "a\x00b", "é", "\u2028", "\U0001f600", "x" * 70,
    "x" * 300, b"", b"\x00" * 16, [], {}, [[]], [0, 1], {"a": 1}, {1: 2},
    msgspec.msgpack.Ext(1, b""),
)  # fmt: skip
KEYS: Final = (
    "kind", "add", "remove", "on", "off", "value", "seen", "set", "epoch", "reset", "use", "lease",
    "parent", "index", "append", "base", "counter", "h", "changes", "fields", "space", "sequence",
    "backfill", "unconfirmed", "wait_for", "hashes", "provisional", "pull", "stale", "x", "",
)  # fmt: skip
BYTES: Final = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xc1", b"\xcf", b"\xcb", b"[", b"{", b'"', b"1e9",
)  # fmt: skip
NODES_MAX: Final = 2_000
NESTED_MAX: Final = 400
"""As deep as the encoder goes; deeper bodies are among the seeds."""


def mutated(content: bytes, other: bytes, random: Random, target: Target) -> bytes:
    """Return a neighbour of `content`, which may take a part of `other`; bounded as the target."""
    for _ in range(random.randint(1, 3)):
        changed = None
        if target.is_tree and random.random() < 0.5:
            changed = _changed_tree(content, random, target.prefix_bytes)
        content = _changed_bytes(content, other, random) if changed is None else changed
    return content[: target.bytes_max]


def _changed_bytes(content: bytes, other: bytes, random: Random) -> bytes:
    start = random.randint(0, len(content))
    end = min(len(content), start + random.choice((0, 1, 1, 2, 4, 8, 32)))
    way = random.randint(0, 6)
    if way == 0:
        return content[:start]
    if way == 1:
        return content[:start] + other[random.randint(0, len(other)) :]
    if way == 2 and start < len(content):
        return (
            content[:start]
            + bytes([content[start] ^ 1 << random.randint(0, 7)])
            + content[start + 1 :]
        )
    if way == 3:
        return content[:end] + content[start:]
    if way == 4:
        return content[:start] + random.choice(BYTES) + content[end:]
    if way == 5:
        return content[:start] + content[end:]
    return content[:start] + random.randbytes(random.randint(1, 4)) + content[start:]


def _changed_tree(content: bytes, random: Random, prefix_bytes: int) -> bytes | None:
    prefix, content = content[:prefix_bytes], content[prefix_bytes:]
    media: Any = msgspec.json if content[:1] in {b"{", b"["} else msgspec.msgpack
    try:
        root = [media.decode(content)]
        _change(root, random)
        return prefix + media.encode(root[0])
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _change(root: list[Any], random: Random) -> None:
    places = _places(root)
    holder, key = random.choice(places)
    way = random.randint(0, 6)
    if way == 0 and holder is not root:
        del holder[key]
    elif way == 1:
        other, at = random.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif way == 2 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif way == 3 and isinstance(holder, dict):
        holder[random.choice(KEYS)] = holder.pop(key)
    elif way == 4 and isinstance(holder[key], dict):
        holder[key][random.choice(KEYS)] = copy.deepcopy(random.choice(LEAVES))
    elif way == 5:
        for _ in range(random.choice((1, 1, 1, 12, 32, NESTED_MAX))):
            holder[key] = [holder[key]]
    else:
        holder[key] = copy.deepcopy(random.choice(LEAVES))


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a tree, a bounded number of them."""
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [root]
    while pending and len(places) < NODES_MAX:
        holder = pending.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], list | dict):
                pending.append(holder[key])
    return places
