"""A scene: one scripted server and one phone of the adapter's, and what cases ask of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from conformance.case import CaseList, Failed, expect, require
from conformance.client.adapter import Adapter, folder_for_phones
from conformance.client.declared import APP, DECLARATION, FINGERPRINT, NORTH
from conformance.client.model import Model
from conformance.client.socket_server import TOKEN, SocketServer
from sync_protocol.codec import Media, decode_mutations
from sync_protocol.messages.push import Push, WireMutation
from sync_protocol.mutations import payload_hash

SEEN_SECONDS_MAX: Final = 8.0
"""What a live phone has not shown by then it does not show: the longest first back-off is 0.5 s."""
LOOK_SECONDS: Final = 0.02
HASTE_MS: Final = 30
"""What two clocks and a busy machine may shorten a delay by."""


class Phone:
    """One phone of the adapter's, by its name."""

    def __init__(self, adapter: Adapter, server: SocketServer, folder: str) -> None:
        self._adapter = adapter
        self._server = server
        self._folder = folder
        self.name = "phone-1"

    async def ask(self, request: str, **arguments: Any) -> Any:  # noqa: ANN401  (JSON both ways)
        """Send one request about this phone."""
        return await self._adapter.ask(f"phone.{request}", phone=self.name, **arguments)

    async def open(self, *, stream: bool = False) -> None:
        """Open the phone's file, made when it is new; `stream` keeps one up in the background."""
        await self.ask(
            "open",
            folder=self._folder,
            url=self._server.url,
            token=TOKEN,
            app={
                "name": APP.name,
                "version": APP.version,
                "fingerprint": FINGERPRINT,
                "declaration": DECLARATION,
            },
            stream=stream,
        )

    async def close(self) -> None:
        """Close the file; what was written is kept in it."""
        await self.ask("close")

    async def sync(self) -> dict[str, Any]:
        """Do one full round and return what the phone says of it."""
        status = await self.ask("sync")
        if not isinstance(status, dict) or "is_current" not in status:
            raise Failed("phone.sync", expected={"is_current": True, "fault": None}, got=status)
        return status

    async def settle(self) -> None:
        """Do one full round that must go through."""
        status = await self.sync()
        expect("is_current after phone.sync", status["is_current"], expected=True)

    async def insert(
        self, row: str, *, collection: str = "site", space: str = NORTH, **fields: object
    ) -> None:
        """Insert a row as the person would: plain values, or one operation."""
        await self.ask("insert", collection=collection, row=row, space=space, fields=fields)

    async def edit(self, row: str, *, collection: str = "site", **fields: object) -> None:
        """Edit a row."""
        await self.ask("edit", collection=collection, row=row, fields=fields)

    async def delete(self, row: str, *, collection: str = "site") -> None:
        """Delete a row."""
        await self.ask("delete", collection=collection, row=row)

    async def view(self, collection: str = "site") -> dict[str, dict[str, Any]]:
        """Return what a person sees: values by row."""
        rows = await self.ask("view", collection=collection)
        return {row["id"]: row["values"] for row in rows}

    async def titles(self) -> dict[str, str]:
        """Return the titles of the sites that a person sees."""
        return {row: values["title"] for row, values in (await self.view()).items()}

    async def pending(self) -> list[int]:
        """Return the counters of the mutations without a final receipt."""
        return await self.ask("pending")

    async def outcomes(self) -> dict[str, Any]:
        """Return the refused mutations and the conflicts that a person is shown."""
        return await self.ask("outcomes")


@dataclass(slots=True)
class Scene:
    """What one case plays with."""

    model: Model
    server: SocketServer
    phone: Phone

    def pushed(self) -> list[WireMutation]:
        """Return every mutation heard, repeats included, in the order they came."""
        found: list[WireMutation] = []
        for heard in self.server.asked("push"):
            assert isinstance(heard.message, Push)
            for mutation in decode_mutations(heard.message, Media.MSGPACK):
                if not isinstance(mutation, WireMutation):
                    raise Failed("a mutation", expected="well-formed", got=mutation.reason)
                found.append(mutation)
        return found

    def counters(self) -> list[int]:
        """Return the counters of every mutation heard."""
        return [mutation.counter for mutation in self.pushed()]

    def expect_once(self) -> None:
        """Every counter was always sent with the same payload, and the model has taken each."""
        hashes: dict[int, str] = {}
        for mutation in self.pushed():
            known = hashes.setdefault(mutation.counter, payload_hash(mutation).hex())
            what = f"the payload hash of counter {mutation.counter}, sent again"
            expect(what, payload_hash(mutation).hex(), known)

    def states(self, row: str, collection: str = "site") -> dict[str, Any]:
        """Return the states of a row at the server."""
        found = self.model.rows.get((collection, row))
        if found is None:
            raise Failed(f"the server's row {row}", expected="it has come", got=self.counters())
        return dict(found.fields)

    async def eventually(
        self, what: str, look: Callable[[], Awaitable[object]], expected: object
    ) -> None:
        """Wait until something is as it should be."""
        deadline = time.monotonic() + SEEN_SECONDS_MAX
        while (got := await look()) != expected:
            if time.monotonic() > deadline:
                raise Failed(what, expected=expected, got=got)
            await asyncio.sleep(LOOK_SECONDS)

    async def until(self, what: str, happened: Callable[[], bool]) -> None:
        """Wait until something has happened at the server."""

        async def look() -> object:
            return happened()

        await self.eventually(what, look, expected=True)

    def expect_pause(self, request: str, pause_ms: int) -> None:
        """The second request of a kind came no earlier than it was told to."""
        asked = self.server.asked(request)
        if len(asked) > 1:
            waited_ms = round((asked[1].at - asked[0].at) * 1_000)
            what = f"the pause before the second {request}"
            expected = f"at least {pause_ms} ms"
            require(what, holds=waited_ms >= pause_ms - HASTE_MS, got=waited_ms, expected=expected)


@asynccontextmanager
async def opened(adapter: Adapter, *, stream: bool = False) -> AsyncIterator[Scene]:
    """Start a server and make a new phone for it; both are gone afterwards.

    With `stream` the case opens the phone itself, once the server has what it is to find.
    """
    model = Model()
    server = SocketServer(model, has_streams=stream)
    await server.start()
    with folder_for_phones() as folder:
        phone = Phone(adapter, server, folder)
        try:
            if not stream:
                await phone.open()
            yield Scene(model, server, phone)
        finally:
            try:
                if adapter.is_running:
                    await phone.close()
            finally:
                await server.close()


def acted(
    cases: CaseList[Adapter], name: str, *, stream: bool = False
) -> Callable[[Callable[[Scene], Awaitable[None]]], Callable[[Scene], Awaitable[None]]]:
    """Add a function of a scene as a case; bad manners at the server fail it too."""

    def added(act: Callable[[Scene], Awaitable[None]]) -> Callable[[Scene], Awaitable[None]]:
        @wraps(act)
        async def run(adapter: Adapter) -> None:
            async with opened(adapter, stream=stream) as scene:
                await act(scene)
                expect("what no client does", scene.server.violations, [])

        cases(name)(run)  # pyright: ignore[reportArgumentType]  (`wraps` keeps the inner signature)
        return act

    return added


def written(titles: Iterable[str]) -> dict[str, str]:
    """Return the titles that rows s1, s2, ... have."""
    return {f"s{number}": title for number, title in enumerate(titles, 1)}
