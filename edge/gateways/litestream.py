"""Litestream beside the node: every database is streamed to a replica, second by second.

Litestream checkpoints, and then the node's writer must not (`wal_autocheckpoint=0`): two
checkpointers lose their place to each other, and SQLite before 3.51.3 can corrupt a WAL when one
connection checkpoints with an outdated view of it. Litestream 0.5.17 brings SQLite 3.53, so that
the only checkpointer is one without that fault (docs/adr/0015).

Invariants
  K1  at most one Litestream works on a folder: it holds the lock, also when the node was killed
  K2  a Litestream that ended is started again, with growing delays
  K3  it begins with empty logs: what it has not seen before it takes from the database's file
  K4  credentials are in its environment, never in its configuration file
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sysconfig
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog

from edge.errors import EdgeError, NotFound, Unavailable
from edge.gateways.object_store import s3_endpoint
from edge.ports.backups import BackupDamaged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

PREFIX: Final = "litestream"
CHECKPOINT_PAGES: Final = 16_000
"""As the writer does by itself (edge/storage/sqlite.py): about 64 MiB of WAL."""
MONITOR_INTERVAL: Final = "200ms"
SYNC_INTERVAL: Final = "1s"
"""What a lost machine costs at most, besides what was on its way."""
RETENTION: Final = "720h"
"""Thirty days, as long as daily backups are kept."""
SNAPSHOT_INTERVAL: Final = "24h"
RESTART_DELAY_S: Final = 0.5
RESTART_DELAY_S_MAX: Final = 30.0
SETTLED_SECONDS: Final = 60.0
"""A child that has lived so long is not in a crash loop."""
STOP_SECONDS_MAX: Final = 20.0
RESTORE_SECONDS_MAX: Final = 3_600.0
LOCK_SECONDS_MAX: Final = 30.0
MISSING: Final = (
    "Continuous backups need the program litestream: install Skerry with its extra, "
    "`pip install skerry[backup]`, or name it in SKERRY_LITESTREAM."
)
_TOO_EARLY: Final = ("timestamp does not exist", "no matching backup")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the streams of a data folder's databases lie: `target` is a folder or s3:// URL."""

    data: Path
    target: str
    environment: Mapping[str, str]

    @property
    def is_local(self) -> bool:
        """Whether the replica is a folder of this machine."""
        return urlsplit(self.target).scheme != "s3"

    def document(self, *, tenants: str, databases: Sequence[str]) -> dict[str, Any]:
        """Return the configuration: the tenants' folder is watched, other databases are named."""
        state = self.data / PREFIX
        common: dict[str, Any] = {
            "truncate-page-n": 0,
            "min-checkpoint-page-count": CHECKPOINT_PAGES,
            "monitor-interval": MONITOR_INTERVAL,
            "busy-timeout": "2s",
        }
        dbs: list[dict[str, Any]] = [
            {
                "dir": str(self.data / tenants),
                "pattern": "*.db",
                "watch": True,
                "meta-dir": str(state / tenants),
                "replica": self._replica(tenants),
                **common,
            }
        ]
        dbs += [
            {
                "path": str(self.data / name),
                "meta-path": str(state / name),
                "replica": self._replica(name),
                **common,
            }
            for name in databases
        ]
        return {
            "dbs": dbs,
            "snapshot": {"interval": SNAPSHOT_INTERVAL, "retention": RETENTION},
            "logging": {"type": "json", "level": "warn", "stderr": True},
        }

    def restoring(self, path: str) -> dict[str, Any]:
        """Return the configuration that knows one database of the replica."""
        database = {"path": str(self.data / path), "replica": self._replica(path)}
        return {"dbs": [database]}

    def _replica(self, path: str) -> dict[str, Any]:
        url = urlsplit(self.target)
        if self.is_local:
            folder = Path(url.path if url.scheme else self.target).absolute()
            return {"type": "file", "path": str(folder / PREFIX / path), **_SYNC}
        key = "/".join(filter(None, (url.path.strip("/"), PREFIX, path)))
        replica: dict[str, Any] = {"type": "s3", "bucket": url.netloc, "path": key, **_SYNC}
        replica["region"] = self.environment.get("AWS_REGION", "us-east-1")
        if endpoint := s3_endpoint(self.environment):
            replica |= {"endpoint": endpoint, "force-path-style": True}
        return replica


_SYNC: Final = {"sync-interval": SYNC_INTERVAL}


def find_litestream(environment: Mapping[str, str]) -> Path:
    """Return the program; raises Unavailable when there is none."""
    named = environment.get("SKERRY_LITESTREAM")
    beside = Path(sysconfig.get_path("scripts")) / "litestream"
    found = named or (str(beside) if beside.is_file() else shutil.which("litestream"))
    if not found or not Path(found).is_file():
        raise Unavailable(MISSING)
    return Path(found)


