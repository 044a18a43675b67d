"""Rows as replicas hold them, and their digests, computed anew from docs/PROTOCOL.md."""

from hashlib import blake2b

import msgspec

_canonical = msgspec.msgpack.Encoder(order="deterministic").encode
MODULUS = 1 << 128


class Row:
    """One version of one row: what an event tells, by name; the bytes are made when needed."""

    __slots__ = ("_digest", "_image", "alive", "fields", "key", "sequence", "space", "told_digest")

    def __init__(self, told):
        collection, row_id, self.space, alive, self.fields, *rest = told
        self.key = (collection, row_id)
        self.alive = (alive[0], alive[1], bool(alive[2]))
        self.sequence = rest[0] if rest else 0
        self.told_digest = rest[1] if len(rest) > 1 else None
        self._image = None
        self._digest = None

    @property
    def is_alive(self):
        return self.alive[2]

    @property
    def image(self):
        """The canonical bytes: equal rows, and no others, have equal ones."""
        if self._image is None:
            self._image = _canonical((self.key[1], self.alive, self.fields))
        return self._image

    @property
    def digest(self):
        """The row's share in its space's digest: 0 for a tombstone."""
        if self._digest is None:
            self._digest = self._share() if self.is_alive else 0
        return self._digest

    def _share(self):
        if self.told_digest is not None:
            return int(self.told_digest, 16)
        return int.from_bytes(blake2b(self.image, digest_size=16).digest(), "big")


def same(left, right):
    """Tell whether two JSON values are the same; 1 and 1.0 are, 1 and true are not."""
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def name_of(key):
    """Write a row's key for people."""
    return "/".join(key)
