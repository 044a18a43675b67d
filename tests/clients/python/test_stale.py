"""A node that is behind the phone: the phone says so, keeps what it has, and asks again."""

from skerry_client import Skerry
from sync_protocol.messages.pull import Pull
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import FakeLink, check, driver_of, http_to, sync
from tests.clients.python.survey import NORTH, Clock, Note, database, entropy, seen, survey


async def test_the_status_tells_it_until_a_node_has_caught_up(tmp_path):
    app = survey()
    server = FakeServer(app, [NORTH])
    async with Skerry(
        database(tmp_path), app, url="http://node", token="token", background=False,
        now_unix_ms=Clock(), entropy=entropy(), http_transport=http_to(server),
    ) as phone:  # fmt: skip
        row = phone.insert(Note, space=NORTH, text="x")
        assert (await phone.sync()).is_current
        cursor = phone.store.cursor
        server.stale = True
        phone.edit(Note, row, text="y")
        status = await phone.sync()
        assert (status.is_stale, phone.is_stale, status.is_current) == (True, True, False)
        assert "behind" in status.message
        assert phone.store.cursor == cursor
        assert phone.pending() == [], "pushes do not wait for what is read"
        assert seen(phone, Note, row).text == "y"
        server.stale = False
        status = await phone.sync()
        assert (status.is_stale, phone.is_stale, status.is_current) == (False, False, True)


def test_a_round_that_meets_such_a_node_goes_on_behind_its_pages(tmp_path):
    app = survey()
    server = FakeServer(app, [NORTH])
    author = Skerry(database(tmp_path, "a"), app, now_unix_ms=Clock(), entropy=entropy(1))
    phone = Skerry(database(tmp_path, "b"), app, now_unix_ms=Clock(), entropy=entropy(2))
    for number in range(25):
        author.insert(Note, space=NORTH, text=str(number))
    sync(author.store, server)
    pulls = []

    def fall_behind(message, when):
        if isinstance(message, Pull) and when == "before":
            pulls.append(message.cursor)
            server.stale = len(pulls) == 2

    assert sync(phone.store, server, trouble=fall_behind, rows_max=10).why == "live"
    assert pulls[1] == pulls[2], "the same page is asked for again"
    assert len(phone.rows(Note)) == 25
    check(database(tmp_path, "b"), app)
    for each in (author, phone):
        each.store.close()


async def test_the_app_is_not_kept_waiting_for_a_node_that_is_behind(tmp_path):
    app = survey()
    server = FakeServer(app, [NORTH])
    phone = Skerry(database(tmp_path), app, now_unix_ms=Clock(), entropy=entropy())
    phone.insert(Note, space=NORTH)
    driver = driver_of(phone.store)
    await driver.run(FakeLink(server), is_single_round=True)
    server.stale = True
    driver.rest.clear()
    ending = await driver.run(FakeLink(server), is_single_round=True)
    assert ending.why == "lost"
    assert driver.rest.is_set()
    phone.store.close()
