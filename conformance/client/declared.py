"""The app that phones of the behaviour cases run: two collections, three kinds of field."""

from __future__ import annotations

from typing import Final

from core import Access, AddWins, App, Collection, Counter, Lww
from sync_protocol.fingerprint import fingerprint

EVERYBODY: Final = ["member"]
ACCESS: Final = Access(
    read=EVERYBODY, insert=EVERYBODY, edit=EVERYBODY, delete=EVERYBODY, restore=EVERYBODY
)
NORTH: Final = "region:north"
SOUTH: Final = "region:south"


class Site(Collection, space="region"):
    """A place that is visited."""

    access = ACCESS
    title = Lww(str)
    visits = Counter()
    tags = AddWins(str)


class Note(Collection, space="region"):
    """A text."""

    access = ACCESS
    text = Lww(str)


APP: Final = App("conformance", version=1, spaces={"region": EVERYBODY})
APP.add(Site, Note)
DECLARATION: Final = APP.describe()
"""What an adapter is handed, and what the fingerprint is made of."""
FINGERPRINT: Final = fingerprint(APP)
