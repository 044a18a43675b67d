"""The network between machines: requests, streams, and everything that can go wrong with them.

Weather is set per direction of a pair of machines. `CUT` resets connections and refuses new ones;
`SWALLOW` loses what is sent and tells nobody (a half-open connection, which only time-outs end);
`HOLD` delivers when the weather clears. Delays, stalls of lost packets, resets and repeated
deliveries (a proxy that tries again) are drawn from the pair's own source of chance.
"""

import asyncio
import enum
import random
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.clock import PROCESS

PING_S = 45.0
"""A half-open stream ends when pings stay unanswered for so long."""
FRAMES_MAX = 32
"""Frames on their way in one direction; whoever sends more waits."""
HELD_POLL_S = 0.05


class Mode(enum.Enum):
    """What becomes of what is sent."""

    PASS = "pass"
    CUT = "cut"
    SWALLOW = "swallow"
    HOLD = "hold"


@dataclass(frozen=True)
class Weather:
    """One direction of one pair; delays in ms, chances per message."""

    mode: Mode = Mode.PASS
    delay_ms: float = 2.0
    jitter_ms: float = 3.0
    stall: float = 0.0
    stall_ms: float = 800.0
    reset: float = 0.0
    again: float = 0.0


class Broken(Exception):
    """The connection was refused or reset."""


@dataclass(eq=False)
class Exchange:
    """A request under way: resetting it fails its answer."""

    pair: frozenset
    answer: asyncio.Future

    def reset(self):
        if not self.answer.done():
            self.answer.set_exception(Broken("the connection was reset"))


@dataclass
class Request:
    """An HTTP request; header names are lower-case bytes."""

    method: str
    target: str
    headers: list
    body: bytes


@dataclass
class Answer:
    """An HTTP answer."""

    status: int = 0
    headers: list = field(default_factory=list)
    body: bytes = b""


class Network:
    """Everything between the machines of one world."""

    def __init__(self, world):
        self._world = world
        self._loop = world.loop
        self._weather = {}
        self._usual = {}
        self._chance = {}
        self._open = {}
        self._count = 0
        self.counts = {"requests": 0, "repeated": 0, "reset": 0, "streams": 0, "swallowed": 0}

    # --- weather -----------------------------------------------------------------------------

    def usual(self, source, target, **changes):
        """Set what a way is like when nothing is wrong."""
        self._usual[source, target] = self._weather[source, target] = Weather(**changes)

    def change(self, source, target, *, both=False, **changes):
        """Change the weather of a way; a cut resets what is open."""
        now = self.weather(source, target)
        self._weather[source, target] = changed = replace(now, **changes)
        if changed.mode is Mode.CUT:
            self._reset(source, target)
        if both:
            self.change(target, source, **changes)

    def heal(self, source=None, target=None):
        """Make the weather usual again: everywhere, or both ways of one pair."""
        for way in list(self._weather):
            if source is None or set(way) == {source, target}:
                self._weather[way] = self._usual.get(way, Weather())

    def weather(self, source, target):
        return self._weather.get((source, target)) or self._usual.get((source, target), Weather())

    def _reset(self, source, target):
        pair = frozenset((source, target))
        for item in list(self._open.values()):
            if item.pair == pair:
                item.reset()

    def chance(self, source, target):
        found = self._chance.get((source, target))
        if found is None:
            found = random.Random(f"{self._world.seed} way {source} {target}")
            self._chance[source, target] = found
        return found

    def delay_s(self, source, target):
        """Draw how long one message takes on a way."""
        weather, chance = self.weather(source, target), self.chance(source, target)
        delay_ms = weather.delay_ms + chance.random() * weather.jitter_ms
        if weather.stall and chance.random() < weather.stall:
            delay_ms += chance.random() * weather.stall_ms
        return delay_ms / 1_000

    async def leg(self, source, target):
        """Carry one message one way; raises Broken, or never returns."""
        weather = self.weather(source, target)
        await asyncio.sleep(self.delay_s(source, target))
        if weather.reset and self.chance(source, target).random() < weather.reset:
            self.counts["reset"] += 1
            raise Broken("the connection was reset")
        while True:
            mode = self.weather(source, target).mode
            if mode is Mode.PASS:
                return
            if mode is Mode.CUT:
                raise Broken("the connection was refused")
            if mode is Mode.SWALLOW:
                self.counts["swallowed"] += 1
                await self._loop.create_future()
            await asyncio.sleep(HELD_POLL_S)

    # --- requests ----------------------------------------------------------------------------

    async def ask(self, source, target, listener, request, *, on_sent=None):
        """Send a request to what listens at a machine; returns its Answer. Raises Broken."""
        self.counts["requests"] += 1
        world, names = self._world, (source.name, target)
        await self.leg(*names)
        if on_sent is not None:
            await on_sent()
        found = world.listener(target, listener)
        if found is None:
            await self.leg(*names[::-1])
            raise Broken("nobody listens")
        chance = self.chance(*names)
        again = self.weather(*names).again
        if again and chance.random() < again:
            self.counts["repeated"] += 1
            found.process.spawn(self._repeat(found, source, request, chance.random()))
        answer = await self._served(found, source, target, request)
        await self.leg(*names[::-1])
        return answer

    async def _served(self, found, source, target, request):
        exchange = Exchange(frozenset((source.name, target)), self._loop.create_future())
        self._count += 1
        number = self._count
        self._open[number] = exchange
        found.process.ended.append(exchange.reset)
        found.process.spawn(serve_request(found.app, source.name, request, exchange.answer))
        try:
            return await exchange.answer
        finally:
            del self._open[number]
            if exchange.reset in found.process.ended:
                found.process.ended.remove(exchange.reset)

    async def _repeat(self, found, source, request, wait):
        await asyncio.sleep(wait)
        await serve_request(found.app, source.name, request, self._loop.create_future())

    # --- streams -----------------------------------------------------------------------------

    async def stream(self, source, target, listener, scope):
        """Open a WebSocket; returns it once it is accepted or refused. Raises Broken."""
        self.counts["streams"] += 1
        await self.leg(source.name, target)
        found = self._world.listener(target, listener)
        if found is None:
            await self.leg(target, source.name)
            raise Broken("nobody listens")
        stream = Stream(self, source, target, self._loop)
        self._count += 1
        number = self._count
        self._open[number] = stream
        stream.on_end.append(lambda: self._open.pop(number, None))
        found.process.ended.append(stream.reset)
        found.streams[number] = stream
        stream.on_end.append(lambda: found.streams.pop(number, None))
        found.process.spawn(stream.serve(found.app, scope))
        await stream.answered
        await self.leg(target, source.name)
        return stream


