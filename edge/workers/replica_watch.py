"""An sqld that has stopped replicating, although the primary is there, is started anew.

sqld 0.24 sets no keep-alive on its connection to the primary: when packets have been lost for good
(a middlebox that forgot the connection), it waits for ever for the next commit, and after a full
disk it does not try again. Its supervisor restarts it within a second; reads go on meanwhile.

Invariants
  W1  an sqld is ended only while the primary answers, has more than the replica, and nothing at all
      has arrived for STALL_S; and never twice within RESTART_EVERY_S
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from edge.workers.supervise import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge.services.fleet.lag import Lag

STALL_S: Final = 6.0
"""A commit arrives within milliseconds, the first page of a large copy within a second or two."""
RESTART_EVERY_S: Final = 20.0
"""Three restarts a minute are far from what makes a supervisor give up."""
LOOK_EVERY_S: Final = 0.5
_log = structlog.stdlib.get_logger(__name__)


class ReplicaWatch:
    """Watches one edge's replicas; `positions` returns how far each has come, by tenant."""

    def __init__(
        self,
        lag: Lag,
        data: Path,
        *,
        positions: Callable[[], Mapping[str, tuple[str, int]]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._lag = lag
        self._data = data
        self._positions = positions
        self._clock = clock
        self._seen: dict[str, tuple[object, float]] = {}
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start watching on the running loop."""
        self._task = asyncio.create_task(self._watch(), name="replica-watch")

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def stalled(self) -> str | None:
        """Return a tenant whose replica has stopped for STALL_S, or None; call it now and then."""
        now = self._clock()
        if not self._lag.is_primary_heard:
            self._seen.clear()
            return None
        positions = self._positions()
        found: str | None = None
        for tenant in self._lag.tenants():
            if self._lag.behind(tenant).sequences == 0:
                self._seen.pop(tenant, None)
                continue
            position = positions.get(tenant)
            before = self._seen.get(tenant)
            if before is None or before[0] != position:
                self._seen[tenant] = (position, now)
            elif now - before[1] >= STALL_S:
                found = tenant
        return found

    def look(self) -> None:
        """End the sqld beside this node if it has stopped replicating (W1)."""
        tenant = self.stalled()
        if tenant is None or self._clock() < self._not_before:
            return
        self._not_before = self._clock() + RESTART_EVERY_S
        self._seen.clear()
        pid = self._sqld()
        _log.warning("replica-stalled", tenant=tenant, sqld=pid, after_s=STALL_S)
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return  # it has ended by itself
        self.restarts += 1

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def _sqld(self) -> int | None:
        """Return the sqld of this node's own supervisor, as that one has published it."""
        try:
            pids = cast("dict[str, Any]", json.loads((self._data / PROCESSES).read_bytes()))
        except (FileNotFoundError, ValueError):
            return None
        pid = pids.get("sqld")
        return pid if pids.get("supervisor") == os.getppid() and type(pid) is int else None
