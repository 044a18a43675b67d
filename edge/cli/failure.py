"""The error of a command that cannot be carried out as it was given."""

from __future__ import annotations


class CommandError(Exception):
    """The message tells the operator what to change."""
