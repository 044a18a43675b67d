"""Which apps and schema versions a node takes."""

import pytest

from core import Access, App, Collection, Lww
from edge.errors import ProtocolVersion, SchemaAhead, SchemaTooOld, WrongApp
from edge.services.devices import Devices
from sync_protocol.messages.hello import Hello


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


@pytest.mark.parametrize("protocol", [0, 2])
async def test_another_protocol_is_told_why(protocol):
    hello = Hello(protocol, "notes", 4, "f", "phone", 1)
    with pytest.raises(ProtocolVersion):
        await devices().hello(None, hello)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProtocolVersion):
        await devices().greet_locally(None, hello)  # pyright: ignore[reportArgumentType]
