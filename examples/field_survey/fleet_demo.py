"""Two regions and a primary that goes away: `make demo-fleet`.

Starts a primary and two edges, two phones at each edge, loads airfields, stops the primary where it
stands, shows that both regions still read, refresh and accept writes, lets the primary go on, shows
what became of what was accepted, hands the primary over to another region, and compares digests:
those of the phones, and those in the nodes' own files. Exits with 0 only if all are equal and
everything ended as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from auditor import node_conflicts
from fleet_comparison import compare
from fleet_nodes import cut_off, healthy_status, list_rows, read_row, set_members
from fleet_processes import FleetPhoneProcess
from fleet_story import (
    AWAY,
    LAST,
    LAST_SEEN,
    MERGED,
    NEW_PRIMARY,
    PLACES,
    POKES,
    REFUSED,
    REGIONS,
    ROLES,
    SEEN_AWAY,
    WATCHED,
)
from fleet_tables import away_table, status_table
from processes import HERE
from rich.console import Console
from seed import SPACES, seed
from story import ADA, AIRFIELDS, BEN, CEM, HELGOLAND, edit

from edge.errors import Unavailable
from edge.workers.fleet_dev import DevFleet
from edge.workers.fleet_status import fleet_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.workers.dev_node import DevNode

SECONDS_MAX = 240.0
"""The demonstration takes less than a minute; whatever takes this long will never end."""
WAIT_SECONDS_MAX = 45.0
"""For one thing to come true; on an idle machine everything does within five seconds."""
LOOK_AGAIN_S = 0.1
LATER_S = 0.02
"""Between two people's writes, so that it is known whose is the later one."""
WIDTH = 150
"""Where standard output is no terminal, lines are as long as the tables need."""
AIRPORTS = 400
LIFETIME = "30m"
"""Of the tokens that scripts use; phones refresh theirs."""

Phones = dict[str, FleetPhoneProcess]


