"""What a mutant is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What the tests made of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    STALE = "STALE"
    """The fault could not be planted: the code it names has changed."""
    EQUIVALENT = "equivalent"


class NotPlanted(Exception):
    """The code that the fault wants to change is not there."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: `plant` puts it in for as long as the context lasts; `target` says what must break.

    `equivalent` holds the argument why no test can tell the difference, if there is none.
    """

    name: str
    target: str
    plant: Callable[[], AbstractContextManager[None]]
    equivalent: str = ""
