"""Messages of earlier releases are read for ever: files under tests/prior are never rewritten."""

from pathlib import Path

import msgspec
import pytest

from sync_protocol import codec
from sync_protocol.errors import UnknownMessage
from sync_protocol.media import Media
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.messages.repaired import Repaired
from sync_protocol.rows import decode_row

PRIOR = sorted((Path(__file__).parents[1] / "prior" / "messages").glob("v*/*.bin"))


def test_every_kind_has_been_kept():
    assert {path.stem for path in PRIOR} >= codec.CLIENT_KINDS | codec.SERVER_KINDS


@pytest.mark.parametrize("path", PRIOR, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_prior_messages_are_read_to_the_last_row(path):
    body = path.read_bytes()
    try:
        message = codec.decode_client(body)
    except UnknownMessage:
        message = codec.decode_server(body)
    # A message that has gained fields may be written with a longer map header; it says the same.
    assert msgspec.msgpack.decode(codec.encode(message)) == msgspec.msgpack.decode(body)
    if isinstance(message, Push):
        mutations = codec.decode_mutations(message, Media.MSGPACK)
        assert mutations
        assert all(isinstance(each, WireMutation) for each in mutations)
    for space in [
        *(message.spaces if isinstance(message, Page | Poke) else []),
        *([message.rows] if isinstance(message, Repaired) else []),
    ]:
        for rows in codec.decode_space_rows(space).collections.values():
            assert [decode_row(row)[1] for row in rows.rows]
