"""Words and plain values as JSON texts in columns."""

from __future__ import annotations

from typing import Any

import msgspec

_words = msgspec.json.Decoder(tuple[str, ...])
_values = msgspec.json.Decoder(dict[str, Any])


def to_text(value: tuple[str, ...] | list[str] | dict[str, Any]) -> str:
    """Return a JSON text."""
    return msgspec.json.encode(value).decode()


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a JSON array of strings."""
    return _words.decode(text)


def values_of(text: str) -> dict[str, Any]:
    """Return the values of a JSON object."""
    return _values.decode(text)
