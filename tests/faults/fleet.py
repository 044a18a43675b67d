"""A real fleet whose nodes reach each other, and are reached by phones, through a `Network`.

with FaultFleet(folder, seed=1) as fleet:
    fleet.network.change("edge-ams", "primary", both=True, mode=Mode.SWALLOW)
    fleet.kill("primary", "sqld")
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

import httpx

from core.ids import PersonId, TenantId
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.workers.dev_node import DevNode
from edge.workers.fleet_dev import PRIMARY, DevFleet, free_ports
from tests.faults import database_files
from tests.faults.phones_process import SURVEY
from tests.faults.proxy import LOOPBACK, Network
from tests.faults.survey import PEOPLE, SPACES

REGIONS = ("ams", "syd")
AMS, SYD = EDGES = ("edge-ams", "edge-syd")
NRT = "edge-nrt"
"""Not there from the start: a scenario may add it."""
TENANT = "main"
TOKEN_EARLIER_S, TOKEN_SECONDS = 2 * 3_600, 6 * 3_600
"""Good although a node's clock is an hour ahead or behind."""
DISK_BYTES = 96 * 1024 * 1024
"""Room for everything a short test writes, sqld's first files included."""
CLOCK = Path(__file__).with_name("clock")
"""What makes a node's clock wrong."""
READY_SECONDS_MAX = 60
TAKE_OVER_SECONDS_MAX = 60
ASK_SECONDS_MAX = 60
"""A hand-over on a busy machine takes a quarter of it."""
GONE_SECONDS_MAX = 10
POLL_S = 0.03
SETTINGS = {"drain_s": "2", "log_level": "info"}
DOORS = ("internal", "grpc", "phones")
NODE_PORTS = ("port", "internal_port", "sqld_http", "sqld_admin", "sqld_grpc")
PORTS, DOORS_FILE = "ports.json", "doors.json"


