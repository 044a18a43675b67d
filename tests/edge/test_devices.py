"""Which apps and schema versions a node takes."""

import pytest

from core import Access, App, Collection, Lww
from edge.errors import SchemaAhead, SchemaTooOld, WrongApp
from edge.services.devices import Devices


class Note(Collection, space="book"):
    """One note."""

    access = Access(read=["member"])
    text = Lww(str)


def devices() -> Devices:
    app = App("notes", version=4, spaces={"book": ["member"]}, oldest_version=2)
    app.add(Note)
    return Devices(app, None, now_ms=lambda: 0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_declared_versions_are_taken(version):
    devices().require_schema("notes", version)


@pytest.mark.parametrize(
    ("app", "version", "error"),
    [
        ("notes", 5, SchemaAhead),
        ("notes", 1, SchemaTooOld),
        ("notes", 0, SchemaTooOld),
        ("other", 4, WrongApp),
    ],
)
def test_others_are_told_why(app, version, error):
    with pytest.raises(error):
        devices().require_schema(app, version)
