"""Frames waiting for one stream: answers are always kept, pokes give way to a slow reader.

Invariants
  O1  at most `limits.STREAM_QUEUE_FRAMES_MAX` pokes wait; beyond it all of them are dropped and one
      data-free poke takes their place, so that the device pulls
  O2  frames leave in the order they came in; answers are bounded by the session (V1)
  O3  at most one provisional set waits, the newest, in the place of its arrival: each replaces the
      one before
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from sync_protocol import limits
from sync_protocol.codec import Media, encode, with_rows_in
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.union import ServerMessage

POKES_SHARED_MAX: Final = 256
"""Encoded pokes kept for the other subscribers of the same change, who follow within moments."""


class PokeFrames:
    """Encodes each poke once, however many subscribers receive the same object."""

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[int, Media], tuple[Poke, bytes]] = OrderedDict()

    def frame(self, poke: Poke, media: Media) -> bytes:
        """Return the poke's bytes in a media type."""
        key = (id(poke), media)
        known = self._frames.get(key)
        if known is not None:  # the entry holds the poke, so its id is not used again meanwhile
            return known[1]
        frame = encode(with_rows_in(poke, media), media)
        self._frames[key] = (poke, frame)
        if len(self._frames) > POKES_SHARED_MAX:
            self._frames.popitem(last=False)
        return frame


class Outbox:
    """The queue between a stream's session and its writer."""

    def __init__(self, pokes: PokeFrames, *, on_dropped: Callable[[int], None]) -> None:
        self.media = Media.MSGPACK
        self._pokes = pokes
        self._on_dropped = on_dropped
        self._queue: deque[ServerMessage] = deque()
        self._waiting_pokes = 0
        self._is_filled = asyncio.Event()
        self._is_closed = False

    def put(self, message: ServerMessage) -> None:
        """Queue a message; a poke too many drops all that wait, a provisional set the other."""
        if isinstance(message, Poke):
            if self._waiting_pokes >= limits.STREAM_QUEUE_FRAMES_MAX:
                message = self._collapse(message)
            self._waiting_pokes += 1
        elif isinstance(message, Provisional):
            self._queue = deque(m for m in self._queue if not isinstance(m, Provisional))
        self._queue.append(message)
        self._is_filled.set()

    def close(self) -> None:
        """Let `take` return None once everything queued has been taken."""
        self._is_closed = True
        self._is_filled.set()

    async def take(self) -> bytes | None:
        """Return the next frame, encoded; None at the end."""
        while not self._queue:
            if self._is_closed:
                return None
            self._is_filled.clear()
            await self._is_filled.wait()
        message = self._queue.popleft()
        if isinstance(message, Poke):
            self._waiting_pokes -= 1
            return self._pokes.frame(message, self.media)
        return encode(with_rows_in(message, self.media), self.media)

    def _collapse(self, latest: Poke) -> Poke:
        waiting = [message for message in self._queue if isinstance(message, Poke)]
        self._queue = deque(m for m in self._queue if not isinstance(m, Poke))
        self._waiting_pokes = 0
        self._on_dropped(len(waiting))
        return Poke(since=waiting[0].since, sequence=latest.sequence, pull=True)