class FaultFleet:
    """A primary and two edges, each behind a door for nodes, one for replicas and one for phones.

    `full_disks`: nodes whose data folder is a small file system of its own (needs root).
    `template`: the folder of a fleet that has joined and was stopped; this one goes on as its copy,
    on the same ports, so that one of them can run at a time.
    """

    def __init__(self, folder, *, seed, full_disks=(), settings=None, template=None):
        self.folder = Path(folder)
        self.network = Network(pids=self._pids, seed=seed)
        self.leader = PRIMARY
        self.phones_pids: Callable[[], list[int]] = list
        self.gone = set()
        self.urls = {}
        self._template = None if template is None else Path(template) / "nodes"
        self._mounted = []
        self._full_disks = full_disks
        self._settings = {**SETTINGS, **(settings or {})}
        self._ends_with_parent = threading.current_thread() is threading.main_thread()
        nodes = self.folder / "nodes"
        nodes.mkdir(parents=True, exist_ok=True)
        if self._template is not None:
            for name in (PORTS, DOORS_FILE):
                shutil.copy(self._template / name, nodes)
        self._dev = DevFleet(
            SURVEY,
            nodes,
            REGIONS,
            settings=self._settings,
            enrol=self._enrol,
            ends_with_parent=self._ends_with_parent,
        )
        self._nodes = {node.name: node for node in self._dev.nodes}
        self._doors = self._numbered_doors()

    def __enter__(self):
        self.network.__enter__()
        try:
            for name in self._nodes:
                self._prepare(name)
            if self._template is None:
                self._dev.start()
                for space in SPACES:
                    for person in PEOPLE:
                        self.set_member(space, person)
            else:
                for node in self._nodes.values():
                    node.start()
                self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        try:
            self.end()
        finally:
            self.network.__exit__()
            for folder in self._mounted:
                log = (folder / "node.log").read_bytes()
                subprocess.run(["umount", "--lazy", folder], check=False)
                (folder / "node.log").write_bytes(log)  # what is mounted is gone with its content

    def stop(self):
        """Let every node drain and end, as a template must: its files are whole then."""
        self._dev.stop()

    def end(self):
        """End all nodes at once, by force: what is checked afterwards is on disk."""
        pids = []
        for node in self._nodes.values():
            with contextlib.suppress(ValueError, KeyError):
                pids += [pid for pid in (node.node_pid(), node.sqld_pid()) if pid is not None]
            if node.pid is not None:
                node.kill()  # first of all: it would start the others again
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + GONE_SECONDS_MAX
        while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def __getitem__(self, name):
        return self._nodes[name]

    @property
    def names(self):
        """The nodes that are not gone for ever."""
        return [name for name in self._nodes if name not in self.gone]

    def token(self, person, *, is_operator=False):
        return mint(
            KeyFiles(self[PRIMARY].data / "keys").development_key(),
            tenant=TenantId(TENANT),
            person=PersonId(person),
            is_admin=is_operator,
            is_operator=is_operator,
            lifetime_s=TOKEN_SECONDS,
            now_unix_s=int(time.time()) - TOKEN_EARLIER_S,
        )

    def ask(self, method, path, *, node="", **arguments):
        """Send an operator's request to a node (the leader unless named); return the answer."""
        headers = {"authorization": f"Bearer {self.token('operator', is_operator=True)}"}
        url = self[node or self.leader].url + path
        return httpx.request(
            method, url, headers=headers, timeout=ASK_SECONDS_MAX, trust_env=False, **arguments
        )

    def set_member(self, space, person, role="member"):
        """Put a person into a space; `role` None takes them out."""
        path = f"/v1/spaces/{space}/members/{person}"
        if role is None:
            answer = self.ask("DELETE", path)
            if answer.status_code != HTTPStatus.NOT_FOUND:  # they were not in it
                answer.raise_for_status()
        else:
            self.ask("PUT", path, json={"role": role}).raise_for_status()

    def members(self):
        """Return who is in which space, as the leader has it (database_files.members)."""
        return database_files.members(self._copy())

    def _copy(self):
        return self[self.leader].data / "tenants" / f"{TENANT}.db"

    # --- what goes wrong ---------------------------------------------------------------------

    def kill(self, name, child):
        """Kill `node` or `sqld` of a node; False when there is none at the moment."""
        node = self[name]
        pid = node.node_pid() if child == "node" else node.sqld_pid()
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def lose(self, name):
        """Kill a node and everything of it; it may be started again, or never."""
        self[name].kill()

    def part(self, one, others, *, both=True, **changes):
        """Change the weather between a node and others, or from it to them alone."""
        for other in others:
            self.network.change(one, other, both=both, **changes)

    def set_clock(self, name, offset_ms):
        """Let a node's clock, and that of its supervisor, be wrong from now on."""
        draft = self._clock_file(name).with_suffix(".new")
        draft.write_text(str(offset_ms))
        draft.replace(self._clock_file(name))

    def clock_offset_ms(self, name):
        """Return by how much a node's clock is wrong, as its answers tell."""
        answer = httpx.get(self[name].url + "/health/live", timeout=5, trust_env=False)
        told_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
        return (told_s - time.time()) * 1_000

    def fill_disk(self, name):
        """Leave no room on a node's own file system."""
        filler = self[name].data / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4_096))

    def free_disk(self, name):
        (self[name].data / "filler").unlink(missing_ok=True)

    def drop_replica(self, name):
        """Delete all that a stopped edge's sqld has copied."""
        shutil.rmtree(self[name].data / "sqld")

    def replica_inode(self, name):
        """Return which file an edge's copy of the control database is; None while there is none."""
        try:
            return (self[name].data / "sqld" / "dbs" / "control" / "data").stat().st_ino
        except FileNotFoundError:
            return None

    def is_replica_whole(self, name):
        """Tell whether an edge has the control database."""
        file = self[name].data / "sqld" / "dbs" / "control" / "data"
        return "ct_primary" in (database_files.contents(file) or {})

    # --- who leads ---------------------------------------------------------------------------

    def promote(self, name, *, force):
        """Make an edge the primary, and wait until it says so; it may be starting again."""
        deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
        while True:
            try:
                answer = self.ask(
                    "POST", "/v1/operator/fleet/promote", node=name, json={"force": force}
                )
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline, f"{name} cannot be reached"
                time.sleep(POLL_S)
        assert answer.is_success, answer.text
        self.leader = name
        self._wait_for_leader(answer.json()["epoch"])

    def hand_over(self, name):
        """Let another node lead, and wait until it says so."""
        answer = self.ask("POST", "/v1/operator/fleet/hand-over", json={"node": name})
        assert answer.is_success, answer.text
        self.leader = name
        self._wait_for_leader(answer.json()["epoch"])

    def wait_for_one_leader(self, *, look=lambda: None):
        """Wait until all nodes agree on who leads, and remember it; `look` hears of every look."""
        deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
        while True:
            look()
            told = {name: self._told_leader(name) for name in self.names}
            leaders = set(map(str, told.values()))
            leader = next(iter(told.values())).get("primary")
            if len(leaders) == 1 and leader in self.names:
                self.leader = leader
                return
            assert time.monotonic() < deadline, f"nodes do not agree on who leads: {told}"
            time.sleep(POLL_S)

    def _told_leader(self, name):
        try:
            answer = self.ask("GET", "/v1/operator/fleet", node=name)
            status = answer.json() if answer.is_success else {"status": answer.status_code}
        except httpx.HTTPError as problem:
            return {"problem": repr(problem)}
        return {key: status[key] for key in ("epoch", "primary", "status") if key in status}

    def _wait_for_leader(self, epoch):
        deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
        while True:
            seen = self._told_leader(self.leader)
            if seen.get("primary") == self.leader and seen.get("epoch", -1) >= epoch:
                self[self.leader].wait_until_ready(seconds=READY_SECONDS_MAX)
                return
            assert time.monotonic() < deadline, f"{self.leader} does not lead: {seen}"
            time.sleep(POLL_S)

    # --- who belongs to it -------------------------------------------------------------------

    def add(self, name):
        """Let another edge join, and wait until it serves."""
        self._nodes[name] = node = DevNode(
            name,
            name.removeprefix("edge-"),
            self.folder / "nodes" / name,
            module=SURVEY,
            ports=dict(zip(NODE_PORTS, free_ports(len(NODE_PORTS)), strict=True)),
            settings=self._settings,
            ends_with_parent=self._ends_with_parent,
        )
        self._doors = self._numbered_doors()
        self._prepare(name)
        self._enrol(self[self.leader], node)
        node.start()
        node.wait_until_ready(seconds=READY_SECONDS_MAX)

    def remove(self, name):
        """Let an edge drain and stop, and take it out for ever."""
        self[name].stop()
        self.gone.add(name)
        self[self.leader].run("node", "remove", name)

    # --- what is left ------------------------------------------------------------------------

    def wait_until_ready(self):
        for name in self.names:
            self[name].wait_until_ready(seconds=READY_SECONDS_MAX)

    def outboxes(self):
        """Return how much waits at each node."""
        return {n: database_files.outbox_size(self[n].data / "outbox.db") for n in self.names}

    def copies(self):
        """Return where the tenant's database lies, and the control database, the leader's first."""
        leader = self[self.leader].data
        tenant = {f"{self.leader} copy": self._copy()}
        control = {f"{self.leader} copy": leader / "control.db"}
        for name in self.names:
            served = self[name].data / "sqld" / "dbs"
            tenant[f"{name} sqld"] = served / f"t-{TENANT}" / "data"
            control[f"{name} sqld"] = served / "control" / "data"
        return tenant, control

    # --- starting ----------------------------------------------------------------------------

    def _prepare(self, name):
        """Give a node its folder, its doors and its clock; it is not started."""
        node = self._nodes[name]
        node.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name in self._full_disks:
            options = f"size={DISK_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, name, node.data], check=True)
            self._mounted.append(node.data)
        keys = KeyFiles(self[PRIMARY].data / "keys")
        if self._template is not None and (self._template / name).exists():
            shutil.copytree(self._template / name, node.data, dirs_exist_ok=True)
            (node.data / "node.log").unlink(missing_ok=True)
        elif name == PRIMARY:
            keys.development_key()
        else:
            (node.data / "keys").mkdir(exist_ok=True, mode=0o700)
            public = self[PRIMARY].data / "keys" / f"{keys.development_key().kid}.pub"
            shutil.copy(public, node.data / "keys")
        self.set_clock(name, 0)
        node.environment["SKERRY_URL"] = self._door(name, "internal", node.internal_url)
        node.environment["SKERRY_GRPC_URL"] = self._door(name, "grpc", node.grpc_url)
        node.environment["SKERRY_CLOCK_FILE"] = str(self._clock_file(name))
        paths = [str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
        node.environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.urls[name] = self._door(name, "phones", node.url)

    def _numbered_doors(self):
        """Return the doors' ports by node; those of the folder's last fleet when it had one."""
        path = self.folder / "nodes" / DOORS_FILE
        doors = json.loads(path.read_bytes()) if path.exists() else {}
        for name in self._nodes:
            if name not in doors:
                doors[name] = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
        path.write_text(json.dumps(doors))
        return doors

    def _door(self, name, kind, url):
        target_port = int(url.rpartition(":")[2])
        port = self.network.door(name, target_port, port=self._doors[name][kind])
        return f"http://{LOOPBACK}:{port}"

    def _clock_file(self, name):
        return self.folder / f"clock-{name}"

    def _pids(self):
        found = {"phones": self.phones_pids()}
        for name, node in self._nodes.items():
            with contextlib.suppress(ValueError, KeyError):
                pids = (node.node_pid(), node.sqld_pid())
                found[name] = [pid for pid in pids if pid is not None]
        return found

    def _enrol(self, primary, edge):
        """Join through the doors: what the fleet is told of its nodes are their doors."""
        invited = primary.run("node", "invite", "--node", edge.name, "--region", edge.region)
        token = invited.strip().rpartition("\n")[2].partition("\t")[0]
        urls = ["--url", edge.environment["SKERRY_URL"]]
        urls += ["--grpc-url", edge.environment["SKERRY_GRPC_URL"]]
        primary_url = primary.environment["SKERRY_URL"]
        edge.run("node", "join", "--primary", primary_url, "--token", token, *urls)


def _is_alive(pid):
    """Tell whether a process still holds its files and ports; a zombie holds none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
