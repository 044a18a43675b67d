"""What a planted bug is, and how one is put into the product for as long as a context lasts."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from edge.repositories.sql import table


class NotPlanted(AssertionError):
    """The code that a bug wants to change is not there any more."""


@dataclass(frozen=True)
class Mutant:
    """A bug of the engine: `check` must complain of it, and does in the run of `seed`."""

    name: str
    check: str
    seed: int
    plant: Callable[[], AbstractContextManager]


@contextmanager
def replaced(owner, name, make):
    """Replace a function or method by what `make` builds around it."""
    if name not in vars(owner):
        raise NotPlanted(f"{owner!r} has no {name}")
    original = vars(owner)[name]
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def together(*plants):
    """Plant several changes that are one bug only together."""
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant)
        yield


@contextmanager
def merging_otherwise(change):
    """Put `change` between the generator of the merge statements and the database."""
    original, hits = table._merge_statement, []

    def changed(owner, shape):
        statement = original(owner, shape)
        sql = change(statement.sql)
        if sql != statement.sql:
            hits.append(shape)
        return dataclasses.replace(statement, sql=sql)

    with replaced(table, "_merge_statement", lambda _original: changed):
        yield
    if not hits:
        raise NotPlanted("no merge statement has changed")
