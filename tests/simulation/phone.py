"""A phone on a simulated machine: a real Skerry database, somewhere near some node."""

import asyncio
import shutil
import sqlite3
from contextlib import suppress
from typing import Any

import httpx

from core.ids import PersonId
from edge.services.tokens import mint
from skerry_client import Skerry
from tests.history.recorder import PhoneRecorder
from tests.simulation.disk import Doom
from tests.simulation.network import Broken, Request, source_machine
from tests.simulation.node import TENANT
from tests.simulation.process import Machine, Process, ProcessKilled
from tests.simulation.writes import Writer

SYNC_S_MAX = 40.0
TOKEN_S = 6 * 3_600
TOKEN_EARLIER_S = 2 * 3_600


class PhoneTransport(httpx.AsyncBaseTransport):
    """The phone's HTTP, over the simulated network, to whichever node is near."""

    async def handle_async_request(self, request):
        phone = source_machine()
        content = await request.aread()
        trace = request.extensions.get("trace")

        async def sent():
            if trace is not None:
                await trace("http11.send_request_body.complete", {})

        target = request.url.raw_path.decode()
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        asked = Request(request.method, target, headers, content)
        timeout_s = request.extensions.get("timeout", {}).get("read") or 30.0
        try:
            async with asyncio.timeout(timeout_s):
                network = phone.world.network
                answer = await network.ask(phone, phone.target(), "public", asked, on_sent=sent)
        except TimeoutError:
            raise httpx.ReadTimeout("no answer", request=request) from None
        except Broken as problem:
            raise httpx.ConnectError(str(problem), request=request) from None
        return httpx.Response(
            answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body)
        )


class Phone(Machine):
    """One installation of the app, with its person; it may be killed and started again."""

    def __init__(self, world, name, person, *, nodes):
        super().__init__(world, name)
        self.person = person
        self.nodes = list(nodes)
        """The nodes it calls, the nearest first; with several it changes now and then."""
        self.is_roaming = False
        self.is_streaming = False
        self.process: Any = None
        self.database: Any = None
        self.app = world.app
        # A commit that loses its power may be kept, though nobody was told of it.
        self.recorder = PhoneRecorder(
            world.history, name, person, now_ms=lambda: world.now_ms, tells_intents=True
        )
        self._writer: Any = None
        self._came_from = ""
        self._syncing = None
        self.message = ""

    @property
    def path(self):
        return self.folder / "phone.db"

    @property
    def is_running(self):
        return self.process is not None and not self.process.is_dead

    def target(self):
        """Return the node to call now."""
        nodes = [name for name in self.nodes if not self.world.machines[name].is_gone]
        if not nodes:
            nodes = [
                name for name in self.world.node_names if not self.world.machines[name].is_gone
            ]
        if self.is_roaming and len(nodes) > 1:
            return nodes[self.moments.randrange(len(nodes))]
        return nodes[0]

    def token(self):
        """Return a fresh token, signed by the operator's key."""
        now_s = self.world.wall_ms // 1_000
        return mint(
            self.world.operator_key,
            tenant=TENANT,
            person=PersonId(self.person),
            lifetime_s=TOKEN_S,
            now_unix_s=now_s - TOKEN_EARLIER_S,
        )

    def start(self, *, came_from=""):
        """Open the file and go on."""
        assert not self.is_running
        # One that ends while its file is opened has not told where that came from.
        self._came_from = came_from or self._came_from
        self.process = Process(self, f"{self.name}/app")
        self.world.processes.append(self.process)
        try:
            self.process.run(self._open)
        except ProcessKilled:
            return  # The power went while the file was opened; `power_off` sees to the rest.
        except sqlite3.OperationalError:
            if not self.is_disk_full:
                raise
            # An app that cannot open its file shows that to its person, who tries again.
            self.process.kill()
            self.world.later(1.0, self.start_again)
            return
        if self.is_streaming:
            self.process.spawn(self.database.connect())

    def _open(self):
        self.database = Skerry(
            self.path,
            self.app,
            url="http://near:8787",
            token=self.token,
            background=False,
            now_unix_ms=self.now_ms,
            entropy=self.entropy.randbytes,
            http_transport=PhoneTransport(),
        )
        self._writer = Writer(self, self.app)
        self.recorder.attach(self.database, came_from=self._came_from)
        self._came_from = ""

    def kill(self, *, is_power_lost=False, images=None):
        """End the app without another instruction."""
        if self.is_running:
            self.process.kill(is_power_lost=is_power_lost, images=images)
            self.recorder.killed()
        self.database = None

    def power_off(self, process, images):
        """Lose the power in the middle of a commit, and come back a little later."""
        assert process is self.process
        self.kill(is_power_lost=True, images=images)
        self.doom = None
        if not self.is_gone:
            self.world.later(1.0, self.start_again)

    def start_again(self):
        if not self.is_running and not self.is_gone:
            self.start()

    def doom_next_commit(self):
        self.doom = Doom("phone.db")

    async def close(self):
        """Close the app in order."""
        if not self.is_running:
            return
        process, database = self.process, self.database
        self.database = None
        try:
            await process.ask(self._close(database))
        except ConnectionResetError:
            return  # it was killed while it closed
        await process.finish()
        self.recorder.killed()

    @staticmethod
    async def _close(database):
        await database.close()

    def write(self, moments):
        """Let the person write something; returns what it was."""
        if not self.is_running:
            return None
        try:
            return self.process.run(self._writer.write, self.database, moments)
        except ProcessKilled:
            return "killed while writing"
        except sqlite3.OperationalError as problem:
            if not self.is_disk_full:
                raise
            return f"not written: {problem}"

    async def sync(self):
        """Do a round, if the app runs and it does not take too long."""
        if not self.is_running:
            return
        process, database = self.process, self.database
        task = process.spawn(self._sync(database))
        stopped = self.world.loop.create_future()

        def stop(*_task):
            if not stopped.done():
                stopped.set_result(None)

        task.add_done_callback(stop)
        process.ended.append(stop)
        await stopped
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception()

    async def _sync(self, database):
        with suppress(TimeoutError):
            async with asyncio.timeout(SYNC_S_MAX):
                status = await database.sync()
                self.message = status.message

    async def keep_syncing(self, every_s):
        """Do a round now and then, for as long as this world lasts."""
        while True:
            await asyncio.sleep(every_s * (0.5 + self.moments.random()))
            if not self.world.is_settling:
                await self.sync()

    # --- files -------------------------------------------------------------------------------

    def back_up(self, folder):
        """Copy the file as it is on the disk now."""
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal"):
            source = self.path.with_name(self.path.name + suffix)
            target = folder / source.name
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)

    def put_back(self, folder):
        """Replace the file of a phone that does not run by a copy."""
        assert not self.is_running
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        for source in folder.iterdir():
            shutil.copyfile(source, self.folder / source.name)

    def standing(self):
        """Return what is left to do."""
        if not self.is_running:
            return {"is_quiet": False, "why": "does not run"}
        status = self.database.status
        with self.database.store.lock:
            connection = self.database.store._connection
            (queued,) = connection.execute("SELECT count(*) FROM _mutation_queue").fetchone()
        return {
            "is_quiet": status.is_current and not queued and not status.damaged,
            "pending": status.pending,
            "queued": queued,
            "damaged": sorted(status.damaged),
            "message": self.message or status.message,
        }
