"""A primary and its edges over one control database, with listeners for nodes on loopback.

async with fleet(tmp_path) as world:
    edge = await world.joined("iad-1", "iad")
    token = await edge.tokens.sign(to="fra-1", method="GET", target="/x", body=b"")
"""

import asyncio
import os
import socket
import time
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.fleet import NodeEntry, NodeState
from core.identity.keys import Authority
from core.identity.tenants import TenantEntry, TenantState
from core.ids import TenantId
from edge.controllers.internal import InternalParts, internal_routes
from edge.controllers.internal_gate import InternalGate
from edge.observability import Metrics
from edge.repositories.control.database import SqlControlDatabase
from edge.repositories.vault.database import SqlVaultDatabase
from edge.services.fleet.membership import Membership
from edge.services.fleet.messages import HeardBody, JoiningBody, JoiningKey
from edge.services.fleet.node_tokens import NodeTokens
from edge.services.identity.models import tenant_record
from edge.services.identity.signing import Signing
from edge.services.identity.trust import Trust
from edge.services.keys import KeyRing
from edge.storage.key_files import KeyFiles
from edge.storage.sqlite import SqliteEngine
from tests.edge.controllers.fakes import FakeNode

PRIMARY = "fra-1"


class Clock:
    """Today's time, and as far ahead as a test has set it."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return time.time() + self.ahead_s

    def ms(self):
        return int(self() * 1_000)


class Party:
    """One node: its keys, what it trusts, what it signs with, its clock."""

    def __init__(self, control_file, folder, node, *, is_writer=False, authority=None):
        self.node, self.folder, self.clock = node, folder, Clock()
        self.engine = SqliteEngine(control_file, is_writer=is_writer, synchronous="NORMAL")
        self.control = SqlControlDatabase(self.engine)
        self.files = KeyFiles(folder / "keys")
        self.trust = Trust(self.control, KeyRing(self.files), clock=self.clock)
        self.signing = Signing(
            self.control, self.files, self.trust, node=node, authority=authority,
            now_ms=self.clock.ms,
        )  # fmt: skip
        self.tokens = NodeTokens(self.trust, self.signing, clock=self.clock)


class World:
    """The primary, whoever has joined it, and what its internal endpoints were asked."""

    def __init__(self, folder):
        self.folder = folder
        self.primary = Party(
            folder / "control.db", folder, PRIMARY, is_writer=True,
            authority=Authority(frozenset({"fra"})),
        )  # fmt: skip
        self.vault_engine = SqliteEngine(folder / "vault.db", synchronous="NORMAL")
        self.vault = SqlVaultDatabase(self.vault_engine)
        self.membership = Membership(
            self.primary.control, self.vault, self.primary.trust,
            entropy=os.urandom, now_ms=self.primary.clock.ms,
        )  # fmt: skip
        self.node: Any = FakeNode()
        self.reports, self.forwarded, self.heard = [], [], []
        self.is_primary = True
        self.parties = [self.primary]

    async def open(self, *, url=""):
        await self.primary.engine.open()
        await self.vault_engine.open()
        await self.primary.control.migrate()
        await self.vault.migrate()
        await self.tenant("main")
        await self.primary.signing.open()
        await self.found(url)
        await self.primary.trust.start()

    async def found(self, url, *, is_first=True):
        own = NodeEntry(PRIMARY, "fra", url, "", NodeState.JOINED, self.primary.clock.ms())
        return await self.membership.found(own, is_first=is_first)

    async def tenant(self, name, *, regions=(), state=TenantState.ACTIVE):
        entry = TenantEntry(TenantId(name), state, regions=regions)
        await self.primary.control.write(lambda unit: unit.tenants.put(tenant_record(entry)))
        await self.primary.trust.refresh()

    async def invited(self, node, region="fra", **options):
        return (await self.membership.invite(node, region, actor="operator", **options)).token

    async def joined(self, node, region="fra"):
        """Take a node in; its trust follows the same control database."""
        token = await self.invited(node, region)
        files = KeyFiles(self.folder / node / "keys")
        await self.membership.join(joining(token, files, node))
        return await self.party(node)

    async def party(self, node):
        party = Party(self.folder / "control.db", self.folder / node, node)
        await party.engine.open()
        await party.trust.start()
        self.parties.append(party)
        return party

    def parts(self):
        async def on_report(caller, body):
            self.reports.append((caller, body))
            return HeardBody(1, PRIMARY, "", "", {"main": 7}, {"main": ("d", 8)}, 9)

        async def on_leadership(caller, body):
            return body

        async def on_status(caller):
            return {"asked_by": caller.node}

        async def on_vault(caller, body):
            return body[::-1]

        return InternalParts(
            node=self.node, own=PRIMARY, trust=self.primary.trust, membership=self.membership,
            metrics=Metrics(), now_ms=self.primary.clock.ms, is_primary=lambda: self.is_primary,
            on_report=on_report, on_leadership=on_leadership, on_status=on_status,
            on_vault=on_vault,
        )  # fmt: skip

    def gate(self, *, public=None, **options):
        return InternalGate(
            internal_routes(self.parts()), public or self.public, tokens=self.primary.tokens,
            heard=self.heard.append, **options,
        )  # fmt: skip

    async def public(self, scope, receive, send):
        """Stand for the gate of phones: note what arrives, answer 200."""
        body = (await receive())["body"]
        self.forwarded.append((scope, body))
        content = b'{"from": "the public gate"}'
        headers = [(b"content-type", b"application/json"), (b"x-request-id", b"of-the-public-gate")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def close(self):
        for party in self.parties:
            await party.trust.close()
            await party.control.close()
        await self.vault.close()


def public_half(key):
    return key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def joining(token, files, node, **addresses):
    active, standby = files.make(node), files.make(node)
    return JoiningBody(
        token,
        JoiningKey(active.kid, public_half(active)),
        JoiningKey(standby.kid, public_half(standby)),
        **addresses,
    )


@asynccontextmanager
async def fleet(folder):
    world = World(folder)
    await world.open()
    try:
        yield world
    finally:
        await world.close()


@asynccontextmanager
async def listening(application, *, context=None, host="127.0.0.1"):
    """Serve an application for nodes on a free port of loopback; yields its URL."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # else asyncio delays answers
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(16)
        listener.setblocking(False)
        options: dict[str, Any] = {}
        if context is not None:
            options["ssl_context_factory"] = lambda *_: context
        server = uvicorn.Server(
            uvicorn.Config(
                application, lifespan="off", log_config=None, access_log=False,
                timeout_graceful_shutdown=1, **options,
            )
        )  # fmt: skip
        task = asyncio.create_task(server._serve([listener]))
        try:
            for _ in range(2_000):
                if server.started or task.done():
                    break
                await asyncio.sleep(0.005)
            scheme = "http" if context is None else "https"
            yield f"{scheme}://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
