"""Bodies: what a declared length may be, without a server in front that reads it first."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.controllers.body import read_body
from sync_protocol.errors import MessageTooLarge


def request(length: str) -> Any:
    async def receive():
        return {"type": "http.request", "body": b"four", "more_body": False}

    return cast("Any", SimpleNamespace(headers={"content-length": length}, receive=receive))


@pytest.mark.parametrize("length", ["-1", "x", "101", "9" * 5_000, "\N{SUPERSCRIPT TWO}"])
async def test_a_length_that_is_none_or_too_large_is_refused(length):
    with pytest.raises(MessageTooLarge):
        await read_body(request(length), bytes_max=100)


async def test_a_length_within_the_bound_is_taken():
    assert await read_body(request("4"), bytes_max=100) == b"four"
