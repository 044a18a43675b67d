"""A simulated sqld: batches on real SQLite files, a log of them, and replicas that follow it.

It answers libsql-client's calls as sqld does, errors included, so that everything of the product
above the client is real. A primary keeps its log in order; a replica carries out what it has not
got yet, each batch in one transaction, and copies everything anew when the log is another one. How
many batches a file holds stands in the file (`user_version`), so that a torn commit tells no lies.
"""

import asyncio
import sqlite3
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from libsql_client import LibsqlError

from core.fleet import Role
from edge.storage import sqld as product
from tests.simulation.network import Broken
from tests.simulation.process import Process

ANSWER_S_MAX = 0.000_9
PULL_EVERY_S = 2.0
RETRY_S = 0.4
NEW_LOG = 0.5
"""How often a primary that has not ended in order begins its log anew."""


@dataclass
class Log:
    """A primary's log of one database: every batch since the log began."""

    number: int
    batches: list = field(default_factory=list)


@dataclass
class Place:
    """How far a replica has come: `inode` changes when the file is replaced."""

    log: int = 0
    index: int = 0
    inode: int = 0


class Result:
    """What libsql-client returns of one statement."""

    def __init__(self, rows, rows_affected):
        self.rows = rows
        self.rows_affected = rows_affected


class SimulatedSqld:
    """The sqld of one machine; `logs` and `places` are what its disk keeps."""

    def __init__(self, machine):
        self.machine = machine
        self.world = machine.world
        self.process: Any = None
        self.logs = {}
        self.places = {}
        self._role: Any = None
        self._connections = {}
        self._followers = {}
        self._wanted = {}
        self._log_numbers = 0
        self._was_clean = True

    @property
    def is_up(self):
        return self.process is not None and not self.process.is_dead

    def start(self, role):
        """Start as a primary, or as a replica of another machine's."""
        assert not self.is_up
        self._role = role
        self._connections = {}
        self.process = Process(self.machine, f"{self.machine.name}/sqld")
        self.world.processes.append(self.process)
        if role.role is Role.PRIMARY:
            self.process.run(self._begin_logs)
        else:
            self._wanted = {}
            self.process.run(self._find_places)

    def _find_places(self):
        """Look how far the files have come: a commit that was torn may be there or not."""
        for name, place in self.places.items():
            if self.file_of(name).exists():
                place.index = self._count(name)
            else:
                place.log = 0

    def _begin_logs(self):
        folder = self._folder()
        known = [path.name for path in sorted(folder.glob("*"))] if folder.is_dir() else []
        for name in known:
            log = self.logs.get(name)
            is_other = log is None or self._count(name) != len(log.batches)
            if is_other or (not self._was_clean and self.machine.moments.random() < NEW_LOG):
                self._new_log(name)
        self.places.clear()
        self._was_clean = False

    def stop(self):
        """End in order: the log goes on at the next start."""
        if not self.is_up:
            return
        self._was_clean = True
        self.world.let_go(self.machine)
        for connection in list(self.process.connections.values()):
            connection.close()
        self._connections = {}
        self.process.kill()

    def kill(self):
        if self.is_up:
            self.process.kill()

    def drop(self):
        """Forget everything that was copied: the folder was deleted or set aside."""
        self.logs.clear()
        self.places.clear()

    # --- what clients call -------------------------------------------------------------------

    def call(self, work):
        """Carry out `work` in sqld's own process; returns a future of what it gives."""
        answer = self.world.loop.create_future()
        if not self.is_up:
            answer.set_exception(aiohttp.ClientConnectionError("connection refused"))
            return answer

        def lost():
            if not answer.done():
                answer.set_exception(aiohttp.ClientConnectionError("connection reset"))

        process = self.process
        process.ended.append(lost)
        process.spawn(self._called(work, answer, process, lost))
        return answer

    async def _called(self, work, answer, process, lost):
        await asyncio.sleep(self.machine.moments.random() * ANSWER_S_MAX)
        try:
            result, error = work(), None
        except LibsqlError as problem:
            result, error = None, problem
        await asyncio.sleep(self.machine.moments.random() * ANSWER_S_MAX)
        if lost in process.ended:
            process.ended.remove(lost)
        if not answer.done():
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

    def execute(self, namespace, sql):
        """Run one reading statement."""
        self._want(namespace)
        connection = self._connection(namespace)
        try:
            cursor = connection.execute(sql)
            return Result([tuple(row) for row in cursor.fetchall()], 0)
        except sqlite3.Error as error:
            raise LibsqlError(str(error), "SQL_INPUT_ERROR") from error

    def batch(self, namespace, statements):
        """Carry out a batch in one transaction, and add it to the log."""
        assert self._role.role is Role.PRIMARY, "only a primary is written to"
        connection = self._connection(namespace)
        log = self.logs.get(namespace) or self._new_log(namespace)
        results = carry_out(connection, statements, len(log.batches) + 1)
        log.batches.append(statements)
        for tell in list(self._followers.values()):
            tell(namespace)
        self.world.committed(self.machine, namespace)
        return results

    def create(self, namespace):
        path = self.file_of(namespace)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection(namespace, is_new=True)
        if namespace not in self.logs:
            self._new_log(namespace)

    def _count(self, namespace):
        """Return how many batches of its log a file holds."""
        return self._connection(namespace).execute("PRAGMA user_version").fetchone()[0]

    def destroy(self, namespace):
        connection = self._connections.pop(namespace, None)
        if connection is not None:
            connection.close()
        path = self.file_of(namespace)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        self.logs.pop(namespace, None)

    # --- replication -------------------------------------------------------------------------

    def _want(self, namespace):
        """A replica copies what somebody has asked for since it was started."""
        if self._role.role is Role.PRIMARY or namespace in self._wanted:
            return
        event = asyncio.Event()
        self._wanted[namespace] = event
        self.process.spawn(self._follow(namespace, event))

    async def _follow(self, namespace, event):
        primary = self.world.machine_of(self._role.primary_grpc_url)
        number = (self.machine.name, namespace)
        while True:
            event.clear()
            wait_s = PULL_EVERY_S
            source = primary.sqld
            if source.is_up and source._role.role is Role.PRIMARY:
                source._followers[number] = lambda name, e=event: (
                    e.set() if name == namespace else None
                )
            try:
                if await self._pull(namespace, primary):
                    continue
            except (Broken, LibsqlError):
                wait_s = RETRY_S  # the way is cut, or the disk here is full
            except TimeoutError:
                wait_s = 0.01
            try:
                async with asyncio.timeout(wait_s):
                    await event.wait()
            except TimeoutError:
                continue

    async def _pull(self, namespace, primary):
        """Ask for what is new; tell whether there may be more."""
        network, names = self.world.network, (self.machine.name, primary.name)
        async with asyncio.timeout(6.0):
            await network.leg(*names)
            source = primary.sqld
            if not source.is_up or source._role.role is not Role.PRIMARY:
                raise Broken("nobody listens")
            log = source.logs.get(namespace)
            if log is None:
                raise Broken("no such database")
            place = self.places.setdefault(namespace, Place())
            is_other = place.log != log.number
            end = len(log.batches)
            if not is_other and end <= place.index:
                return False
            number, batches = log.number, log.batches[place.index : end]
            content = source.snapshot(namespace) if is_other else None
            await network.leg(*names[::-1])
        if self.places.get(namespace) is not place:
            return True
        if content is not None:
            self._replace(namespace, content, place)
            place.log, place.index = number, end
        else:
            connection = self._connection(namespace)
            for batch in batches:
                carry_out(connection, batch, place.index + 1)
                place.index += 1
        self.world.replicated(self.machine, namespace)
        return True

    def snapshot(self, namespace):
        """Return the whole database as SQLite serializes it."""
        copy = sqlite3.Connection(":memory:")
        try:
            self.process.run(lambda: sqlite3.Connection.backup(self._connection(namespace), copy))
            return copy.serialize()
        finally:
            copy.close()

    def _replace(self, namespace, content, place):
        connection = self._connections.pop(namespace, None)
        if connection is not None:
            connection.close()
        path = self.file_of(namespace)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.world.let_go(self.machine)
        draft = path.with_name("data.new")
        draft.write_bytes(content)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        draft.replace(path)
        place.inode += 1

    def stamp(self, namespace):
        """Return what changes with every commit that arrives."""
        place = self.places.get(namespace)
        return (0, 0, 0) if place is None else (place.inode, place.log, place.index)

    # --- files -------------------------------------------------------------------------------

    def file_of(self, namespace):
        return self._folder() / namespace / "data"

    def _folder(self):
        return self.machine.folder / "sqld" / "dbs"

    def _new_log(self, namespace):
        self._connection(namespace).execute("PRAGMA user_version = 0")
        self._log_numbers += 1
        number = self._log_numbers * 1_000 + self.world.number_of(self.machine)
        log = self.logs[namespace] = Log(number)
        return log

    def _connection(self, namespace, *, is_new=False):
        connection = self._connections.get(namespace)
        if connection is None:
            path = self.file_of(namespace)
            if not is_new and not path.exists():
                raise LibsqlError(
                    f"Namespace `{namespace}` doesn't exist", "NAMESPACE_DOESNT_EXIST"
                )
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._connections[namespace] = connection
        return connection


