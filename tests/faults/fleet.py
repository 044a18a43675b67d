"""A real fleet whose nodes reach each other, and are reached by phones, through a `Network`.

with FaultFleet(folder, seed=1) as fleet:
    fleet.network.change("edge-ams", "primary", both=True, mode=Mode.SWALLOW)
    fleet.kill("primary", "sqld")
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from core.ids import PersonId, TenantId
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.workers.fleet_dev import PRIMARY, DevFleet
from tests.faults import database_files
from tests.faults.phones import SPACE
from tests.faults.phones_process import SURVEY
from tests.faults.proxy import LOOPBACK, Network

REGIONS = ("ams", "syd")
AMS, SYD = "edge-ams", "edge-syd"
TENANT = "main"
TOKEN_EARLIER_S, TOKEN_SECONDS = 2 * 3_600, 6 * 3_600
"""Good although a node's clock is an hour ahead or behind."""
DISK_BYTES = 96 * 1024 * 1024
"""Room for everything a short test writes, sqld's first files included."""
CLOCK = Path(__file__).with_name("clock")
"""What makes a node's clock wrong."""
READY_SECONDS_MAX = 30
TAKE_OVER_SECONDS_MAX = 40
POLL_S = 0.05
SETTINGS = {"drain_s": "2", "log_level": "info"}


class FaultFleet:
    """A primary and two edges, each behind a door for nodes, one for replicas and one for phones.

    `full_disks`: nodes whose data folder is a small file system of its own (needs root).
    """

    def __init__(self, folder, *, seed, full_disks=(), settings=None):
        self.folder = Path(folder)
        self.network = Network(pids=self._pids, seed=seed)
        self.leader = PRIMARY
        self.phones_pids: Callable[[], list[int]] = list
        self.gone = set()
        self._mounted = []
        self._full_disks = full_disks
        self._dev = DevFleet(
            SURVEY,
            self.folder / "nodes",
            REGIONS,
            settings={**SETTINGS, **(settings or {})},
            enrol=self._enrol,
            ends_with_parent=threading.current_thread() is threading.main_thread(),
        )
        self._nodes = {node.name: node for node in self._dev.nodes}
        self.urls = {}

    def __enter__(self):
        self.network.__enter__()
        try:
            self._prepare()
            self._dev.start()
            for person in ("ada", "ben"):
                self.ask(
                    "PUT", f"/v1/spaces/{SPACE}/members/{person}", json={"role": "member"}
                ).raise_for_status()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        try:
            self._dev.stop()
        finally:
            self.network.__exit__()
            for folder in self._mounted:
                log = (folder / "node.log").read_bytes()
                subprocess.run(["umount", "--lazy", folder], check=False)
                (folder / "node.log").write_bytes(log)  # what is mounted is gone with its content

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
        return httpx.request(method, url, headers=headers, timeout=20, trust_env=False, **arguments)

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

    def part(self, one, others, **changes):
        """Change the weather between a node and others."""
        for other in others:
            self.network.change(one, other, both=True, **changes)

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

    # --- who leads ---------------------------------------------------------------------------

    def promote(self, name, *, force):
        """Make an edge the primary, and wait until it says so."""
        answer = self.ask("POST", "/v1/operator/fleet/promote", node=name, json={"force": force})
        assert answer.is_success, answer.text
        self.leader = name
        self._wait_for_leader(answer.json()["epoch"])

    def hand_over(self, name):
        """Let another node lead, and wait until it says so."""
        answer = self.ask("POST", "/v1/operator/fleet/hand-over", json={"node": name})
        assert answer.is_success, answer.text
        self.leader = name
        self._wait_for_leader(answer.json()["epoch"])

    def wait_for_one_leader(self):
        """Wait until all nodes agree on who leads, and remember it."""
        deadline = time.monotonic() + TAKE_OVER_SECONDS_MAX
        while True:
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
        tenant = {f"{self.leader} copy": leader / "tenants" / f"{TENANT}.db"}
        control = {f"{self.leader} copy": leader / "control.db"}
        for name in self.names:
            served = self[name].data / "sqld" / "dbs"
            tenant[f"{name} sqld"] = served / f"t-{TENANT}" / "data"
            control[f"{name} sqld"] = served / "control" / "data"
        return tenant, control

    # --- starting ----------------------------------------------------------------------------

    def _prepare(self):
        public = None
        for name, node in self._nodes.items():
            node.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            if name in self._full_disks:
                options = f"size={DISK_BYTES}"
                subprocess.run(["mount", "-t", "tmpfs", "-o", options, name, node.data], check=True)
                self._mounted.append(node.data)
            if public is None:
                key = KeyFiles(node.data / "keys").development_key()
                public = node.data / "keys" / f"{key.kid}.pub"
            else:
                (node.data / "keys").mkdir(exist_ok=True, mode=0o700)
                shutil.copy(public, node.data / "keys")
            self.set_clock(name, 0)
            for variable, url in (("SKERRY_URL", "internal_url"), ("SKERRY_GRPC_URL", "grpc_url")):
                node.environment[variable] = self._door(name, getattr(node, url))
            node.environment["SKERRY_CLOCK_FILE"] = str(self._clock_file(name))
            paths = [str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
            node.environment["PYTHONPATH"] = os.pathsep.join(paths)
            self.urls[name] = self._door(name, node.url)

    def _door(self, name, url):
        port = self.network.door(name, int(url.rpartition(":")[2]))
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
