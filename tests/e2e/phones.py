"""Phones of the end-to-end tests, and what is asked of them again and again."""

import asyncio
import contextlib
import time
from typing import TypeVar

from core import Collection
from skerry_client import Skerry
from tests.e2e.survey import app as survey

C = TypeVar("C", bound=Collection)
NORTH, SOUTH = "region:north", "region:south"
SETTLE_SECONDS_MAX = 60


def phone_of(node, folder, person="ada", *, name=None, app=survey, background=False, url=None):
    """Open a phone's file; `url` may lead to the node by another way."""
    return Skerry(
        folder / f"{name or person}.db",
        app,
        url=url or node.url,
        token=lambda: node.token(person),
        background=background,
    )


async def settle(*phones):
    """Sync until nothing waits and a round moves nothing; return the digests, equal on all."""
    before = None
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        statuses = [await phone.sync() for phone in phones]
        assert not any(status.damaged for status in statuses)
        digests = [phone.digests() for phone in phones]
        if digests == before and not any(status.pending for status in statuses):
            assert all(status.is_current for status in statuses), statuses
            assert all(found == digests[0] for found in digests)
            return digests[0]
        before = digests
    raise AssertionError(f"not quiet: {[phone.status for phone in phones]}")


async def sync_for(phone, seconds):
    """Sync as long as a phone's background time lasts; return what the node said last.

    A round waits as long as the node asks it to, which may be longer than a phone is awake.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(phone.sync(), seconds)
    return phone._syncing._rounds.trouble


def row_of(phone: Skerry, declared: type[C], row_id: str) -> C:
    """Return a row that must be there."""
    row = phone.get(declared, row_id)
    assert row is not None, row_id
    return row


async def eventually(condition, *, seconds=10.0):
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)
