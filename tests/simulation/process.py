"""Simulated processes and machines: what runs together, dies together, and stays on a disk."""

import asyncio
import random
from contextvars import Context
from pathlib import Path
from typing import Any

from tests.simulation.clock import PROCESS


class ProcessKilled(BaseException):
    """Unwinds whatever a process was doing when it was killed; nobody in it may go on."""


class Machine:
    """One computer: a disk, a clock that may be wrong, and a source of random bytes."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.folder = Path(world.folder) / name
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock_offset_us = 0
        self.is_disk_full = False
        self.is_gone = False
        self.doom: Any = None
        self.fleet: Any = None
        self.entropy = random.Random(f"{world.seed} entropy {name}")
        self.moments = random.Random(f"{world.seed} moments {name}")

    def now_ms(self):
        """Return this machine's wall clock in Unix milliseconds."""
        return self.world.wall_ms + self.clock_offset_us // 1_000


class Process:
    """One process of a machine: its tasks, its timers and its open databases."""

    def __init__(self, machine, name):
        self.machine = machine
        self.loop = machine.world.loop
        self.name = name
        self.is_dead = False
        self.ready = self.loop.queue_of(self)
        self.connections = {}
        self.fleet: Any = None
        self.public: Any = None
        self.internal: Any = None
        self.leaving: Any = None
        self.streams = {}
        self.is_wanted = True
        self.has_changed_role = False
        self.ended = []
        """Called once when the process is dead."""
        self._tasks = {}
        context = Context()
        context.run(PROCESS.set, self)
        self._context = context

    def __repr__(self):
        return f"<{self.name}>"

    def spawn(self, coroutine, *, name=None):
        """Start a task of this process."""
        assert not self.is_dead, f"{self} is dead"
        return self.loop.create_task(coroutine, name=name, context=self._context.copy())

    async def ask(self, coroutine):
        """Run a coroutine as this process, wait for it; raises ConnectionResetError if that dies.

        A dead process's tasks stay suspended for ever: who waits for one must hear of it.
        """
        task = self.spawn(coroutine)

        def tell():
            if not task.done():
                asyncio.Future.set_exception(task, ConnectionResetError(f"{self} is dead"))

        self.ended.append(tell)
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled():
                raise ConnectionResetError(f"{self} has ended") from None
            raise
        finally:
            if tell in self.ended:
                self.ended.remove(tell)

    def run(self, work, *arguments):
        """Run a function as this process, at once."""
        assert not self.is_dead, f"{self} is dead"
        return self._context.copy().run(work, *arguments)

    def adopt(self, task):
        """Keep a task alive: a dead process's tasks stay suspended for ever."""
        self._tasks[task.number] = task
        task.add_done_callback(self._drop, context=self._context)

    def _drop(self, task):
        self._tasks.pop(task.number, None)

    def kill(self, *, is_power_lost=False, images=None):
        """End without another instruction; what is not on the disk is gone."""
        if self.is_dead:
            return
        self.is_dead = True
        self.loop.forget(self)
        if images is None:
            images = self.machine.world.disks.images(self, is_power_lost=is_power_lost)
        self.machine.world.disks.end(self, images)
        ended, self.ended = self.ended, []
        for tell in ended:
            tell()

    async def finish(self):
        """End in order: nothing of it may be left running."""
        if self.is_dead:
            return
        own = asyncio.current_task()
        left = [task for task in self._tasks.values() if task is not own and not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self.is_dead = True
        self.loop.forget(self)
        self.machine.world.disks.end(self, {})
        ended, self.ended = self.ended, []
        for tell in ended:
            tell()
