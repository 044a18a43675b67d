"""A small app with every kind of field that has operations, and what tests need around it."""

import itertools
from pathlib import Path
from typing import Any

from core.crdt.custom import Custom
from core.crdt.registry import (
    AddWins,
    AppendOnly,
    BoundedCounter,
    Counter,
    Flag,
    Group,
    Lww,
    Map,
    MultiValue,
    Ranked,
)  # fmt: skip
from core.policy import Access
from core.schema.app import App
from core.schema.collection import Collection

EVERYBODY = ["member"]
ACCESS = Access(
    read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
)
NORTH = "region:north"
SOUTH = "region:south"
START_UNIX_MS = 1_780_000_000_000


def longer(base, ours, theirs):
    return max(ours, theirs, key=lambda text: (len(text), text))


class Airfield(Collection, space="region"):
    access = ACCESS
    name = Lww(str)
    order = Lww(int)
    position = Group(lat=float, lon=float)
    status = Ranked("unseen", "visited", "signed off")
    visits = Counter()
    spares = BoundedCounter()
    tags = AddWins(str)
    remarks = MultiValue(str)
    is_open = Flag()
    sizes = Map(int)
    log = AppendOnly(str)
    story = Custom(str, longer)


class Note(Collection, space="region"):
    access = ACCESS
    text = Lww(str)


def survey(version=1):
    app = App("survey", version=version, spaces={"region": EVERYBODY})
    app.add(Airfield, Note)
    return app


class Clock:
    """A wall clock that stands still unless told otherwise."""

    def __init__(self, unix_ms=START_UNIX_MS):
        self.unix_ms = unix_ms

    def __call__(self):
        return self.unix_ms


def entropy(seed=0):
    """Return a source of bytes that never gives the same twice."""
    numbers = itertools.count(seed * 1_000_000 + 1)
    return lambda size: next(numbers).to_bytes(size, "big")


def database(folder, name="phone.db"):
    return Path(folder) / name


def seen(phone, collection, row) -> Any:
    """Return a row that must be there."""
    found = phone.get(collection, row)
    assert found is not None
    return found
