"""The processes of the demonstration: one node, and phones that are spoken to in lines of JSON.

Each is stopped by its own process id when its `async with` block ends, whatever happened inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
LINE_BYTES_MAX = 1 << 20
TENANT = "main"


class Node:
    """`skerry serve app.py` on a free port of this machine, with a data folder of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *_skerry("serve", str(HERE / "app.py"), "--port", "0", "--log-level", "warning"),
            *("--data", str(self._data)),
            cwd=ROOT,
            env=_environment(),
        )
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await self._wait_until_ready()
        except BaseException:
            await stop(self._process)
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._process is not None
        await stop(self._process)

    async def token(self, person: str, *, is_admin: bool = False) -> str:
        """Mint an access token with the node's development key."""
        admin = ["--admin"] if is_admin else []
        process = await asyncio.create_subprocess_exec(
            *_skerry("token", "--person", person, *admin, "--data", str(self._data)),
            cwd=ROOT,
            env=_environment(),
            stdout=PIPE,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError("no token could be minted")
        return output.decode().strip()

    async def set_members(
        self, admin_token: str, roles: dict[str, str], *, spaces: tuple[str, ...]
    ) -> None:
        """Give each person a role in each space."""
        headers = {"Authorization": f"Bearer {admin_token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as http:
            for space in spaces:
                for person, role in roles.items():
                    path = f"/v1/spaces/{space}/members/{person}"
                    answer = await http.put(path, json={"role": role})
                    answer.raise_for_status()

    async def _wait_until_ready(self) -> None:
        assert self._process is not None
        lock = self._data / "node.lock"
        async with httpx.AsyncClient(trust_env=False) as http:
            while True:
                if self._process.returncode is not None:
                    raise RuntimeError("the node has ended; its log says why")
                self.url = lock.read_text().strip() if lock.exists() else ""
                try:
                    if self.url and (await http.get(self.url + "/health/ready")).is_success:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)


class PhoneProcess:
    """One phone: a process, its file, and the person who holds it."""

    def __init__(self, person: str, path: Path, *, url: str, token: str) -> None:
        self.person = person
        self.device = 0
        self._path = path
        self._options = ("--url", url, "--token", token)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._process is not None
        if self._process.stdin is not None:
            self._process.stdin.close()
        await stop(self._process, signal.SIGTERM)

    async def start(self) -> None:
        """Start the process on the phone's file, whatever state that is in."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(HERE / "phone.py"), str(self._path), *self._options),
            cwd=ROOT,
            env=_environment(),
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_BYTES_MAX,
        )

    async def ask(
        self, do: str, *, hear: Callable[[dict[str, Any]], None] | None = None, **arguments: object
    ) -> Any:  # noqa: ANN401  (JSON)
        """Give a command and return its answer; `hear` is told of every line in between."""
        await self.say(do, **arguments)
        while "ok" not in (answer := await self.listen()):
            if "refused" in answer:
                raise RuntimeError(f"{self.person}: {answer['refused']}")
            if hear is not None:
                hear(answer)
        return answer["ok"]

    async def say(self, do: str, **arguments: object) -> None:
        """Give a command without waiting for its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()

    async def listen(self) -> dict[str, Any]:
        """Return the next line the phone writes; a phone that has ended is an EOFError."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError(f"the phone of {self.person} has ended")
        return json.loads(line)

    async def kill(self) -> int:
        """Kill the process (SIGKILL) in whatever it is doing; return the last visit it told of."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        last = 0
        try:
            while True:
                last = (await self.listen()).get("durable", last)
        except EOFError:
            await self._process.wait()
        return last


async def stop(process: Process, number: int = signal.SIGTERM) -> None:
    """End a process: politely, then by force."""
    if process.returncode is not None:
        return
    process.send_signal(number)
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _skerry(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge.cli", *arguments]


def _environment() -> dict[str, str]:
    """Leave settings of other nodes out, so that the demonstration is the same everywhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SKERRY_")}
