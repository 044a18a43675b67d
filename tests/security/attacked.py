"""A whole node in this process, without sockets, to be attacked: real files, one settable clock.

async with attacked_node(tmp_path, limits="login.account=3/1m") as node:
    phone = await node.phone().sign_in()
"""

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote_to_bytes

import httpx

import edge.app
import edge.identity_wiring
from core import Access, App, Collection, Lww
from core.ids import PersonId, TenantId
from edge.controllers.admission import Admission
from edge.services.tokens import mint
from edge.settings import Settings
from edge.storage.key_files import KeyFiles
from tests.security.phones import Phone

SECONDS_MAX = 5
MEMBERS = ("member",)


class Thing(Collection, space="region"):
    """Something to read and write."""

    access = Access(read=MEMBERS, insert=MEMBERS, edit=MEMBERS, delete=MEMBERS, restore=MEMBERS)
    title = Lww(str)


app = App("attacked", version=1, spaces={"region": MEMBERS})
app.add(Thing)


class Clock:
    """The node's clock and its phones': today's, and as far ahead as a test has set it."""

    ahead_s = 0.0

    def time(self):
        return time.time() + self.ahead_s

    def time_ns(self):
        return time.time_ns() + int(self.ahead_s * 1e9)

    def monotonic_ns(self):
        return time.monotonic_ns()


class Socket:
    """One WebSocket, spoken over ASGI."""

    def __init__(self, gate, *, headers, subprotocols=()):
        self.sent = asyncio.Queue()
        self._incoming = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        scope = {
            **_scope("websocket", "/v1/sync/stream", headers),
            "scheme": "ws",
            "subprotocols": list(subprotocols),
        }
        self._task = asyncio.create_task(gate(scope, self._incoming.get, self.sent.put))

    async def first(self):
        async with asyncio.timeout(SECONDS_MAX):
            return await self.sent.get()

    async def close_code(self):
        """Return the code that the node closes with."""
        while (message := await self.first())["type"] != "websocket.close":
            pass
        return message["code"]

    async def end(self):
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait({self._task}, timeout=SECONDS_MAX)
        self._task.cancel()


class AttackedNode:
    """A running node: its gate, its identity, its mails, and who may operate it."""

    def __init__(self, gate, identity, settings, client, clock):
        self.gate, self.identity, self.settings = gate, identity, settings
        self.client, self.clock = client, clock
        self.trust, self.keys = identity.trust, KeyFiles(settings.keys_folder)

    @property
    def tokens(self):
        return self.gate._tokens

    def phone(self, **options):
        return Phone(self.client, now=self.clock.time, **options)

    def operator_token(self, *, person="operator", lifetime_s=600, **scopes):
        return mint(
            self.keys.development_key(),
            tenant=TenantId("main"),
            person=PersonId(person),
            lifetime_s=lifetime_s,
            now_unix_s=int(self.clock.time()),
            **scopes,
        )

    async def operate(self, method, path, **arguments):
        """Ask as somebody who may do everything."""
        token = self.operator_token(is_admin=True, is_operator=True)
        headers = {"authorization": f"Bearer {token}"}
        return await self.client.request(method, path, headers=headers, **arguments)

    async def audit(self):
        """Return the actions of the tenant's audit trail, each with its entry."""
        answer = await self.operate("GET", "/v1/admin/audit", params={"limit": 500})
        assert answer.status_code == 200, answer.text
        return {entry["action"]: entry for entry in answer.json()["entries"]}

    async def mails(self, address):
        """Return all mails to an address, oldest first, once those under way are written."""
        async with asyncio.timeout(SECONDS_MAX):
            while self.identity._parts.mailer.waiting:  # noqa: ASYNC110  (there is no event for it)
                await asyncio.sleep(0.005)
        paths = sorted((self.settings.data / "mail").glob("*.eml"))
        texts = [path.read_text() for path in paths]
        return [text for text in texts if f"To: {address}" in text]

    async def last_mail(self, address):
        return (await self.mails(address))[-1]

    def socket(self, token, *, headers=(), **options):
        own = [(b"authorization", f"Bearer {token}".encode())] if token else []
        return Socket(self.gate, headers=[*own, *headers], **options)

    async def raw(self, method, path, *, headers=(), body=b""):
        """Send one request whose path nobody has tidied; return its status and its body."""
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {**_scope("http", path, headers), "method": method, "scheme": "http"}
        async with asyncio.timeout(SECONDS_MAX):
            await self.gate(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def _scope(kind, target, headers):
    """Make a scope as uvicorn does."""
    raw, _, query = target.partition("?")
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"node"), *headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("node", 80),
        "state": {},
        "extensions": {},
    }


@asynccontextmanager
async def attacked_node(folder, **settings):
    """Run a node on a folder; `settings` are those of edge.settings."""
    clock, built = Clock(), []
    chosen = replace(Settings(data=folder / "node", synchronous="normal"), **settings)
    chosen.data.mkdir(parents=True)
    build = edge.app.build_identity

    def building(*arguments, **options):
        built.append(build(*arguments, **options))
        return built[-1]

    stand_in = SimpleNamespace(time_ns=clock.time_ns, monotonic_ns=clock.monotonic_ns)
    with (
        patch.object(edge.identity_wiring, "time", stand_in),
        patch.object(edge.app, "build_identity", building),
    ):
        edge.identity_wiring.prepare_limits(chosen)
        gate: Any = edge.app.build_application(app, chosen, secret=os.urandom(32))
        gate._tokens._clock = clock.time
        for guard in gate._routes.guards:
            if isinstance(guard, Admission):
                guard._clock = clock.time
        async with _lifespan(gate):
            transport = httpx.ASGITransport(gate)
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                yield AttackedNode(gate, built[0].identity, chosen, client, clock)


@asynccontextmanager
async def _lifespan(gate):
    told, asked = asyncio.Queue(), asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(gate(scope, asked.get, told.put))
    asked.put_nowait({"type": "lifespan.startup"})
    async with asyncio.timeout(30):
        started = await told.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield
    finally:
        asked.put_nowait({"type": "lifespan.shutdown"})
        async with asyncio.timeout(30):
            await task