class Stream:
    """One WebSocket between a phone and a node."""

    def __init__(self, network, source, target, loop):
        self.pair = frozenset((source.name, target))
        self._network = network
        self._loop = loop
        self._source = source.name
        self._target = target
        self.answered = loop.create_future()
        self.refusal: Any = None
        self.is_over = False
        self.on_end = []
        self._up = Pipe(self, source.name, target)
        self._down = Pipe(self, target, source.name)
        self._up.arrive({"type": "websocket.connect"})

    # --- the phone's end ---------------------------------------------------------------------

    async def send(self, frame):
        if self.is_over:
            raise Broken("the stream is closed")
        await self._up.put({"type": "websocket.receive", "bytes": frame, "text": None})

    async def receive(self):
        event = await self._down.get()
        if event is None:
            raise Broken("the stream is closed")
        return event

    def close(self):
        self.reset()

    # --- the node's end ----------------------------------------------------------------------

    async def serve(self, app, scope):
        try:
            await app(scope, self._up.get_event, self._sent)
        finally:
            if not self.answered.done():
                self.refusal = Answer(500)
                self.answered.set_result(None)
            self._down.end_later()

    async def _sent(self, event):
        kind = event["type"]
        if kind == "websocket.accept":
            if not self.answered.done():
                self.answered.set_result(None)
        elif kind == "websocket.http.response.start":
            headers = [(bytes(n), bytes(v)) for n, v in event["headers"]]
            self.refusal = Answer(event["status"], headers)
        elif kind == "websocket.http.response.body":
            self.refusal.body += event.get("body", b"")
            if not self.answered.done():
                self.answered.set_result(None)
        elif kind == "websocket.close":
            if not self.answered.done():
                self.refusal = Answer(403)
                self.answered.set_result(None)
            self._down.end_later()
        elif self.is_over:
            raise OSError("the stream is closed")
        else:
            await self._down.put(event.get("bytes"))

    def shut_down(self):
        """End the stream as a server that stops does."""
        self._up.arrive({"type": "websocket.disconnect", "code": 1012})
        self._down.end_later()

    # --- both --------------------------------------------------------------------------------

    def reset(self):
        """End both ends at once."""
        if self.is_over:
            return
        self.is_over = True
        if not self.answered.done():
            self.answered.set_exception(Broken("the connection was reset"))
        self._up.arrive({"type": "websocket.disconnect", "code": 1006})
        self._down.arrive(None)
        on_end, self.on_end = self.on_end, []
        for tell in on_end:
            tell()

    def half_open(self):
        """Let the stream be lost without anybody's knowing, until pings stay unanswered."""
        network = self._network
        network.counts["swallowed"] += 1
        network._world.process.run(self._loop.call_later, PING_S, self.reset)


