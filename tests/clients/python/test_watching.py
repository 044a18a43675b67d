"""Listeners and live queries."""

import asyncio

import pytest

from skerry_client import Skerry
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import http_to
from tests.clients.python.survey import NORTH, Airfield, Note, database, survey

COUNT = "SELECT count(*) FROM note WHERE _alive"


@pytest.fixture
async def phone(tmp_path):
    async with Skerry(database(tmp_path), survey()) as phone:
        yield phone


async def test_listeners_hear_which_collections_changed(phone):
    heard = []
    stop = phone.listen(heard.append)
    with phone.transaction() as t:
        t.insert(Note, space=NORTH, text="x")
        t.insert(Airfield, space=NORTH, name="y")
    phone.insert(Note, space=NORTH, text="z")
    stop()
    phone.insert(Note, space=NORTH, text="unheard")
    assert heard == [{"note", "airfield"}, {"note"}]


async def test_a_live_query_answers_again_after_changes_of_what_it_reads(phone):
    query = phone.live(COUNT)
    assert [row[0] for row in await anext(query)] == [0]
    phone.insert(Note, space=NORTH, text="one")
    phone.insert(Note, space=NORTH, text="two")
    assert [row[0] for row in await asyncio.wait_for(anext(query), 2)] == [2]
    following = asyncio.ensure_future(anext(query))
    phone.insert(Airfield, space=NORTH, name="elsewhere")
    await asyncio.sleep(0.1)
    assert not following.done()
    phone.insert(Note, space=NORTH, text="three")
    assert [row[0] for row in await asyncio.wait_for(following, 2)] == [3]
    await query.aclose()


async def test_what_a_sync_brings_is_heard_in_the_loop(tmp_path):
    app = survey()
    server = FakeServer(app, [NORTH])
    options = {"url": "http://test", "token": "token", "background": False}
    a = Skerry(database(tmp_path, "a"), app, http_transport=http_to(server), **options)
    b = Skerry(database(tmp_path, "b"), app, http_transport=http_to(server), **options)
    async with a, b:
        query = b.live(COUNT)
        await anext(query)
        a.insert(Note, space=NORTH, text="x")
        await a.sync()
        assert (await b.sync()).is_current
        assert [row[0] for row in await asyncio.wait_for(anext(query), 2)] == [1]
        await query.aclose()
