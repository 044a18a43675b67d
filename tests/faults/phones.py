"""Real phones under load, in a process of their own; run as a program by `PhonesProcess`.

`python -m tests.faults.phones PLAN.json` reads commands as JSON lines and answers each with one.
Every phone keeps its SQLite file, so the process may be killed at any moment and started again.

The history is a file of JSON lines, each flushed before the program goes on:

    opened      a phone's file was opened: its installation, the last counter it has used
    intent      a mutation is about to be made under this counter
    made        it is on the phone's disk; `h` is its clock value, which no other of the phone has
    renumbered  the phone has become another device: pairs of new counter and `h`
    receipt     an outcome that the phone was told, in an answer to a push or in a page
    trouble     what the phone says of its sync, when that changes
"""

import asyncio
import contextlib
import json
import random
import sys
import threading
from pathlib import Path

import httpx

from skerry_client import Add, AddElements, ClientError, Skerry
from tests.faults.survey import SPACES, Note, Site, app

(SPACE,) = SPACES
SHARED = "shared"
SYNC_SECONDS_MAX = 4.0
"""As long as a phone in the background may take; also what a half-open connection costs it."""
SYNC_PAUSE_S = 0.05
SETTLE_PAUSE_S = 0.05
NUMBERED = "SELECT counter, h FROM _mutation_queue WHERE device = 0"
KINDS = ("count", "count", "title", "tag", "note", "bare", "bare", "shout")
"""What a phone writes, by how often."""


class History:
    """A file of JSON lines; whatever was added before the process was killed can be read."""

    def __init__(self, path):
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  (open while it runs)
        self._lock = threading.Lock()

    def add(self, event, phone, **facts):
        line = json.dumps({"e": event, "p": phone, **facts})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


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
    """One phone that writes and syncs; `plan` is its part of the file that the program is given."""

    def __init__(self, plan, history, *, seed):
        self.name = plan["name"]
        self._plan = plan
        self._history = history
        self._moments = random.Random(f"{seed}-{self.name}")
        self._wanderer = Wanderer(plan["urls"], self._moments)
        self._message = ""
        self.database = self._open()

    def _open(self):
        plan = self._plan
        is_stream = plan["way"] == "stream"
        database = Skerry(
            plan["path"],
            app,
            url=plan["urls"][0],
            token=plan["token"],
            background=is_stream,
            http_transport=None if is_stream else self._wanderer,
        )
        store = database.store
        self._listen(store)
        self._history.add("opened", self.name, i=store.installation, c=store.counter)
        return database

    def _listen(self, store):
        """Have everything that the store is told written down before it takes it."""
        commit, record_receipts, renumber = store.commit, store.record_receipts, store._renumber
        stage, finish = store.stage, store.finish

        def commit_told(*arguments, **named):
            mutation = commit(*arguments, **named)
            told = {"i": store.installation, "c": mutation.counter, "h": mutation.h}
            self._history.add("made", self.name, **told)
            return mutation

        def record_told(merged, receipts, **named):
            self._receipts(store, "push", merged, receipts)
            record_receipts(merged, receipts, **named)

        def renumber_told(*arguments, **named):
            renumber(*arguments, **named)
            pairs = [list(row) for row in store._connection.execute(NUMBERED).fetchall()]
            self._history.add("renumbered", self.name, i=store.installation, pairs=pairs)

        def page_told(take):
            def taken(page):
                self._receipts(store, "page", page.merged, page.receipts)
                return take(page)

            return taken

        store.commit, store.record_receipts = commit_told, record_told
        store._renumber = renumber_told
        store.stage, store.finish = page_told(stage), page_told(finish)

    def _receipts(self, store, via, merged, receipts):
        with store.lock:
            told = {"i": store.installation, "via": via}
            for first, last, sequence in merged:
                told |= {"o": "merged", "c": first, "to": last, "s": sequence}
                self._history.add("receipt", self.name, **told)
            for receipt in receipts:
                told |= {"o": receipt.outcome, "c": receipt.counter, "to": receipt.counter}
                told |= {"s": receipt.sequence, "code": receipt.code}
                self._history.add("receipt", self.name, **told)

    async def aim(self, urls):
        """Call other nodes from now on."""
        self._plan["urls"] = self._wanderer.urls = urls
        if self._plan["way"] == "stream":
            await self.database.close()
            self.database = self._open()
            await self.database.connect()

    def prepare(self, *, is_first):
        """Make the rows that the others write to."""
        if is_first and self.database.get(Site, SHARED) is None:
            self._make({"kind": "site", "id": SHARED})
        if self.database.get(Site, f"own-{self.name}") is None:
            self._make({"kind": "site", "id": f"own-{self.name}"})

    def write(self):
        """Make one mutation of some kind."""
        if self.database.get(Site, SHARED) is None:
            return
        kind = self._moments.choice(KINDS)
        if kind == "bare" and self._plan.get("is_mortal"):
            kind = "note"  # what a lost phone wrote can only be recognised by its note
        what = {"kind": kind, "id": f"own-{self.name}" if kind == "bare" else SHARED}
        delta = self._moments.randrange(1, 100) if kind in {"count", "bare"} else 0
        self._make({**what, "delta": delta})

    def _make(self, what):
        store = self.database.store
        counter = store.counter + 1
        # A counter is used again by a phone that was renumbered; this name never is.
        what["mid"] = mid = f"{self.name}-{counter}-{self._moments.getrandbits(32):08x}"
        told = {"i": store.installation, "c": counter, "what": what}
        self._history.add("intent", self.name, **told)
        with self.database.transaction() as transaction:
            kind, row_id = what["kind"], what["id"]
            if kind == "site":
                transaction.insert(Site, space=SPACE, id=row_id)
                return
            if kind in {"count", "bare"}:
                transaction.edit(Site, row_id, visits=Add(what["delta"]))
            elif kind == "title":
                transaction.edit(Site, row_id, title=mid)
            elif kind == "tag":
                transaction.edit(Site, row_id, tags=AddElements(mid))
            if kind != "bare":
                text = "SHOUT" if kind == "shout" else "x" * self._moments.randrange(40)
                transaction.insert(Note, space=SPACE, id=mid, text=text)

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
            self._history.add("trouble", self.name, message=message)

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

    def dump(self):
        """Return everything the phone holds, as its person sees it."""
        sites = {
            site.row_id: {"title": site.title, "visits": site.visits, "tags": sorted(site.tags)}
            for site in self.database.rows(Site)
        }
        notes = {note.row_id: note.text for note in self.database.rows(Note)}
        counter = self.database.store.counter
        digests = self.database.digests()
        return {"sites": sites, "notes": notes, "digests": digests, "counter": counter}


