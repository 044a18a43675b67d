"""A violation: which check found it, where in the history, and what is wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """`index` is the position of the event at which it shows, -1 for the whole history."""

    check: str
    index: int
    message: str

    def __str__(self):
        return f"{self.check} at {self.index}: {self.message}"
