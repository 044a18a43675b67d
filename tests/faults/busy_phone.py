"""One real phone under load: it writes, syncs, and has everything it does written down."""

import asyncio
import random
import time

import httpx

from core.errors import CoreError
from skerry_client import ClientError, Skerry
from tests.faults import writes
from tests.faults.survey import app
from tests.history.recorder import PhoneRecorder

SYNC_SECONDS_MAX = 4.0
"""As long as a phone in the background may take; also what a half-open connection costs it."""


def now_ms():
    """Return the right time."""
    return time.time_ns() // 1_000_000


class Wanderer(httpx.AsyncBaseTransport):
    """Sends every request to one of some nodes, each time another one if there are several."""

    def __init__(self, urls, moments):
        self.urls = urls
        self._moments = moments
        self._inner = httpx.AsyncHTTPTransport(retries=0)

    async def handle_async_request(self, request):
        chosen = httpx.URL(self._moments.choice(self.urls))
        request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
        request.headers["host"] = f"{chosen.host}:{chosen.port}"
        return await self._inner.handle_async_request(request)

    async def aclose(self):
        await self._inner.aclose()


class BusyPhone:
    """`plan`: name, person, path, urls, token, way (`rounds` or `stream`), clock_ms (how wrong
    its clock is), from (`backup` or `clone:NAME` when its file is not as it has left it).
    """

    def __init__(self, plan, history, *, seed):
        self.name = plan["name"]
        self.moments = random.Random(f"{seed}-{self.name}-{plan.get('start', 0)}")
        self.clock_ms = plan.get("clock_ms", 0)
        self._plan = plan
        self._history = history
        self._wanderer = Wanderer(plan["urls"], self.moments)
        self._recorder = PhoneRecorder(
            history, self.name, plan["person"], now_ms=now_ms, tells_intents=True
        )
        self._message = ""
        self.database = self._open(plan.get("from", ""))

    @property
    def is_streaming(self):
        return self._plan["way"] == "stream"

    def _open(self, came_from=""):
        plan = self._plan
        database = Skerry(
            plan["path"],
            app,
            url=plan["urls"][0],
            token=plan["token"],
            background=self.is_streaming,
            now_unix_ms=lambda: now_ms() + self.clock_ms,
            http_transport=None if self.is_streaming else self._wanderer,
        )
        self._recorder.attach(database, came_from=came_from)
        return database

    async def connect(self):
        if self.is_streaming:
            await self.database.connect()

    async def close(self):
        await self.database.close()
        self._recorder.killed()

    async def aim(self, urls):
        """Call other nodes from now on."""
        self._plan["urls"] = self._wanderer.urls = urls
        if self.is_streaming:
            await self.close()
            self.database = self._open()
            await self.connect()

    def write(self):
        """Make one mutation of some kind; what the phone itself refuses is not made."""
        try:
            writes.write(self)
        except (ClientError, CoreError) as problem:
            self._tell("refused", problem=repr(problem))

    async def sync(self, seconds=SYNC_SECONDS_MAX):
        """Do one round, if it does not take too long."""
        try:
            async with asyncio.timeout(seconds):
                status = await self.database.sync()
                message = status.message
        except TimeoutError:
            message = "timeout"
        if message != self._message:
            self._message = message
            self._tell("trouble", message=message)

    def standing(self):
        """Return what is left to do: mutations without an outcome, and those kept for a fork."""
        status = self.database.status
        store = self.database.store
        with store.lock:
            (queued,) = store._connection.execute("SELECT count(*) FROM _mutation_queue").fetchone()
        return {
            "is_current": status.is_current,
            "pending": status.pending,
            "queued": queued,
            "damaged": sorted(status.damaged),
            "message": self._message or status.message,
        }

    def final(self):
        """Write down all that the phone holds; returns its digests."""
        self._recorder.final(self.database)
        return self.database.digests()

    def again(self):
        """Write down what has moved since."""
        self._recorder.again(self.database)

    def _tell(self, what, **facts):
        """Write down something for people."""
        told = {"e": "fault", "t": now_ms(), "p": self.name, "what": what, **facts}
        self._history.add(told)