class FleetDemo:
    """The demonstration, told to one console."""

    def __init__(self, console: Console, fleet: DevFleet, *, limit: int) -> None:
        self._console = console
        self._fleet = fleet
        self._edges: dict[str, DevNode] = dict(zip(REGIONS, fleet.edges, strict=True))
        self._limit = limit
        self._started = time.monotonic()
        self._tokens: dict[str, str] = {}
        self._people: dict[int, str] = {1: "the primary"}
        """Device numbers, for the conflicts."""

    async def run(self, folder: Path) -> bool:
        """Tell the whole story; return whether it ended well."""
        self._say("a primary and two edges, ams and syd, are up: nine processes")
        await self._seed(folder)
        async with AsyncExitStack() as stack:
            phones = {
                person: await stack.enter_async_context(
                    FleetPhoneProcess(
                        person, folder / f"{person}.db", region=region, url=self._edges[region].url
                    )
                )
                for person, region in PLACES.items()
            }
            await self._connect(phones)
            await self._measure_pokes(phones)
            await self._show_status(self._fleet.primary)
            with cut_off(self._fleet.primary):
                self._say(
                    "the primary and its sqld are stopped (SIGSTOP): they neither answer nor close "
                    "a connection, as behind a router that died"
                )
                await self._write_away(phones)
                await self._read_away(phones)
                is_provisional = await self._neighbours_see(phones)
                await self._refresh_away(phones)
            is_settled = await self._heal(phones)
            are_equal = await self._compare(phones, self._fleet.primary)
            leader = await self._hand_over(phones)
            await self._show_status(leader)
            are_equal = await self._compare(phones, leader) and are_equal
        return is_provisional and is_settled and are_equal

    # --- before -------------------------------------------------------------------------------

    async def _seed(self, folder: Path) -> None:
        for person, flags in {
            "operator": ("--admin", "--operator"), "office": (), "auditor": (),
        }.items():  # fmt: skip
            self._tokens[person] = await self._command(
                self._fleet.primary,
                *("token", "--person", person, "--ttl", LIFETIME, *flags),
            )
        primary = self._fleet.primary.url
        roles = {"office": "lead", "auditor": "viewer"}
        await set_members(primary, self._tokens["operator"], roles, spaces=SPACES)
        started = time.monotonic()
        count = await seed(
            folder / "office.db",
            url=primary, token=self._tokens["office"], limit=self._limit, first=AIRFIELDS,
        )  # fmt: skip
        self._limit = count
        seconds = time.monotonic() - started
        self._say(f"the office has pushed {count:,} airfields to the primary in {seconds:.1f} s")

    async def _connect(self, phones: Phones) -> None:
        """Sign everybody in at their own edge, and let all phones read everything at once."""
        people = await asyncio.gather(*(phone.ask("sign_in") for phone in phones.values()))
        roles = dict(zip(people, (ROLES[person] for person in phones), strict=True))
        primary = self._fleet.primary.url
        await set_members(primary, self._tokens["operator"], roles, spaces=SPACES)
        await asyncio.gather(
            *(
                phone.expect(
                    "the first sync", "connect", rows=self._limit, seconds=WAIT_SECONDS_MAX
                )
                for phone in phones.values()
            )
        )
        for person, phone in phones.items():
            self._people[(await phone.ask("outcomes"))["device"]] = person.title()
        self._say(
            f"Ada and Ben in ams, Cem and Dan in syd have signed in at their own edges; each phone "
            f"holds all {self._limit:,} airfields"
        )

    async def _measure_pokes(self, phones: Phones) -> None:
        """Edit in one region and take the time until the phones of both have it."""
        waits: dict[str, list[float]] = {BEN: [], CEM: []}
        for number in range(1, POKES + 1):
            seen = {"id": HELGOLAND, "fields": {"visits": number}, "seconds": WAIT_SECONDS_MAX}
            asked = [
                asyncio.create_task(phones[person].expect("Ada's edit", "see", **seen))
                for person in waits
            ]
            begun = await phones[ADA].ask(
                "write", command=edit(HELGOLAND, {"visits": {"Add": [1]}})
            )
            for person, at in zip(waits, await asyncio.gather(*asked), strict=True):
                waits[person].append((at - begun) * 1_000)
        near, far = (statistics.median(found) for found in waits.values())
        self._say(
            f"{POKES} edits of Ada's in ams: each is on Cem's phone in syd after {far:.0f} ms "
            f"(median; {min(waits[CEM]):.0f} to {max(waits[CEM]):.0f}), on Ben's in ams after "
            f"{near:.0f} ms"
        )

    # --- while the primary is away --------------------------------------------------------------

    async def _write_away(self, phones: Phones) -> None:
        for doings, note in AWAY:
            begun: dict[str, float] = {}
            for person, doing in doings.items():
                begun[person] = await phones[person].ask("write", command=doing.command)
                await asyncio.sleep(LATER_S)
            told = await asyncio.gather(
                *(self._accepted(phones[p], d.words, begun[p]) for p, d in doings.items())
            )
            self._say(f"answered [yellow]accepted[/]: {', '.join(told)} ({note})")
        outboxes = await asyncio.to_thread(fleet_status, [e.url for e in self._edges.values()])
        waiting = [
            f"{found.outbox} in {name}" for name, found in zip(self._edges, outboxes, strict=True)
        ]
        self._say(f"durable in the outboxes of the edges: {' and '.join(waiting)}")

    async def _accepted(self, phone: FleetPhoneProcess, words: str, begun: float) -> str:
        at = await phone.expect(
            "the receipt `accepted`", "judged", outcome="accepted", seconds=WAIT_SECONDS_MAX
        )
        ms = (at - begun) * 1_000
        return f"{phone.person.title()} ({phone.region}), {words}, after {ms:.0f} ms"

    async def _read_away(self, phones: Phones) -> None:
        counts = [await phone.ask("count") for phone in phones.values()]
        self._say(f"every phone goes on reading its own file: {counts} airfields")
        for region, node in self._edges.items():
            started = time.monotonic()
            row = await read_row(node.url, self._tokens["auditor"], HELGOLAND)
            found = await list_rows(node.url, self._tokens["auditor"], country="NO")
            ms = (time.monotonic() - started) * 1_000
            self._say(
                f"the edge in {region} answers REST: {row['name']} has {row['visits']} visits, "
                f"{len(found)} airfields are in Norway (2 requests, {ms:.0f} ms)"
            )

    async def _neighbours_see(self, phones: Phones) -> bool:
        """Whether each region shows its own accepted writes, and nothing of the other's."""
        looks: dict[str, tuple[str, dict[str, Any]]] = {}
        for person, phone in phones.items():
            await phone.expect(
                "what its neighbour has written", "see",
                id=HELGOLAND, fields=SEEN_AWAY[phone.region], seconds=WAIT_SECONDS_MAX,
            )  # fmt: skip
            looks[person] = (phone.region, await phone.ask("look", id=HELGOLAND))
        self._console.print(away_table("Helgoland while the primary is away", looks))
        self._say(
            "neighbours see each other's accepted writes as provisional; the other region's they "
            "cannot know of"
        )
        return all(
            look["is_provisional"] and look["row"] | SEEN_AWAY[region] == look["row"]
            for region, look in looks.values()
        )

    async def _refresh_away(self, phones: Phones) -> None:
        tried = (phones[ADA], phones[CEM])
        took = await asyncio.gather(*(phone.ask("refresh") for phone in tried))
        words = [f"{p.region} in {ms:.0f} ms" for p, ms in zip(tried, took, strict=True)]
        self._say(f"access tokens are refreshed by the edges alone: {' and '.join(words)}")

    # --- afterwards -----------------------------------------------------------------------------

    async def _heal(self, phones: Phones) -> bool:
        """Whether everything accepted got its final receipt, and ended as the story says."""
        healed = time.monotonic()
        self._say("the primary goes on (SIGCONT)")
        for phone in phones.values():
            await phone.expect("its final receipts", "judged", outcome="", seconds=WAIT_SECONDS_MAX)
        drained_s = time.monotonic() - healed
        for phone in phones.values():
            await phone.expect(
                "the merged airfield", "see",
                id=HELGOLAND, fields=MERGED, seconds=WAIT_SECONDS_MAX,
            )  # fmt: skip
            await self._until(f"{phone.person}'s row is final", lambda p=phone: _is_final(p))
        self._say(
            f"every accepted write has its final receipt after {drained_s:.1f} s; on all four "
            f"phones Helgoland is at {MERGED[WATCHED]} ft, its visits are {MERGED['visits']}, "
            "nothing is provisional"
        )
        is_logged = await self._tell_conflict()
        return await self._tell_refusal(phones) and is_logged

    async def _tell_conflict(self) -> bool:
        logged = await node_conflicts(self._fleet.primary.url, self._tokens["auditor"])
        found = [c for c in logged if (c["row"], c["field"]) == (HELGOLAND, WATCHED)]
        for conflict in found:
            winner, loser = (
                f"{self._people[side['device']]}'s {side['value']} ft"
                for side in (conflict["winner"], conflict["loser"])
            )
            self._say(f"[yellow]conflict[/], in the primary's log: {winner} won over {loser}")
        return [c["winner"]["value"] for c in found] == [MERGED[WATCHED]]

    async def _tell_refusal(self, phones: Phones) -> bool:
        refused = [
            (person, refusal)
            for person, phone in phones.items()
            for refusal in (await phone.ask("outcomes"))["rejected"]
        ]
        for person, refusal in refused:
            self._say(
                f"[red]rejected[/] ({person.title()}, {refusal['code']}), although it had been "
                f"accepted: {refusal['message']}"
            )
        return [refusal["code"] for _, refusal in refused] == [REFUSED]

    async def _hand_over(self, phones: Phones) -> DevNode:
        leader = next(node for node in self._fleet.nodes if node.name == NEW_PRIMARY)
        started = time.monotonic()
        told = await self._command(self._fleet.primary, "primary", "hand-over", "--to", leader.name)
        self._say(
            f"`skerry primary hand-over --to {leader.name}` took "
            f"{time.monotonic() - started:.1f} s: {' '.join(told.split()[:3])} leads now"
        )
        begun = await phones["dan"].ask("write", command=LAST)
        for phone in phones.values():
            at = await phone.expect(
                "Dan's last edit", "see", id=HELGOLAND, fields=LAST_SEEN, seconds=WAIT_SECONDS_MAX
            )
            await phone.expect("its final receipts", "judged", outcome="", seconds=WAIT_SECONDS_MAX)
            if phone.person == ADA:
                self._say(
                    f"Dan's last edit, written in syd at once, is on Ada's phone in ams after "
                    f"{at - begun:.1f} s"
                )
        for node in self._fleet.nodes:
            await asyncio.to_thread(node.wait_until_ready, seconds=WAIT_SECONDS_MAX)
        return leader

    async def _compare(self, phones: Phones, leader: DevNode) -> bool:
        nodes = sorted(self._fleet.nodes, key=lambda node: node is not leader)
        compared = await compare(nodes, phones, token=self._tokens["auditor"])
        for table in compared.tables():
            self._console.print(table)
        return compared.are_equal

    async def _show_status(self, node: DevNode) -> None:
        status = await healthy_status(node, seconds=WAIT_SECONDS_MAX)
        self._say(f"`skerry status`, asked of {node.name}:")
        self._console.print(status_table(status))

    async def _command(self, node: DevNode, *words: str) -> str:
        return (await asyncio.to_thread(node.run, *words)).strip()

    async def _until(self, what: str, look: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Look again until there is an answer; a TimeoutError says what never came."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not (answer := await look()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} never came, within {WAIT_SECONDS_MAX:.0f} s")
            await asyncio.sleep(LOOK_AGAIN_S)
        return answer

    def _say(self, words: str) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"[dim]{seconds:5.1f} s[/]  {words}", highlight=False)


