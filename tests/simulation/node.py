"""A fleet's node on a simulated machine: its supervisor, its sqld, its process."""

import asyncio
import shutil
from dataclasses import replace
from typing import Any

from core.fleet import Role
from core.ids import TenantId
from edge.app import build_fleet_application, prepare_limits
from edge.cli.serve import as_joined
from edge.settings import Settings
from edge.workers.role_file import read_role
from edge.workers.role_folder import take_up
from edge.workers.serve import Ending
from tests.simulation.disk import Doom
from tests.simulation.process import Machine, Process
from tests.simulation.sqld import SimulatedSqld

TENANT = TenantId("main")
START_AGAIN_S = 0.5
START_AGAIN_S_MAX = 4.0
DRAIN_S = 1.0
LIFE_S_MAX = 120.0


class Served:
    """What listens at one door of a node's process."""

    def __init__(self, process, app):
        self.process = process
        self.app = app
        self.streams = process.streams


class _Server:
    """What the product's `Ending` expects of a server: it is asked to exit."""

    def __init__(self, leaving):
        self._leaving = leaving
        self.config = type("Config", (), {"timeout_graceful_shutdown": 0})()

    @property
    def should_exit(self):
        return self._leaving.is_set()

    @should_exit.setter
    def should_exit(self, value):
        if value:
            self._leaving.set()


class FleetNode(Machine):
    """One node; `start` lets its supervisor run, `power_off` takes everything away."""

    def __init__(self, world, name, region, *, role):
        self.process: Any = None
        super().__init__(world, name)
        self.region = region
        self.sqld = SimulatedSqld(self)
        self._supervisor: Any = None
        self._work = None
        self.restarts = 0
        self.settings = Settings(
            data=self.folder,
            node=name,
            region=region,
            role=role,
            url=f"http://{name}:8788",
            grpc_url=f"http://{name}:5001",
            read_wait_ms=500,
            limits=world.limits,
        )

    @property
    def is_ready(self):
        return self.process is not None and self.process.public is not None

    @property
    def fleet(self):
        """The product's Fleet of the running process, or None."""
        return None if self.process is None else self.process.fleet

    @fleet.setter
    def fleet(self, _value):
        """Machine gives every machine none at first."""

    @property
    def role(self):
        return read_role(self.settings).role

    def start(self):
        """Let the supervisor run."""
        assert self._supervisor is None
        self._supervisor = Process(self, f"{self.name}/supervisor")
        self._work = self._supervisor.spawn(self._supervise())

    async def stop(self):
        """Stop in order, as SIGTERM does: whoever starts the node next finds none running."""
        while (process := self.process) is not None and not process.is_dead:
            process.is_wanted = False
            process.leaving.set()
            await self.world.wait_for(lambda own=process: own.is_dead)
        self._end_supervisor()
        self.sqld.stop()

    def kill(self, child="node", *, is_power_lost=False):
        """Kill the node's process, or its sqld."""
        if child == "sqld":
            self.sqld.kill()
        elif self.process is not None:
            self.process.kill(is_power_lost=is_power_lost)

    def power_off(self, process=None, images: Any = None):
        """Take the power away in the middle of whatever happens; `images` of a doomed commit."""
        self.world.fault("power", machine=self.name)
        self._end_supervisor()
        if process is not None:
            process.kill(
                is_power_lost=True,
                images=images
                | {
                    path: image
                    for path, image in self.world.disks.images(process, is_power_lost=True).items()
                    if path not in images
                },
            )
        for own in (self.process, self.sqld.process):
            if own is not None and not own.is_dead:
                own.kill(is_power_lost=True)
        self.doom = None
        if not self.is_gone:
            self.world.later(2.0, self.power_on)

    def power_on(self):
        if self._supervisor is None and not self.is_gone:
            self.start()

    def lose(self):
        """Take the machine away for ever."""
        self.is_gone = True
        self.power_off()

    def doom_next_commit(self, word=""):
        self.doom = Doom(word)

    def drop_replica(self):
        """Delete all that the sqld of a stopped edge has copied."""
        self.sqld.drop()
        shutil.rmtree(self.folder / "sqld", ignore_errors=True)

    def _end_supervisor(self):
        if self._supervisor is not None:
            self._supervisor.kill(images={})
            self._supervisor = None

    # --- the supervisor ----------------------------------------------------------------------

    async def _supervise(self):
        while True:
            settings = as_joined(self.settings)
            role = read_role(settings)
            aside = take_up(settings.data, role, now_ms=self.now_ms())
            if aside is not None:
                self.sqld.drop()
            await self._serve_role(settings, role)

    async def _serve_role(self, settings, role):
        crashes = 0
        while True:
            if not self.sqld.is_up:
                self.sqld.start(role)
            process = self._begin(settings, role)
            began_s = self.world.loop.time()
            while not process.is_dead:
                await asyncio.sleep(0.05)
                if not self.sqld.is_up:
                    await asyncio.sleep(0.3)
                    if not self.sqld.is_up:
                        self.sqld.start(role)
            self.process = None
            if not process.is_wanted:
                await self.world.loop.create_future()
            if process.has_changed_role or read_role(settings) != role:
                self.sqld.stop()
                return
            self.restarts += 1
            crashes = 0 if self.world.loop.time() - began_s > 10 else crashes + 1
            await asyncio.sleep(min(START_AGAIN_S * 2**crashes, START_AGAIN_S_MAX))

    def _begin(self, settings, role):
        process = Process(self, f"{self.name}/node")
        process.leaving = asyncio.Event()
        self.process = process
        self.world.processes.append(process)
        process.spawn(self._live(process, settings, role))
        return process

    # --- the node's process ------------------------------------------------------------------

    async def _live(self, process, settings, role):
        leaving, ending = process.leaving, Ending()
        ending.attach(_Server(leaving))
        settings = replace(settings, role=role.role.value)
        prepare_limits(settings)
        app = build_fleet_application(self.world.app, settings, role, ending)
        events, answers = asyncio.Queue(), asyncio.Queue()
        events.put_nowait({"type": "lifespan.startup"})
        scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        life = asyncio.create_task(app(scope, events.get, answers.put))
        told = await answers.get()
        if told["type"] == "lifespan.startup.complete":
            process.public = app
            self.world.ready(self)
            await leaving.wait()
            process.public = None
            for stream in list(process.streams.values()):
                stream.shut_down()
            await asyncio.sleep(DRAIN_S / 2)
            events.put_nowait({"type": "lifespan.shutdown"})
            try:
                async with asyncio.timeout(LIFE_S_MAX):
                    await answers.get()
            except TimeoutError:
                self.world.complaint(process, {"event": "node did not stop"})
        else:
            self.world.fault("node-not-started", machine=self.name, why=str(told)[-300:])
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        process.has_changed_role = ending.is_role_changed
        await process.finish()

    def listener(self, door):
        """Return what listens at a door, or None."""
        process = self.process
        if process is None or process.is_dead:
            return None
        app = process.public if door == "public" else process.internal
        return None if app is None else Served(process, app)

    def is_primary(self):
        return self.role is Role.PRIMARY
