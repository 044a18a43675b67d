"""The event loop: one thread, virtual time, and a seeded choice of which process goes on.

Within a process callbacks run in the order they were made ready, as on a real loop. Between
processes any order is possible, and the seed chooses. Time stands still while anybody can go on.
"""

import asyncio
import heapq
import random
from collections import deque
from contextvars import copy_context

from tests.simulation.clock import PROCESS

HOP_US_MAX = 900
"""What a hop to a thread and back takes at most: a unit of work on a small database."""


class SimulationStuck(AssertionError):
    """Nobody can go on although somebody waits."""


class SeededTask(asyncio.Task):
    """A task whose hash is its number, so that sets of tasks are in the same order every time."""

    def __init__(self, coroutine, *, number, **named):
        self.number = number
        super().__init__(coroutine, **named)

    def __hash__(self):
        return self.number

    def __eq__(self, other):
        return self is other


class SeededHandle:
    """A callback that waits for its turn, and the process whose turn that is."""

    __slots__ = ("arguments", "callback", "context", "is_cancelled", "process", "when_s")

    def __init__(self, callback, arguments, context, when_s=0.0):
        self.callback = callback
        self.arguments = arguments
        self.context = copy_context() if context is None else context
        self.process = self.context.get(PROCESS)
        self.when_s = when_s
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True

    def cancelled(self):
        return self.is_cancelled

    def when(self):
        return self.when_s


class SimulationLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the product asks for; nothing of it touches a socket."""

    def __init__(self, virtual, seed):
        self._virtual = virtual
        self._choice = random.Random(f"{seed} schedule")
        self._queues = {}
        self._runnable = []
        self._timers = []
        self._count = 0
        self._tasks = 0
        self.steps = 0
        self.trace = None
        """Called with every callback before it runs, when something is looked for."""
        self.failures = []
        self._orphans = deque()

    # --- processes ---------------------------------------------------------------------------

    def queue_of(self, process):
        queue = self._queues[process] = deque()
        return queue

    def forget(self, process):
        queue = self._queues.pop(process, None)
        if queue is not None:
            queue.clear()
        if process in self._runnable:
            self._runnable.remove(process)

    # --- what asyncio asks for ---------------------------------------------------------------

    def time(self):
        return self._virtual.now_us / 1_000_000

    def call_soon(self, callback, *arguments, context=None):
        handle = SeededHandle(callback, arguments, context)
        self._make_ready(handle)
        return handle

    def call_soon_threadsafe(self, callback, *arguments, context=None):
        return self.call_soon(callback, *arguments, context=context)

    def call_later(self, delay, callback, *arguments, context=None):
        return self.call_at(self.time() + max(0.0, delay), callback, *arguments, context=context)

    def call_at(self, when, callback, *arguments, context=None):
        handle = SeededHandle(callback, arguments, context, when)
        self._count += 1
        due_us = max(int(when * 1_000_000), self._virtual.now_us + 1)
        heapq.heappush(self._timers, (due_us, self._count, handle))
        return handle

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coroutine, *, name=None, context=None):
        self._tasks += 1
        task = SeededTask(coroutine, number=self._tasks, loop=self, name=name, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.adopt(task)
        return task

    def run_in_executor(self, _executor, work, *arguments):
        """Run a function of a thread: after a while, at one stroke."""
        answer = self.create_future()

        def run():
            if answer.cancelled():
                return
            try:
                result = work(*arguments)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  (it is the caller's)
                if not answer.cancelled():
                    answer.set_exception(error)
            else:
                if not answer.cancelled():
                    answer.set_result(result)

        self.call_later(self.hop_s(), run)
        return answer

    def hop_s(self):
        """Return how long a hop to a thread takes this time."""
        return self._choice.randrange(20, HOP_US_MAX) / 1_000_000

    def get_debug(self):
        return False

    def get_task_factory(self):
        return None

    def get_exception_handler(self):
        return None

    def is_running(self):
        return True

    def is_closed(self):
        return False

    def call_exception_handler(self, context):
        error = context.get("exception")
        if error is None or isinstance(error, Exception):
            self.failures.append(f"{context.get('message')}: {error!r}")

    def default_exception_handler(self, context):
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self):
        """There is nothing to do: the process's memory is all there is."""

    # --- running -----------------------------------------------------------------------------

    def run_until(self, future, *, seconds_max):
        """Go on until a future is done; raises SimulationStuck after so much virtual time."""
        deadline_us = self._virtual.now_us + int(seconds_max * 1_000_000)
        asyncio._set_running_loop(self)
        try:
            while not future.done():
                if not self._step(deadline_us):
                    raise SimulationStuck(f"nothing happens any more; waiting for {future!r}")
        finally:
            asyncio._set_running_loop(None)
        return future.result()

    def _step(self, deadline_us):
        """Run one callback, or move the time to the next timer; False when there is none."""
        if self._orphans:
            handle = self._orphans.popleft()
        elif self._runnable:
            handle = self._next_handle()
        else:
            return self._advance(deadline_us)
        if not handle.is_cancelled:
            self.steps += 1
            if self.trace is not None:
                self.trace(self, handle)
            self._run(handle)
        return True

    def _run(self, handle):
        try:
            handle.context.run(handle.callback, *handle.arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  (asyncio's own handles take as much)
            message = f"Exception in callback {handle.callback!r}"
            self.call_exception_handler({"message": message, "exception": error})

    def _next_handle(self):
        runnable = self._runnable
        at = self._choice.randrange(len(runnable)) if len(runnable) > 1 else 0
        process = runnable[at]
        handle = process.ready.popleft()
        if not process.ready:
            runnable[at] = runnable[-1]
            runnable.pop()
        return handle

    def _advance(self, deadline_us):
        timers = self._timers
        while timers:
            due_us, _, handle = timers[0]
            process = handle.process
            if handle.is_cancelled or (process is not None and process.is_dead):
                heapq.heappop(timers)
                continue
            if due_us > deadline_us:
                return False
            self._virtual.now_us = due_us
            while timers and timers[0][0] <= due_us:
                self._make_ready(heapq.heappop(timers)[2])
            return True
        return False

    def _make_ready(self, handle):
        if handle.is_cancelled:
            return
        process = handle.process
        if process is None:
            self._orphans.append(handle)
        elif not process.is_dead:
            if not process.ready:
                self._runnable.append(process)
            process.ready.append(handle)
