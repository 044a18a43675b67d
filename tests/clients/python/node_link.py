"""A link to a real node in this process, whose database can be set back to an earlier copy."""

# pyright: reportPrivateUsage=false

import asyncio
import shutil

from edge.errors import EdgeError
from edge.problems import fault_of
from skerry_client.driver import Driver
from skerry_client.transport import request_of
from sync_protocol.codec import decode_client, decode_mutations, decode_server, encode
from sync_protocol.media import Media
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from tests.edge.services.harness import Harness, WallClock, principal_of
from tests.edge.services.standings import Planted, stand


class Fleet:
    """One node, its copies, and the standing it gives to its services."""

    def __init__(self, folder, app):
        self.folder = folder
        self.harness = Harness(folder / "node", app, WallClock())
        self.standing = Planted()
        self.taken_over = 0

    async def open(self):
        (self.folder / "node").mkdir(exist_ok=True)
        await self.harness.open()
        stand(self.harness.tenant, self.standing)

    async def copy(self):
        """Keep what a replica has now."""
        await self.harness.close()
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.folder / "node", self.folder / "copy")
        await self.open()

    async def take_over(self):
        """Let the copy be the primary: whatever was committed since is lost."""
        await self.turn_back()
        self.taken_over += 1

        def renamed(unit):
            lineage = [*(unit.meta.get("lineage") or []), self._entry(unit)]
            unit.meta.set("lineage", lineage)
            unit.meta.set("database", f"database-{self.taken_over + 1}")

        await self.harness.tenant.database.write(renamed)

    async def turn_back(self):
        """Let the database answer that was copied, and knows nothing of what has followed it."""
        await self.harness.close()
        shutil.rmtree(self.folder / "node")
        shutil.copytree(self.folder / "copy", self.folder / "node")
        await self.open()

    @staticmethod
    def _entry(unit):
        return [unit.meta.get("database"), unit.meta.get("sequence")]

    async def sync(self, store, person, links=5, trouble=lambda _message: None):
        """Do one round, over several links when the server asks for it."""
        ending = None
        for _ in range(links):
            driver = Driver(
                store, now_unix_ms=self.harness.clock, jitter=lambda: 0.0, has_pokes=False,
                on_progress=lambda *_: None,
            )  # fmt: skip
            link = NodeLink(self, person, trouble)
            ending = await asyncio.wait_for(driver.run(link, is_single_round=True), 20)
            if ending.why != "again":
                break
        return ending


class NodeLink:
    """Answers at once; `trouble(message)` may raise what a broken link raises."""

    def __init__(self, fleet, person, trouble):
        self.fleet = fleet
        self.principal = principal_of(person)
        self.trouble = trouble
        self.answers = asyncio.Queue()

    async def send(self, message):
        message = decode_client(encode(message))
        self.trouble(message)
        try:
            answer = await self._answer(message)
        except EdgeError as error:
            answer = fault_of(error)
            answer.answers = request_of(message)
        self.answers.put_nowait(decode_server(encode(answer)))

    async def _answer(self, message):
        tenant = self.fleet.harness.tenant
        if isinstance(message, Hello):
            return await tenant.devices.hello(self.principal, message)
        session = await tenant.devices.session(
            self.principal, message.device, message.schema_version
        )
        if isinstance(message, Push):
            mutations = decode_mutations(message, Media.MSGPACK)
            return self.fleet.standing.noted(await tenant.ingest.push(session, message, mutations))
        if isinstance(message, Pull):
            return await tenant.pulls.pull(session, message)
        return await tenant.pulls.repair(session, message)

    async def receive(self):
        return await self.answers.get()

    async def close(self):
        pass