class Pipe:
    """One direction of a stream: frames arrive in order, late, or not at all."""

    def __init__(self, stream, source, target):
        self._stream = stream
        self._way = source, target
        self._loop = stream._loop
        self._arrived = []
        self._waiter = None
        self._under_way = 0
        self._room = None
        self._last_s = 0.0
        self._held = []
        self._is_lost = False

    async def put(self, frame):
        network = self._stream._network
        while self._under_way >= FRAMES_MAX and not self._stream.is_over:
            self._room = self._loop.create_future()
            await self._room
        if self._stream.is_over:
            raise OSError("the stream is closed")
        weather = network.weather(*self._way)
        if weather.reset and network.chance(*self._way).random() < weather.reset:
            network.counts["reset"] += 1
            self._stream.reset()
            return
        self._under_way += 1
        self._travel(frame, network.delay_s(*self._way))

    def _travel(self, frame, delay_s):
        due_s = max(self._loop.time() + delay_s, self._last_s + 0.000_01)
        self._last_s = due_s
        world = self._stream._network._world
        world.process.run(self._loop.call_at, due_s, self._landed, frame)

    def _landed(self, frame):
        if self._stream.is_over:
            return
        mode = self._stream._network.weather(*self._way).mode
        if mode is Mode.HOLD or self._held:
            self._held.append(frame)
            if len(self._held) == 1:
                self._look_later()
            return
        self._taken(frame, mode)

    def _look_later(self):
        world = self._stream._network._world
        world.process.run(self._loop.call_later, HELD_POLL_S, self._look)

    def _look(self):
        """Let what was held arrive in order, once the way is free."""
        if self._stream.is_over:
            return
        mode = self._stream._network.weather(*self._way).mode
        if mode is Mode.HOLD:
            self._look_later()
            return
        held, self._held = self._held, []
        for frame in held:
            if not self._stream.is_over:
                self._taken(frame, mode)

    def _taken(self, frame, mode):
        if mode is Mode.SWALLOW and not self._is_lost:
            self._is_lost = True
            self._stream.half_open()
        if self._is_lost:
            return  # its room stays taken: whoever goes on sending waits in the end
        self._under_way -= 1
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self.arrive(frame)

    def arrive(self, event):
        self._arrived.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._room is not None and not self._room.done() and self._stream.is_over:
            self._room.set_result(None)

    def end_later(self):
        """Close behind what is under way."""
        world = self._stream._network._world
        if not world.process.is_dead:
            due_s = max(self._loop.time() + 0.002, self._last_s + 0.000_01)
            world.process.run(self._loop.call_at, due_s, self._stream.reset)

    async def get(self):
        while not self._arrived:
            self._waiter = self._loop.create_future()
            await self._waiter
        event = self._arrived[0]
        if event is not None:
            self._arrived.pop(0)
        return event

    async def get_event(self):
        while not self._arrived:
            self._waiter = self._loop.create_future()
            await self._waiter
        event = self._arrived[0]
        if event["type"] != "websocket.disconnect":
            self._arrived.pop(0)
        return event


async def serve_request(app, source, request, answered):
    """Run an ASGI application on one request, as a server would; sets the answer."""
    answer = Answer()
    path, _, query = request.target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(request.headers),
        "client": (source, 1),
        "server": ("node", 1),
        "state": {},
    }
    body = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(event):
        if event["type"] == "http.response.start":
            answer.status = event["status"]
            answer.headers = [(bytes(n), bytes(v)) for n, v in event["headers"]]
        else:
            answer.body += event.get("body", b"")
            if not event.get("more_body") and not answered.done():
                answered.set_result(answer)

    try:
        await app(scope, receive, send)
    except Exception:
        if not answered.done():
            answered.set_exception(Broken("the server gave up"))
        raise


def source_machine():
    """Return the machine of the process that runs at the moment."""
    return PROCESS.get().machine
