"""Carries out a plan in a world, lets everything settle, and has the history checked."""

import asyncio
import random
import shutil
import traceback
from dataclasses import dataclass, field

from core.fleet import Role
from core.ids import TenantId
from edge.fleet_primary import MARKS_FOLDER
from edge.storage.high_water import HighWaterFiles
from edge.storage.snapshot import facts_of
from edge.workers.role_file import NodeRole, RoleFile
from tests.history.checker import check
from tests.history.declaration import tell_app
from tests.simulation.network import Broken, Mode
from tests.simulation.node import TENANT
from tests.simulation.phone import Phone
from tests.simulation.plan import SPACES, WEEK_MS
from tests.simulation.survey import make_app
from tests.simulation.world import World

AGREE_S_MAX = 30.0
RESTORE_S = 0.05
MARK_AHEAD = 1_000
SETTLE_S_MAX = 400.0
ROUND_S = (0.8, 2.0, 4.0)
RUN_S_MAX = 1_000.0
UNFORESEEN = frozenset(
    {"request-failed", "internal-call-failed", "stream-failed", "stream-task-failed"}
    | {"report-failed", "node did not stop", "working-copy-differs"}
)
"""Errors in the product's log that no fault may cause: each of them is a bug."""
APPS = {version: make_app(version) for version in (1, 2)}


class NotSettled(AssertionError):
    """The world does not come to rest although nothing is wrong any more."""


@dataclass
class Outcome:
    """What one run was: its history, and what went wrong."""

    seed: int
    problem: str = ""
    violations: list = field(default_factory=list)
    events: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    complaints: list = field(default_factory=list)
    statistics: dict = field(default_factory=dict)
    steps: int = 0
    virtual_ms: int = 0

    @property
    def is_good(self):
        return not self.problem and not self.violations