class Litestream:
    """One `litestream replicate` on a data folder, restarted when it ends.

    `empty_logs` lets the writers checkpoint with TRUNCATE; it is awaited while no Litestream runs.
    Without it Litestream 0.5.17 can stop for good after a crash ("read database page 4: EOF"): it
    wants a new snapshot, reads pages from the file that are only in the log, and never checkpoints.
    """

    def __init__(
        self,
        program: Path,
        streams: Streams,
        *,
        tenants: str,
        databases: Sequence[str],
        empty_logs: Callable[[], Awaitable[None]],
    ) -> None:
        self._empty_logs = empty_logs
        self._program = program
        self._streams = streams
        self._document = streams.document(tenants=tenants, databases=databases)
        self._folder = streams.data / PREFIX
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._is_closing = False
        self.restarts = 0
        """How often it had to be started again."""

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start; raises Unavailable when another one cannot be ended."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        if self._streams.is_local:
            replica = Path(self._document["dbs"][0]["replica"]["path"]).parent
            replica.mkdir(parents=True, exist_ok=True, mode=0o700)
            replica.chmod(0o700)
        self._configuration.write_bytes(msgspec.json.encode(self._document))
        await self._launch()
        self._task = asyncio.create_task(self._watch(), name="litestream")

    async def close(self) -> None:
        """Let it send what it has not sent, then end it."""
        self._is_closing = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _configuration(self) -> Path:
        return self._folder / "litestream.json"

    async def _launch(self) -> None:
        lock = await self._taken_lock()
        try:
            await self._empty_logs()
            with (self._folder / "litestream.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    str(self._program),
                    *("replicate", "-no-expand-env", "-config", str(self._configuration)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_child_environment(self._streams.environment),
                    pass_fds=(lock,),
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(self._process.pid).encode(), 0)
        finally:
            os.close(lock)  # the child's copy holds it on

    async def _taken_lock(self) -> int:
        """Take the lock, ending the Litestream of a node that was killed (K1)."""
        path = self._folder / "litestream.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(LOCK_SECONDS_MAX):
                while True:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        # The lock is held by the process whose id is in it, and by nobody else.
                        holder = os.pread(lock, 20, 0)
                        if holder.isdigit():
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(int(holder), signal.SIGTERM)
                        await asyncio.sleep(0.1)
                    else:
                        return lock
        except TimeoutError:
            os.close(lock)
            raise Unavailable("Another Litestream works on this folder and does not end.") from None
        except BaseException:
            os.close(lock)
            raise

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = RESTART_DELAY_S
        while True:
            assert self._process is not None, "it was started"
            started = loop.time()
            code = await self._process.wait()
            if self._is_closing:
                return
            if loop.time() - started > SETTLED_SECONDS:
                delay_s = RESTART_DELAY_S
            _log.error("litestream-ended", code=code, restart_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RESTART_DELAY_S_MAX)
            self.restarts += 1
            try:
                await self._launch()
            except (OSError, EdgeError) as error:
                _log.error("litestream-not-started", reason=str(error))


def _child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Hand on a private certificate authority the way that Litestream 0.5 can take it.

    With AWS_CA_BUNDLE it does not start: its AWS library refuses the HTTP client it is given.
    """
    found = dict(environment)
    if bundle := found.pop("AWS_CA_BUNDLE", ""):
        found.setdefault("SSL_CERT_FILE", bundle)
    return found


async def restore_stream(
    program: Path, streams: Streams, path: str, target: Path, *, at_ms: int | None
) -> None:
    """Write a database as it was at a time (Unix ms; None: the latest) into a new file.

    Raises NotFound when the stream does not reach back so far, BackupDamaged otherwise.
    """
    configuration = target.with_name(target.name + ".litestream.json")
    configuration.write_bytes(msgspec.json.encode(streams.restoring(path)))
    command = ["restore", "-no-expand-env", "-config", str(configuration), "-o", str(target)]
    if at_ms is not None:
        moment = datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
        command += ["-timestamp", moment.replace("+00:00", "Z")]
    process = await asyncio.create_subprocess_exec(
        str(program),
        *command,
        str(streams.data / path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=_child_environment(streams.environment),
    )
    try:
        async with asyncio.timeout(RESTORE_SECONDS_MAX):
            _, said = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    finally:
        configuration.unlink(missing_ok=True)
    if process.returncode == 0:
        await asyncio.to_thread(target.chmod, 0o600)
        return
    text = said.decode(errors="replace").strip()
    if any(word in text for word in _TOO_EARLY):
        raise NotFound(f"The stream of {path} does not reach back so far.")
    raise BackupDamaged(f"Litestream cannot restore {path}: {text[-300:]}")
