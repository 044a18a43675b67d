"""One node, three phones, a day without a network: `make demo`.

Starts a node and three phones as processes of their own, loads the airfields of the world, lets the
phones edit the same airfields offline, kills one of them in the middle of its work, brings them
back, and shows what merged, what conflicted and what was refused. Exits with 0 only if all four
replicas end with equal digests and every scene ended as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from auditor import node_conflicts, node_digests
from outcome_table import Ending, digest_table, ending_of, outcome_table
from processes import Node, PhoneProcess
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from seed import SPACES, seed
from story import (
    AIRFIELDS,
    BEFORE,
    CEM,
    ROLES,
    SCENES,
    SVALBARD,
    VISITS_BEFORE_THE_KILL,
    WORK,
)

SECONDS_MAX = 300.0
"""The demonstration takes some 20 seconds; whatever takes this long will never end."""
ROUNDS_MAX = 10
WORK_SECONDS = 0.1
"""How long the third phone goes on writing, unheard, before it is killed."""
WIDTH = 150
"""Where standard output is no terminal, lines are as long as the table needs."""

Phones = dict[str, PhoneProcess]


class Demo:
    """The demonstration, told to one console."""

    def __init__(self, console: Console, *, limit: int | None) -> None:
        self._console = console
        self._limit = limit
        self._started = time.monotonic()

    async def run(self, folder: Path) -> bool:
        """Tell the whole story; return whether it ended well."""
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(Node(folder / "node"))
            self._say(f"a node serves app.py at {node.url}")
            tokens = await self._people(node)
            count = await seed(
                folder / "office.db",
                url=node.url, token=tokens["office"], limit=self._limit, first=AIRFIELDS,
            )  # fmt: skip
            self._say(f"the office has pushed {count:,} airfields in {len(SPACES)} regions")
            phones = {
                person: await stack.enter_async_context(
                    PhoneProcess(
                        person, folder / f"{person}.db", url=node.url, token=tokens[person]
                    )
                )
                for person in ROLES
            }
            await self._bootstrap(phones)
            await self._edit_offline(phones)
            visits = await self._kill_and_restart(phones[CEM])
            for phone in phones.values():
                await phone.ask("network", is_there=True)
            rounds = await self._settle(phones)
            self._say(f"the network is back: everybody was quiet after {rounds} rounds")
            endings = await self._endings(phones, await node_conflicts(node.url, tokens["auditor"]))
            self._console.print(outcome_table(endings))
            are_visits_safe = await self._visits_are_safe(phones, visits)
            are_equal = await self._compare(phones, node, tokens["auditor"])
        return are_equal and are_visits_safe and all(ending.is_expected for ending in endings)

    async def _people(self, node: Node) -> dict[str, str]:
        roles = {"office": "lead", "auditor": "viewer", **ROLES}
        admin, *tokens = await asyncio.gather(
            node.token("operator", is_admin=True), *(node.token(person) for person in roles)
        )
        await node.set_members(admin, roles, spaces=SPACES)
        return dict(zip(roles, tokens, strict=True))

    async def _bootstrap(self, phones: Phones) -> None:
        """Let the three phones read everything at once, then write what the story starts from."""
        columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as progress:
            await asyncio.gather(*(_read_all(phone, progress) for phone in phones.values()))
        lead, *others = phones.values()
        for command in BEFORE:
            await lead.ask(**command)
        for phone in (lead, *others):
            await _sync(phone)
        self._say("three phones hold everything; the network goes away")

    async def _edit_offline(self, phones: Phones) -> None:
        for phone in phones.values():
            await phone.ask("network", is_there=False)
        for scene in SCENES:
            for person, (_, command) in scene.doings.items():
                await phones[person].ask(**command)
        self._say(f"offline, they have played {len(SCENES)} scenes on the same airfields")

    async def _kill_and_restart(self, phone: PhoneProcess) -> int:
        """Kill a phone while it writes; return the visits its file holds after the restart."""
        await phone.say(**WORK)
        heard = 0
        while heard < VISITS_BEFORE_THE_KILL:
            heard = (await phone.listen())["durable"]
        await asyncio.sleep(WORK_SECONDS)
        told = await phone.kill() or heard
        await phone.start()
        row = await _read(phone, "airfield", SVALBARD)
        visits = row["visits"]
        if not told <= visits <= told + 1:
            raise RuntimeError(f"{told} visits were safe on disk, {visits} are in the file")
        self._say(
            f"{phone.person.title()}'s phone was killed in the middle of its work, {told} visits "
            f"after it began, and restarted from its own file: {visits} are in it"
        )
        return visits

    async def _settle(self, phones: Phones) -> int:
        """Sync one phone after the other until nothing waits and a round moves nothing."""
        before: list[dict[str, str]] = []
        for number in range(1, ROUNDS_MAX + 1):
            statuses = [await _sync(phone) for phone in phones.values()]
            digests = [await phone.ask("digests") for phone in phones.values()]
            if digests == before and not any(status["pending"] for status in statuses):
                return number
            before = digests
        raise RuntimeError(f"the phones are not quiet after {ROUNDS_MAX} rounds")

    async def _endings(self, phones: Phones, conflicts: list[dict[str, Any]]) -> list[Ending]:
        outcomes = {person: await phone.ask("outcomes") for person, phone in phones.items()}
        reader = phones[CEM]
        return [
            ending_of(scene, await _read(reader, scene.collection, scene.id), outcomes, conflicts)
            for scene in SCENES
        ]

    async def _visits_are_safe(self, phones: Phones, visits: int) -> bool:
        rows = [await _read(phone, "airfield", SVALBARD) for phone in phones.values()]
        found = [row["visits"] for row in rows]
        self._say(f"visits of the killed phone at {SVALBARD}: {visits}; the phones now say {found}")
        return all(number == visits for number in found)

    async def _compare(self, phones: Phones, node: Node, token: str) -> bool:
        digests = {"node": await node_digests(node.url, token)}
        for person, phone in phones.items():
            digests[person.title()] = await phone.ask("digests")
        self._console.print(digest_table(digests))
        first, *others = digests.values()
        return set(first) == set(SPACES) and all(other == first for other in others)

    def _say(self, words: str) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"[dim]{seconds:5.1f} s[/]  {words}", highlight=False)


async def _read_all(phone: PhoneProcess, progress: Progress) -> None:
    task = progress.add_task(phone.person.title(), total=None)

    def advance(line: dict[str, Any]) -> None:
        done, total = line["progress"]
        progress.update(task, completed=done, total=total)

    await _sync(phone, advance)


async def _sync(phone: PhoneProcess, hear: Any = None) -> dict[str, Any]:  # noqa: ANN401
    status = await phone.ask("sync", hear=hear)
    if not status["is_current"] or status["damaged"]:
        raise RuntimeError(f"{phone.person} cannot sync: {status}")
    return status


async def _read(phone: PhoneProcess, collection: str, row: str) -> Any:  # noqa: ANN401  (JSON)
    return await phone.ask("read", collection=collection, id=row)


async def tell(console: Console, *, limit: int | None) -> bool:
    """Run the demonstration in a folder of its own, within its time; SIGTERM ends it tidily."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="skerry-demo-") as folder:
        async with asyncio.timeout(SECONDS_MAX):
            return await Demo(console, limit=limit).run(Path(folder))


def main() -> None:
    """Read the command line, run, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--airports", type=int, default=None, help="how many; all unless given")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        is_well = asyncio.run(tell(console, limit=arguments.airports))
    except (EOFError, RuntimeError, TimeoutError, httpx.HTTPError) as trouble:
        console.print(f"[bold red]The demonstration broke off[/]: {trouble!r}")
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    if is_well:
        console.print("[bold green]All four replicas are equal.[/]")
    else:
        console.print(
            "[bold red]The replicas differ, or a scene ended otherwise than it should.[/]"
        )
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