async def _is_final(phone: FleetPhoneProcess) -> bool:
    return not (await phone.ask("look", id=HELGOLAND))["is_provisional"]


async def tell(console: Console, fleet: DevFleet, folder: Path, *, limit: int) -> bool:
    """Tell the story within its time; SIGTERM ends it tidily."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(SECONDS_MAX):
        return await FleetDemo(console, fleet, limit=limit).run(folder)


def play(console: Console, *, limit: int) -> bool:
    """Start the fleet in a folder of its own, tell the story, and stop everything."""
    with (
        tempfile.TemporaryDirectory(prefix="skerry-fleet-") as name,
        DevFleet(
            HERE / "app.py",
            Path(name) / "nodes",
            REGIONS,
            settings={"log_level": "warning", "drain_s": "2"},
            ends_with_parent=True,
        ) as fleet,
    ):
        try:
            return asyncio.run(tell(console, fleet, Path(name), limit=limit))
        except (EOFError, RuntimeError, TimeoutError, Unavailable, httpx.HTTPError):
            for node in fleet.nodes:
                console.print(f"[bold]The log of {node.name} ends:[/]")
                console.print(node.log_tail(), markup=False, highlight=False)
            raise


def main() -> None:
    """Read the command line, run, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--airports", type=int, default=AIRPORTS, help="how many")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # while the nodes start
    try:
        is_well = play(console, limit=arguments.airports)
    except (EOFError, RuntimeError, TimeoutError, Unavailable, httpx.HTTPError) as trouble:
        console.print(f"[bold red]The demonstration broke off[/]: {trouble!r}", soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    if is_well:
        console.print("[bold green]Four phones, both regions and the primary are equal.[/]")
    else:
        console.print("[bold red]Something differs, or did not end as it should.[/]")
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
