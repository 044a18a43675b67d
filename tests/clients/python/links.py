"""Links and transports to the fake server, with losses and duplicates on request."""

import asyncio
import sqlite3

import httpx
import msgspec

from core.row import RowState
from skerry_client.driver import Driver
from skerry_client.fold import Pending, fold
from skerry_client.link import LinkLost
from skerry_client.store.confirmed import decode
from skerry_client.store.tables import Table
from sync_protocol.codec import Encoding, compress, decode_client, decompress, encode, encoding_of
from sync_protocol.digest import bucket_of, row_digest, to_bytes
from sync_protocol.messages.push import WireMutation


class FakeLink:
    """Answers at once; `trouble(message, when)` may raise LinkLost before or after the server."""

    def __init__(self, server, trouble=lambda _message, _when: None):
        self.server = server
        self.trouble = trouble
        self.answers = asyncio.Queue()

    async def send(self, message):
        message = decode_client(encode(message))
        try:
            self.trouble(message, "before")
            answer = self.server.answer(message)
            self.trouble(message, "after")
        except LinkLost as lost:
            self.answers.put_nowait(lost)
        else:
            self.answers.put_nowait(answer)

    async def receive(self):
        answer = await self.answers.get()
        if isinstance(answer, LinkLost):
            raise answer
        return answer

    async def close(self):
        pass


def driver_of(store, now=lambda: 1_780_000_000_000):
    return Driver(
        store, now_unix_ms=now, jitter=lambda: 0.0, has_pokes=False, on_progress=lambda *_: None
    )


def sync(store, server, trouble=lambda _message, _when: None, links=5, rows_max=5_000):
    """Do one round, over several links when the server asks for it."""

    async def rounds():
        for _ in range(links):
            driver = driver_of(store)
            driver.session.rows_max = rows_max
            ending = await driver.run(FakeLink(server, trouble), is_single_round=True)
            if ending.why != "again":
                return ending
        return ending

    return asyncio.run(asyncio.wait_for(rounds(), 30))


def streamed(content, status, headers):
    """Return a response whose body is yet to be read, as from a network."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def http_to(server, *, lose=lambda _request: None):
    """Return an httpx transport; `lose` may raise, or return a response instead of the server's."""

    def handle(request):
        instead = lose(request)
        if instead is not None:
            content = b"".join(instead.stream)
            return streamed(content, instead.status_code, instead.headers)
        assert request.headers["authorization"] == "Bearer token"
        body = decompress(
            request.read(), encoding_of(request.headers.get("content-encoding")), 10**8
        )
        message = decode_client(body)
        assert request.url.path == f"/v1/sync/{type(message).__struct_config__.tag}"
        answer = compress(encode(server.answer(message)), Encoding.ZSTD)
        headers = {"content-type": "application/msgpack", "content-encoding": "zstd"}
        return streamed(answer, 200, headers)

    return httpx.MockTransport(handle)


def check(path, app):
    """Assert every invariant of a phone's file, computed again from the queue and the rows."""
    connection = sqlite3.connect(path)
    meta = dict(connection.execute("SELECT key, value FROM _meta"))
    n = meta.get("device", 0)
    queue = connection.execute(
        "SELECT device, counter, h, payload, outcome, sequence, settled FROM _mutation_queue"
        " ORDER BY h"
    ).fetchall()
    foreign = [entry for entry in queue if entry[4] == "provisional"]
    final = ("merged", "superseded", "rejected", "quarantined")
    retained = [entry for entry in queue if entry[4] in final and entry[6]]
    for device, counter, *_ in retained:
        assert not connection.execute(
            "SELECT 1 FROM _pending_change WHERE device = ? AND counter = ?", (device, counter)
        ).fetchall(), "what is only retained is not pending"
    queue = [entry for entry in queue if entry[4] != "provisional"]
    own = sorted(entry[1] for entry in queue if entry[0] == 0)
    assert all(1 <= counter <= meta.get("counter", 0) for counter in own)
    assert [entry[2] for entry in queue] == sorted({entry[2] for entry in queue})
    assert all(entry[2] <= meta.get("clock", 0) for entry in queue)
    pending = {}
    waiting = [entry for entry in queue if entry not in retained]
    for device, counter, h, payload, outcome, sequence, settled in [*foreign, *waiting]:
        mutation = msgspec.msgpack.decode(payload, type=WireMutation)
        assert (mutation.counter, mutation.h) == (counter, h)
        # What another database than that of the rows has judged says nothing about them.
        at = 0 if device == 0 and "unread" in meta else sequence
        for key in {(change.collection, change.id) for change in mutation.changes}:
            changes = tuple(c for c in mutation.changes if (c.collection, c.id) == key)
            pending.setdefault(key, []).append(
                Pending(device or n, counter, h, changes, outcome, at, bool(settled))
            )
    digests = {}
    for name, declared in app.collections.items():
        table = Table(name, declared.fields)
        columns = ", ".join(f'"{column}"' for column in declared.fields)
        seen = set()
        for row in connection.execute(
            f"SELECT id, _space, _sequence, _alive, _state, _hash, _pending, {columns} FROM {name}"
        ).fetchall():
            row_id, space, sequence, alive, state, digest, is_pending, *values = row
            seen.add((name, row_id))
            confirmed = RowState(row_id, space)
            if state is not None:
                _, register, fields = decode(state)
                confirmed = RowState(row_id, space, sequence, register, {**fields})
                if register[2]:
                    key = (space, name, bucket_of(row_id))
                    value = row_digest(state) if digest is None else int.from_bytes(digest, "big")
                    digests[key] = digests.get(key, 0) + value
            mutations = pending.get((name, row_id), [])
            view = fold(confirmed, mutations, declared.fields)
            assert state is not None or mutations, "a row that nothing speaks of"
            assert bool(is_pending) == bool(mutations)
            assert values == table.values(view.fields)
            assert bool(alive) == view.is_alive
        assert {key for key in pending if key[0] == name} <= seen
    stored = {
        (space, collection, bucket): digest
        for space, collection, bucket, digest in connection.execute("SELECT * FROM _bucket")
        if digest != bytes(16) and collection in app.collections
    }
    assert stored == {key: to_bytes(total) for key, total in digests.items()}
    connection.close()
    return own
