"""Real phones under load, in a process of their own; run as a program by `PhonesProcess`.

`python -m tests.faults.phones PLAN.json` reads commands as JSON lines and answers each with one.
Every phone keeps its SQLite file, so the process may be killed at any moment and started again.
What the phones do is added to a history (tests/history), of which each line is flushed before the
program goes on.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

from tests.faults import writes
from tests.faults.busy_phone import SYNC_SECONDS_MAX, BusyPhone
from tests.history.history import History

SYNC_PAUSE_S = 0.05
SETTLE_PAUSE_S = 0.05
SETTLE_SYNC_SECONDS_MAX = 20.0
PATIENCE_GROWS = 1.2
"""A half-open connection is given up soon, and a slow machine gets there in the end."""


class Phones:
    """The phones of one process, and the commands it knows."""

    def __init__(self, plan):
        self._pause_s = plan["pause_s"]
        history = History(plan["history"], keeps_events=False)
        self._phones = {
            item["name"]: BusyPhone(item, history, seed=plan["seed"]) for item in plan["phones"]
        }
        self._is_writing = False
        self._is_settling = False
        self._tasks = []

    async def open(self):
        """Start syncing; nothing is written yet."""
        for phone in self._phones.values():
            await phone.connect()
            self._tasks.append(asyncio.create_task(self._work(phone)))
            if not phone.is_streaming:
                self._tasks.append(asyncio.create_task(self._rounds(phone)))

    async def prepare(self):
        for index, phone in enumerate(self._phones.values()):
            writes.prepare(phone, is_first=index == 0)

    async def write(self, *, is_on):
        self._is_writing = is_on

    async def aim(self, *, urls, name=None):
        for phone in self._phones.values():
            if name in {None, phone.name}:
                await phone.aim(urls)

    async def set_clock(self, *, name, offset_ms):
        self._phones[name].clock_ms = offset_ms

    async def settle(self, *, seconds):
        """Sync until nobody has anything left to do; returns the standings, last of all."""
        deadline = asyncio.get_running_loop().time() + seconds
        self._is_settling = True  # a round that has just begun would look like something left to do
        try:
            return await self._settled(deadline)
        finally:
            self._is_settling = False

    async def _settled(self, deadline):
        was_quiet, seconds = False, SYNC_SECONDS_MAX
        while True:
            await self._sync_all(seconds)
            seconds = min(seconds * PATIENCE_GROWS, SETTLE_SYNC_SECONDS_MAX)
            found = {name: phone.standing() for name, phone in self._phones.items()}
            is_quiet = all(s["is_current"] and not s["queued"] for s in found.values())
            # Who was done first has not read what others have pushed since: once more for all.
            is_over = is_quiet and was_quiet
            if is_over or asyncio.get_running_loop().time() > deadline:
                return {"is_quiet": is_over, "phones": found}
            was_quiet = is_quiet
            await asyncio.sleep(SETTLE_PAUSE_S)

    async def final(self):
        """Write down what everybody holds; from here on nothing is to move."""
        self._is_settling = True
        return {name: phone.final() for name, phone in self._phones.items()}

    async def again(self):
        """Sync once more, and write down what that has moved."""
        await self._sync_all(SETTLE_SYNC_SECONDS_MAX)
        for phone in self._phones.values():
            phone.again()

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for phone in self._phones.values():
            await phone.close()

    async def _sync_all(self, seconds):
        await asyncio.gather(*(phone.sync(seconds) for phone in self._phones.values()))

    async def _work(self, phone):
        while True:
            await asyncio.sleep(phone.moments.uniform(0.2, 1.8) * self._pause_s)
            if self._is_writing:
                phone.write()

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
