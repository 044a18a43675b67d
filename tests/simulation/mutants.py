"""Bugs planted on purpose: each breaks one promise, and the check that watches it must notice."""

from contextlib import contextmanager

MUTANTS = {}
"""By name: how the bug is planted, and which check must complain."""


@contextmanager
def planted(name):
    """Plant a bug for as long as the context lasts."""
    with MUTANTS[name].plant():
        yield