class Run:
    """One plan in one world."""

    def __init__(self, world, plan):
        self.world = world
        self.plan = plan
        self.phones = {}
        self._rounds = {}
        self._backups = {}

    async def live(self):
        """Build the fleet, live through the plan, settle."""
        world, plan = self.world, self.plan
        await world.found(plan.regions)
        await self._people()
        self._usual_ways()
        for name, person, nodes, way in plan.phones:
            self._add_phone(name, person, nodes, way)
        began_s = world.loop.time()
        for action in plan.actions:
            wait_s = began_s + action.at_s - world.loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await self._act(action)
        await self._settle()
        await self._tell_the_end()

    async def _tell_the_end(self):
        """Tell all that everybody holds, and what one more round moves: nothing."""
        world = self.world
        world.history.add({"e": "quiet", "t": world.now_ms})
        for phone in self.phones.values():
            phone.process.run(phone.recorder.final, phone.database)
        world.tell_servers()
        for phone in self.phones.values():
            await phone.sync()
            phone.process.run(phone.recorder.again, phone.database)

    async def _people(self):
        world = self.world
        for index, person in enumerate(("ann", "ben", "cyd")):
            for space in SPACES[: 2 if index < 2 else 1]:
                await self._member(person, space, "member")
        await world.wait_for(lambda: True)

    def _usual_ways(self):
        names = [*self.world.machines, *(phone[0] for phone in self.plan.phones)]
        for one in names:
            for other in names:
                if one != other:
                    self.world.network.usual(one, other, **self.plan.ways)

    def _add_phone(self, name, person, nodes, way, *, came_from=""):
        world = self.world
        phone = Phone(world, name, person, nodes=nodes)
        world.add_machine(phone)
        self.phones[name] = phone
        phone.is_streaming = way == "stream"
        if came_from:
            phone.put_back(self._backups[came_from])
        phone.start(came_from=f"clone:{came_from}" if came_from else "")
        every_s = phone.moments.choice(ROUND_S)
        world.process.spawn(phone.keep_syncing(every_s * (4 if way == "stream" else 1)))
        return phone

    # --- actions -----------------------------------------------------------------------------

    async def _act(self, action):
        method = getattr(self, f"_do_{action.do}")
        result = method(action.to, **action.facts)
        if asyncio.iscoroutine(result):
            await result

    def _do_write(self, name, r):
        self.phones[name].write(random.Random(r))

    def _do_offline(self, name, mode, seconds):
        network = self.world.network
        self.world.fault("offline", phone=name, mode=mode)
        for node in self.world.node_names:
            network.change(name, node, both=True, mode=Mode(mode))

        def back():
            for node in self.world.node_names:
                network.heal(name, node)

        self.world.later(seconds, back)

    def _do_part(self, one, other, mode, both, seconds):
        self.world.fault("part", one=one, other=other, mode=mode, both=both)
        self.world.network.change(one, other, both=both, mode=Mode(mode))
        self.world.later(seconds, lambda: self.world.network.heal(one, other))

    def _do_isolate(self, name, seconds):
        for other in self.world.node_names:
            if other != name:
                self._do_part(name, other, "cut", True, seconds)

    def _do_roam(self, name, on):
        self.phones[name].is_roaming = on

    def _do_kill_phone(self, name, seconds):
        phone = self.phones[name]
        self.world.fault("kill", phone=name)
        phone.kill()
        self.world.later(seconds, phone.start_again)

    def _do_doom_phone(self, name, seconds):
        del seconds
        self.world.fault("doom", phone=name)
        self.phones[name].doom_next_commit()

    async def _do_close_phone(self, name, seconds):
        phone = self.phones[name]
        await phone.close()
        self.world.later(seconds, phone.start_again)

    def _do_crash(self, name, what, word):
        node = self.world.machines[name]
        if node.is_gone:
            return
        self.world.fault("crash", node=name, of=what, word=word)
        if what == "power":
            node.power_off()
        elif what == "doom":
            node.doom_next_commit(word)
        else:
            node.kill(what)

    def _do_disk_full(self, name, seconds):
        machine = self.world.machines[name]
        self.world.fault("disk-full", machine=name)
        machine.is_disk_full = True

        def free():
            machine.is_disk_full = False

        self.world.later(seconds, free)

    async def _do_lose_replica(self, name):
        node = self.world.machines[name]
        if node.is_gone or node.role is not Role.EDGE or node._supervisor is None:
            return
        self.world.fault("lose-replica", node=name)
        await self._stopped(node)
        node.drop_replica()
        node.start()

    async def _stopped(self, node):
        try:
            async with asyncio.timeout(30):
                await node.stop()
        except TimeoutError:
            node._end_supervisor()
            node.kill("node")
            node.kill("sqld")

    def _do_clock(self, name, offset_ms):
        self.world.fault("clock", machine=name, offset_ms=offset_ms)
        self.world.machines[name].clock_offset_us = offset_ms * 1_000

    def _do_back_up_phone(self, name):
        phone = self.phones[name]
        folder = self.world.driver.folder / f"backup-{name}"
        self._backups[name] = folder
        phone.back_up(folder)

    async def _do_restore_phone(self, name):
        if name not in self._backups:
            return
        phone = self.phones[name]
        await phone.close()
        self.world.fault("restore-phone", phone=name)
        # It takes longer than the clock's millisecond: what is written then has another time.
        await asyncio.sleep(RESTORE_S)
        await phone.close()  # one that was killed before may have been started again meanwhile
        phone.put_back(self._backups[name])
        phone.start(came_from="backup")

    def _do_clone_phone(self, name):
        if name not in self._backups:
            return
        phone = self.phones[name]
        copy = f"{name}-copy"
        if copy in self.phones:
            return
        self.world.fault("clone-phone", phone=name)
        way = "stream" if phone.is_streaming else "rounds"
        names = [*self.world.machines]
        for other in names:
            self.world.network.usual(copy, other, **self.plan.ways)
            self.world.network.usual(other, copy, **self.plan.ways)
        added = self._add_phone(copy, phone.person, phone.nodes, way, came_from=name)
        added.app = phone.app

    async def _do_app_version(self, name, version):
        phone = self.phones[name]
        self.world.fault("app-version", phone=name, version=version)
        await phone.close()
        phone.app = APPS[version]
        phone.start_again()

    async def _do_migrate(self, _name):
        world = self.world
        world.operator("migrate", version=2)
        world.app = APPS[2]
        world.forget_recorders()
        tell_app(world.history, world.app, now_ms=world.now_ms)
        for node in [world.machines[world.leader], *world.nodes()]:
            if node.process is not None and node._supervisor is not None:
                await self._stopped(node)
                node.start()
                await self._ready(node, seconds=10)

    async def _ready(self, node, *, seconds):
        try:
            await self.world.wait_for(lambda: node.is_ready or node.is_gone, seconds_max=seconds)
        except TimeoutError:
            self.world.fault("not-ready", node=node.name)

    def _do_weeks(self, _name, weeks):
        self.world.fault("weeks", weeks=weeks)
        self.world.wall_jump_ms += weeks * WEEK_MS

    async def _operated(self, node, method, path, document=None, *, seconds=20.0):
        """Do what an operator does; what goes wrong is told, and tried by nobody again."""
        try:
            status, told = await self.world.ask(node, method, path, document, seconds=seconds)
        except (Broken, TimeoutError) as problem:
            return 0, repr(problem)
        return status, told

    async def _do_hand_over(self, name):
        world = self.world
        if world.machines[name].is_gone or name == world.leader:
            return
        status, told = await self._operated(
            world.leader, "POST", "/v1/operator/fleet/hand-over", {"node": name}
        )
        world.operator("hand-over", node=name, status=status, told=str(told)[:200])
        await self._follow_up(status, told)

    async def _do_promote(self, name, force):
        world = self.world
        if world.machines[name].is_gone:
            return
        # Forced or not, it loses what no other node has read, which phones then send again.
        world.operator("promote-force", node=name, is_forced=force)
        status, told = await self._operated(
            name, "POST", "/v1/operator/fleet/promote", {"force": force}
        )
        world.fault("promoted", node=name, status=status, told=str(told)[:200])
        if status != 200 and not force:
            for other in world.nodes():
                if other.name != name and other.role is Role.EDGE:
                    status, told = await self._operated(
                        other.name, "POST", "/v1/operator/fleet/promote", {"force": True}
                    )
                    world.operator("promote-force", node=other.name, status=status)
                    break
        await self._follow_up(status, told)

    async def _follow_up(self, status, told):
        """Wait for the new primary; the operator turns to no other one meanwhile."""
        if status == 200 and await self._find_leader(epoch=told["epoch"]):
            return
        await self._find_leader()

    async def _find_leader(self, *, seconds_max=30.0, epoch=0):
        """Wait until somebody leads, in an epoch at least, and remember who has the highest one."""
        world = self.world
        deadline_s = world.loop.time() + seconds_max
        while world.loop.time() < deadline_s:
            leading = [
                (node.fleet.leading.epoch, node.name)
                for node in world.nodes()
                if node.is_ready and node.fleet is not None and node.fleet.primary is not None
            ]
            if leading and max(leading)[0] >= epoch:
                world.leader = max(leading)[1]
                return True
            await asyncio.sleep(0.2)
        return False

    async def _do_agree(self, name):
        """Let a node hear the others again, and wait until one leads where there were two.

        What phones are told meanwhile may be of the database that is set back, whenever that is.
        """
        world = self.world
        for other in world.node_names:
            if other != name:
                world.network.heal(name, other)
        deadline_s = world.loop.time() + AGREE_S_MAX
        while world.loop.time() < deadline_s:
            world.operator("promote-force", node="")
            leading = [node for node in world.nodes() if node.role is Role.PRIMARY]
            if len(leading) < 2 and await self._find_leader(seconds_max=0.1):
                break
            await asyncio.sleep(0.2)
        world.operator("promote-force", node=world.leader)

    def _do_lose_node(self, name):
        node = self.world.machines[name]
        if len(self.world.nodes()) <= 2:
            return
        self.world.fault("lost", node=name)
        node.lose()

    async def _do_back_up_primary(self, _name):
        world = self.world
        leader = world.machines[world.leader]
        if leader.fleet is None or leader.fleet.primary is None or not leader.is_ready:
            return
        await self._stopped(leader)
        self._backups["primary"] = (world.leader, world.driver.folder / "backup-primary")
        shutil.copytree(leader.folder, self._backups["primary"][1])
        self._backups["logs"] = dict(leader.sqld.logs)
        leader.start()
        await self._ready(leader, seconds=20)

    async def _do_restore_primary(self, _name):
        """Put the primary's databases back as an operator who has lost the disk does."""
        world = self.world
        if "primary" not in self._backups or self._backups["primary"][0] != world.leader:
            return
        leader = world.machines[world.leader]
        if leader._supervisor is None or leader.role is not Role.PRIMARY:
            return
        await self._stopped(leader)
        world.operator("restore", node=world.leader)
        for name in ("tenants", "sqld"):
            shutil.rmtree(leader.folder / name, ignore_errors=True)
            shutil.copytree(self._backups["primary"][1] / name, leader.folder / name)
        marks = HighWaterFiles(leader.folder / MARKS_FOLDER)
        for path in sorted((leader.folder / "tenants").glob("*.db")):
            facts = facts_of(path)  # `skerry restore` does this, so that the database gets a new id
            if facts.database is not None and facts.sequence is not None:
                ahead = facts.sequence + MARK_AHEAD  # the copy may be behind what its sqld holds
                marks.write(TenantId(path.stem), facts.database, ahead)
        leader.sqld.drop()
        leader.start()
        await self._ready(leader, seconds=20)
        self._lose_strangers(leader)

    def _lose_strangers(self, leader):
        """Give up nodes that joined what is lost: the leader's control database lacks them."""
        if leader.fleet is None or not leader.is_ready:
            return
        known = {entry.node for entry in leader.fleet._trust.nodes()}
        for node in self.world.nodes():
            if known and node.name not in known:
                self.world.operator("remove-region", node=node.name)
                node.lose()

    async def _do_add_region(self, _name, region):
        world = self.world
        leader = world.machines[world.leader]
        if leader.fleet is None or leader.fleet.primary is None or not leader.is_ready:
            return
        for other in list(world.machines):
            world.network.usual(f"edge-{region}", other, **self.plan.ways)
            world.network.usual(other, f"edge-{region}", **self.plan.ways)
        try:
            name = await world.add_region(region)
        except Exception as problem:  # noqa: BLE001  (an operator's command may fail)
            world.fault("not-added", region=region, why=repr(problem)[:200])
            world.machines.pop(f"edge-{region}", None)
            return
        world.operator("add-region", node=name)
        for phone in self.phones.values():
            if phone.is_roaming:
                phone.nodes.append(name)

    async def _do_remove_region(self, name):
        world = self.world
        if name == world.leader or name not in world.node_names:
            return
        leader = world.machines[world.leader]
        if leader.fleet is None or leader.fleet.primary is None or not leader.is_ready:
            return
        world.operator("remove-region", node=name)
        world.machines[name].lose()
        membership = leader.fleet.membership
        try:
            await leader.process.ask(membership.remove(name, actor="operator"))
        except Exception as problem:  # noqa: BLE001  (an operator's command may fail)
            world.fault("not-removed", node=name, why=repr(problem)[:200])

    async def _do_rotate_keys(self, _name):
        status, _ = await self._operated(self.world.leader, "POST", "/v1/operator/keys/rotate")
        self.world.operator("rotate-keys", status=status)

    async def _do_member(self, person, space, role):
        await self._member(person, space, role)

    async def _member(self, person, space, role):
        world = self.world
        try:
            status, told = await world.set_member(space, person, role)
        except (Broken, TimeoutError) as problem:
            status, told = 0, repr(problem)
        event = {"e": "member", "t": world.now_ms, "space": space, "person": person}
        event |= {"kind": "region", "role": role, "status": status}
        world.history.add(event)
        if status >= 500 and status not in {503, 507}:  # away, or its disk is full
            raise AssertionError(f"the primary answers {status}: {told}")

    # --- settling ----------------------------------------------------------------------------

    async def _settle(self):
        world = self.world
        world.is_settling = True
        world.network.heal()
        for machine in world.machines.values():
            machine.is_disk_full = False
            machine.doom = None
        for node in world.nodes():
            node.clock_offset_us = 0
            node.power_on()
        for phone in self.phones.values():
            phone.is_roaming = False
            phone.start_again()
        await self._wait_for_nodes()
        await self._until_quiet()

    async def _wait_for_nodes(self):
        world = self.world
        away = [node for node in world.nodes() if not await self._starts(node)]
        if not await self._find_leader(seconds_max=30):
            # The operator who found nobody to promote finds somebody now.
            ready = [node.name for node in world.nodes() if node.is_ready]
            if ready:
                await self._do_promote(ready[0], force=True)
            if not await self._find_leader(seconds_max=60):
                raise NotSettled("nobody leads")
        for node in away:
            is_told = not node.is_ready and await self._repointed(
                node, world.machines[world.leader]
            )
            if not (node.is_ready or (is_told and await self._starts(node))):
                raise NotSettled(f"{node.name} does not start again")
        self._lose_strangers(world.machines[world.leader])

    async def _starts(self, node):
        try:
            await self.world.wait_for(lambda: node.is_ready, seconds_max=120)
        except TimeoutError:
            return False
        return True

    async def _repointed(self, node, leader):
        """Tell an edge where the primary is, as an operator does: it cannot know.

        It lost its replica and missed every take-over since; what it has written down is a node
        that may never lead again (docs/OPERATIONS.md, "An edge that follows nobody").
        """
        if node.role is not Role.EDGE or node is leader:
            return False
        self.world.fault("repointed", node=node.name, to=leader.name)
        await self._stopped(node)
        told = leader.settings
        RoleFile(node.folder).write(
            NodeRole(Role.EDGE, leader.fleet.leading.epoch, told.url, told.grpc_url, leader.name)
        )
        node.start()
        return True

    async def _until_quiet(self):
        world = self.world
        deadline_s = world.loop.time() + SETTLE_S_MAX
        was_quiet = False
        while True:
            for phone in self.phones.values():
                phone.start_again()
            await asyncio.gather(*(phone.sync() for phone in self.phones.values()))
            standings = {name: phone.standing() for name, phone in self.phones.items()}
            is_quiet = all(s["is_quiet"] for s in standings.values()) and self._is_level()
            is_quiet = is_quiet and not await self._takes_leases_back()
            if is_quiet and was_quiet:
                return
            if world.loop.time() > deadline_s:
                left = {n: s for n, s in standings.items() if not s["is_quiet"]}
                raise NotSettled(f"phones: {left}; nodes: {self._standings()}")
            was_quiet = is_quiet
            await asyncio.sleep(1.0)

    async def _takes_leases_back(self):
        """Let the primary take ended leases back now; tell whether that has changed anything.

        Its own housekeeping does it in its own time: a jump of the clock by weeks ends leases, and
        a fleet that was quiet in all else would still move when that round comes.
        """
        node = next(n for n in self.world.nodes() if n.is_ready and n.fleet.primary is not None)
        tenant = await node.fleet.node.tenant(TENANT)
        before = tenant.sequence
        try:
            await node.process.ask(tenant.leases.reclaim())
        except ConnectionResetError:
            return True
        return tenant.sequence != before

    def _is_level(self):
        """Whether every edge has read everything, and nothing waits in an outbox."""
        world = self.world
        leading = [
            node for node in world.nodes() if node.is_ready and node.fleet.primary is not None
        ]
        if len(leading) != 1:
            return False
        expected = leading[0].fleet.node.sequences().get(TENANT)
        for node in world.nodes():
            if not node.is_ready:
                return False
            edge = node.fleet.edge
            if edge is None:
                continue
            if edge.outbox.known_depth()[0] or node.fleet.node.sequences().get(TENANT) != expected:
                return False
        return True

    def _standings(self):
        """Return how far every node has come, for people."""
        found = {}
        for node in self.world.nodes():
            if node.is_ready:
                edge = node.fleet.edge
                found[node.name] = {
                    "sequence": node.fleet.node.sequences().get(TENANT),
                    "database": node.fleet.node.database_id(TENANT),
                    "role": node.role.value,
                    "epoch": node.fleet.leading.known().epoch,
                    "primary": node.fleet.leading.known().node,
                    "outbox": None if edge is None else edge.outbox.known_depth()[0],
                    "place": node.sqld.places.get(f"t-{TENANT}"),
                    "log": len(node.sqld.logs[f"t-{TENANT}"].batches)
                    if f"t-{TENANT}" in node.sqld.logs
                    else None,
                }
            else:
                found[node.name] = "not ready"
        return found


def carry_out(plan, folder, *, judge=check):
    """Carry out a plan and judge its history; returns its Outcome."""
    outcome = Outcome(plan.seed)
    random.seed(plan.seed)  # some of the product's back-offs draw from it
    world = World(folder, plan.seed, APPS[1])
    try:
        with world:
            run = Run(world, plan)
            world.run(run.live(), seconds_max=RUN_S_MAX)
    except AssertionError as problem:
        outcome.problem = f"{type(problem).__name__}: {problem}"
    except Exception as problem:  # noqa: BLE001  (whatever escapes is the run's failure)
        last = "".join(traceback.format_exception(problem)[-3:])
        outcome.problem = f"{type(problem).__name__}: {problem}\n{last}"
    outcome.events = world.history.events
    outcome.counts = {**world.counts, **world.network.counts}
    outcome.complaints = world.complaints
    outcome.steps = world.loop.steps
    outcome.virtual_ms = world.now_ms
    if judge is not None and not outcome.problem:
        report = judge(outcome.events)
        outcome.violations = [str(violation) for violation in report.violations]
        outcome.statistics = report.statistics
    outcome.violations += [
        f"the product complains: {told}" for text, told in world.complaints if text in UNFORESEEN
    ]
    return outcome
