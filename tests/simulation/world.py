"""One simulated world: a fleet, phones, a network, and the history of what they did."""

import asyncio
import json
import shutil
import sys
import traceback
from contextvars import Context
from typing import Any

from core.ids import PersonId
from edge.cli.node import _join
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.storage.node_file import NodeFacts, write_node
from tests.history.declaration import tell_app
from tests.history.history import History
from tests.history.server import ServerRecorder
from tests.simulation import clock
from tests.simulation.disk import Disks
from tests.simulation.loop import SimulationLoop
from tests.simulation.network import Network, Request
from tests.simulation.node import TENANT, FleetNode
from tests.simulation.process import Machine, Process

LIMITS = ""
READY_S_MAX = 60.0
REQUEST_S = 20.0
ARRIVALS_TOLD = 3
"""What a replica holds is told once in so many batches; a primary's, after each of its commits."""


class World:
    """Everything of one seed. Use as a context manager; nothing outlives it."""

    def __init__(self, folder, seed, app):
        self.folder = folder
        self.seed = seed
        self.app = app
        self.limits = LIMITS
        self.virtual = clock.VirtualTime()
        self.loop = SimulationLoop(self.virtual, seed)
        self.disks = Disks()
        self.processes = []
        self.machines = {}
        self.node_names = []
        self.history = History()
        self.network = Network(self)
        self.complaints = []
        self.counts = {}
        self.leader = ""
        self.operator_key: Any = None
        self.is_settling = False
        self.is_sparse = False
        """Whether only the end is told of servers, not what they do meanwhile."""
        self.wall_jump_ms = 0
        self._recorders = {}
        self._arrivals = 0
        self._numbers = {}
        self.driver = Machine(self, "driver")
        self.driver.doom = None
        self.process = Process(self.driver, "driver")

    def __enter__(self):
        clock.start(self.virtual)
        return self

    def __exit__(self, *_error):
        self.forget_recorders()
        for process in (*self.processes, self.process):
            if not process.is_dead:
                process.kill(images={})
        for process in self.processes:
            process.is_dead = True
        clock.stop()

    @property
    def now_ms(self):
        """Virtual milliseconds since the beginning."""
        return self.virtual.now_ms

    @property
    def wall_ms(self):
        """The true wall clock in Unix milliseconds."""
        return clock.EPOCH_MS + self.wall_jump_ms + self.virtual.now_ms

    # --- who is where ------------------------------------------------------------------------

    def add_machine(self, machine):
        self._numbers[machine.name] = len(self._numbers)
        self.machines[machine.name] = machine
        return machine

    def number_of(self, machine):
        return self._numbers[machine.name]

    def machine_of(self, url):
        """Return the machine that a URL names; raises KeyError."""
        return self.machines[url.partition("//")[2].partition(":")[0]]

    def listener(self, name, door):
        machine = self.machines.get(name)
        return None if machine is None else machine.listener(door)

    def nodes(self):
        """Return the nodes that are not gone for ever."""
        return [self.machines[n] for n in self.node_names if not self.machines[n].is_gone]

    def later(self, seconds, work):
        """Call a function of the world itself after a while."""
        if not self.process.is_dead:
            self.process.run(self.loop.call_later, seconds, work)

    def run(self, coroutine, *, seconds_max):
        """Run a coroutine of the world itself to its end."""
        return self.loop.run_until(self.process.spawn(coroutine), seconds_max=seconds_max)

    # --- what is noted -----------------------------------------------------------------------

    def fault(self, what, **facts):
        self.counts[what] = self.counts.get(what, 0) + 1
        self.history.add({"e": "fault", "t": self.now_ms, "what": what, **facts})

    def operator(self, what, **facts):
        self.counts[what] = self.counts.get(what, 0) + 1
        self.history.add({"e": "operator", "t": self.now_ms, "what": what, **facts})

    def complaint(self, process, event):
        """Keep what the product calls an error; some of them are what was to be expected."""
        text = str(event.get("event"))
        error = event.get("exc_info")
        if error is True:
            error = sys.exc_info()[1]
        if isinstance(error, BaseException):
            error = "".join(traceback.format_exception(error))[-1_500:]
        told = f"{self.now_ms} {process.name}: {text}: {error}"
        self.complaints.append((text, told))

    def ready(self, node):
        self.fault("ready", node=node.name, role=node.role.value)
        if node.fleet.primary is not None and not self.is_sparse:
            tenant = node.fleet.node._tenants.get(TENANT)
            if tenant is not None:
                self._recorder_of(node).tap(tenant.ingest)

    def committed(self, machine, namespace):
        """A primary's sqld has committed a batch."""
        if namespace == f"t-{TENANT}":
            self._record(machine)

    def replicated(self, machine, namespace):
        """A replica has carried out what was new; every third time the history is told."""
        if namespace == f"t-{TENANT}":
            self._arrivals += 1
            if self._arrivals % ARRIVALS_TOLD == 0:
                self._record(machine)
            elif machine.fleet is not None and not self.is_sparse:
                Context().run(self._recorder_of(machine).arrived)

    def _record(self, machine, *, is_full=False):
        """Tell the history what a node's database holds now."""
        if machine.fleet is None or (self.is_sparse and not is_full):
            return
        recorder = self._recorder_of(machine)
        epoch = machine.fleet.leading.epoch
        # The recorder is nobody's process: its connection outlives a kill until it is let go.
        Context().run(recorder.look, role=machine.role.value, epoch=epoch, full=is_full)

    def _recorder_of(self, machine):
        path = machine.sqld.file_of(f"t-{TENANT}")
        recorder = self._recorders.get(machine.name)
        if recorder is None:
            recorder = ServerRecorder(
                self.history, machine.name, path, self.app, now_ms=lambda: self.now_ms
            )
            self._recorders[machine.name] = recorder
        return recorder

    def let_go(self, machine):
        """Close the recorder's connection to a machine's file before the file changes hands."""
        recorder = self._recorders.get(machine.name)
        if recorder is not None:
            recorder.close()

    def forget_recorders(self):
        """Record with the app as it is declared now."""
        for recorder in self._recorders.values():
            recorder.close()
        self._recorders.clear()

    def tell_servers(self):
        """Tell all that every node holds, and the primary's ledger."""
        for node in self.nodes():
            self._record(node, is_full=True)
        Context().run(self._recorder_of(self.machines[self.leader]).outcomes)

    # --- operators ---------------------------------------------------------------------------

    async def ask(self, node, method, path, document=None, *, seconds=REQUEST_S):
        """Send an operator's request; returns (status, document). Raises Broken, TimeoutError."""
        now_s = self.wall_ms // 1_000
        token = mint(
            self.operator_key,
            tenant=TENANT,
            person=PersonId("operator"),
            is_admin=True,
            is_operator=True,
            lifetime_s=4 * 3_600,
            now_unix_s=now_s - 3_600,
        )
        body = b"" if document is None else json.dumps(document).encode()
        headers = [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        request = Request(method, path, headers, body)
        async with asyncio.timeout(seconds):
            answer = await self.network.ask(self.driver, node, "public", request)
        return answer.status, json.loads(answer.body or b"null")

    async def set_member(self, space, person, role):
        """Give a role in a space, or take it (None)."""
        path = f"/v1/spaces/{space}/members/{person}"
        if role is None:
            status, told = await self.ask(self.leader, "DELETE", path)
        else:
            status, told = await self.ask(
                self.leader, "PUT", path, {"role": role, "kind": "region"}
            )
        return status, told

    async def wait_for(self, condition, *, seconds_max=READY_S_MAX, why=""):
        """Look again and again; raises TimeoutError."""
        deadline_s = self.loop.time() + seconds_max
        while not condition():
            if self.loop.time() > deadline_s:
                raise TimeoutError(why or condition)
            await asyncio.sleep(0.05)

    # --- building the fleet ------------------------------------------------------------------

    async def found(self, regions):
        """Start a primary, let edges join, wait until everybody is ready."""
        tell_app(self.history, self.app, now_ms=self.now_ms)
        primary = self.add_machine(FleetNode(self, "primary", "", role="primary"))
        self.node_names.append("primary")
        self.leader = "primary"
        self.operator_key = self.process.run(KeyFiles(primary.settings.keys_folder).development_key)
        primary.start()
        await self.wait_for(lambda: primary.is_ready, why="the primary does not start")
        for region in regions:
            await self.add_region(region)
        for name in self.node_names:
            node = self.machines[name]
            await self.wait_for(lambda n=node: n.is_ready, why=f"{name} does not start")

    async def add_region(self, region):
        """Invite an edge at the leader, let it join, start it; returns its name."""
        name = f"edge-{region}"
        leader = self.machines[self.leader]
        edge = FleetNode(self, name, region, role="edge")
        self.add_machine(edge)
        membership = leader.fleet.membership
        invited = await leader.process.ask(
            membership.invite(name, region, ttl_s=900, actor="operator")
        )
        edge.settings.keys_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key in (leader.folder / "keys").glob("dev-*.pub"):
            shutil.copy(key, edge.settings.keys_folder)
        joining = Process(edge, f"{name}/join")
        self.processes.append(joining)
        await joining.spawn(self._joined(edge, leader, invited.token))
        await joining.finish()
        edge.start()
        self.node_names.append(name)
        return name

    async def _joined(self, edge, leader, token):
        from dataclasses import replace

        settings = replace(edge.settings, primary_url=leader.settings.url)
        joined = await _join(settings, token, settings.grpc_url)
        write_node(
            edge.folder,
            NodeFacts(
                joined.node,
                joined.region,
                joined.primary_url or settings.primary_url,
                joined.primary_grpc_url,
                joined.primary_node,
            ),
        )