def carry_out(connection, statements, count):
    """Carry out a batch in one transaction, the file's `count`-th; returns a Result for each."""
    results = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            cursor = connection.execute(statement.sql, statement.args or ())
            rows = cursor.fetchall() if cursor.description else []
            results.append(Result(rows, max(cursor.rowcount, 0)))
        connection.execute(f"PRAGMA user_version = {count}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        code = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        raise LibsqlError(str(error), code) from error
    return results


class SimulatedClient:
    """libsql-client's HttpClient, as far as the product uses it."""

    def __init__(self, sqld, namespace):
        self._sqld = sqld
        self._namespace = namespace

    async def execute(self, sql):
        return await self._sqld.call(lambda: self._sqld.execute(self._namespace, sql))

    async def batch(self, statements):
        return await self._sqld.call(lambda: self._sqld.batch(self._namespace, statements))

    async def close(self):
        """There is no connection to close."""


class SimulatedDatabase(product.SqldDatabase):
    """The product's client of one namespace, with a simulated connection."""

    async def _connected(self):
        if self._client is None:
            client: Any = SimulatedClient(sqld_of_process(), self.namespace)
            self._client = client
        return self._client


class SimulatedServer(product.SqldServer):
    """The product's client of sqld's admin interface."""

    async def create(self, namespace):
        await self._called(lambda sqld: sqld.create(namespace))

    async def destroy(self, namespace):
        await self._called(lambda sqld: sqld.destroy(namespace))

    async def _called(self, work):
        sqld = sqld_of_process()
        try:
            await sqld.call(lambda: work(sqld))
        except (aiohttp.ClientError, LibsqlError) as error:
            raise product.Unavailable("The SQL server does not answer.") from error


def sqld_of_process():
    """Return the sqld beside the process that runs at the moment."""
    from tests.simulation.network import source_machine

    return source_machine().sqld