class Phones:
    """The phones of one process, and the commands it knows."""

    def __init__(self, plan):
        self._pause_s = plan["pause_s"]
        history = History(plan["history"])
        self.history = history
        self._phones = {
            item["name"]: BusyPhone(item, history, seed=plan["seed"]) for item in plan["phones"]
        }
        self._is_writing = False
        self._is_settling = False
        self._tasks = []

    async def open(self):
        """Start syncing; nothing is written yet."""
        for phone in self._phones.values():
            if phone._plan["way"] == "stream":
                await phone.database.connect()
            self._tasks.append(asyncio.create_task(self._work(phone)))
            if phone._plan["way"] != "stream":
                self._tasks.append(asyncio.create_task(self._rounds(phone)))

    async def prepare(self):
        for index, phone in enumerate(self._phones.values()):
            phone.prepare(is_first=index == 0)

    async def write(self, *, is_on):
        self._is_writing = is_on

    async def aim(self, *, urls, name=None):
        for phone in self._phones.values():
            if name in {None, phone.name}:
                await phone.aim(urls)

    async def settle(self, *, seconds):
        """Sync until nobody has anything left to do; returns the standings, last of all."""
        deadline = asyncio.get_running_loop().time() + seconds
        self._is_settling = True  # a round that has just begun would look like something left to do
        try:
            return await self._settled(deadline)
        finally:
            self._is_settling = False

    async def _settled(self, deadline):
        was_quiet = False
        while True:
            await asyncio.gather(*(phone.sync() for phone in self._phones.values()))
            found = await self.standings()
            is_quiet = all(s["is_current"] and not s["queued"] for s in found.values())
            # Who was done first has not read what others have pushed since: once more for all.
            is_over = is_quiet and was_quiet
            if is_over or asyncio.get_running_loop().time() > deadline:
                return {"is_quiet": is_over, "phones": found}
            was_quiet = is_quiet
            await asyncio.sleep(SETTLE_PAUSE_S)

    async def standings(self):
        return {name: phone.standing() for name, phone in self._phones.items()}

    async def dump(self):
        return {name: phone.dump() for name, phone in self._phones.items()}

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for phone in self._phones.values():
            await phone.database.close()

    async def _work(self, phone):
        while True:
            await asyncio.sleep(phone._moments.uniform(0.2, 1.8) * self._pause_s)
            if self._is_writing:
                try:
                    phone.write()
                except ClientError as problem:
                    self.history.add("trouble", phone.name, message=f"write: {problem!r}")

    async def _rounds(self, phone):
        while True:
            if not self._is_settling:
                await phone.sync()
            await asyncio.sleep(SYNC_PAUSE_S)


async def main(plan):
    phones = Phones(plan)
    await phones.open()
    print(json.dumps({"ok": None}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        answer = await getattr(phones, command.pop("do"))(**command)
        print(json.dumps({"ok": answer}), flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SYNC_SECONDS_MAX):
            await phones.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
