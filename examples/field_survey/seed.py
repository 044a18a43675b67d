"""Loads the airfields of the world into a running node, as a phone of the lead's would.

    python examples/field_survey/seed.py --url http://127.0.0.1:8787 --token "$TOKEN"

Nothing here is special: a phone inserts rows into its own file and syncs. The airfields are those
of the package `airportsdata` that have an ICAO code (about 28,000), in five regions.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import airportsdata
from app import Airfield, Point, app

from core.ids import is_id
from skerry_client import Skerry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airportsdata import Airport

INSERTS_PER_MUTATION = 20
"""Each mutation is one safe write to the phone's disk, and stands or falls as a whole."""
NORTH_AMERICA = frozenset({"CA", "GL", "MX", "PM", "US"})
REGIONS = {
    "Africa": "region:africa",
    "Indian": "region:africa",
    "America": "region:south-america",
    "Arctic": "region:europe",
    "Atlantic": "region:europe",
    "Europe": "region:europe",
    "Antarctica": "region:asia-pacific",
    "Asia": "region:asia-pacific",
    "Australia": "region:asia-pacific",
    "Pacific": "region:asia-pacific",
}
SPACES = ("region:north-america", *sorted(set(REGIONS.values())))


def region_of(airport: Airport) -> str:
    """Return the region an airfield belongs to, by its country and its time zone."""
    if airport["country"] in NORTH_AMERICA:
        return "region:north-america"
    return REGIONS[airport["tz"].split("/")[0]]


def airports(limit: int | None, *, first: tuple[str, ...] = ()) -> list[Airport]:
    """Return the airfields with an ICAO code: all, or `limit` of them from all over the world.

    Those named come `first`.
    """
    known = airportsdata.load("ICAO")
    codes = [code for code in known if is_id(code)]
    step = 1 if limit is None else max(1, len(codes) // max(limit, 1))
    chosen = dict.fromkeys([*first, *codes[::step]])
    return [known[code] for code in islice(chosen, limit)]


def insert_all(phone: Skerry, found: list[Airport]) -> None:
    """Insert airfields into the phone's own file, a few to a mutation."""
    for batch in _batches(found):
        with phone.transaction() as transaction:
            for airport in batch:
                transaction.insert(
                    Airfield,
                    space=region_of(airport),
                    id=airport["icao"],
                    name=airport["name"],
                    country=airport["country"],
                    elevation_ft=round(airport["elevation"]),
                    position=Point(lat=airport["lat"], lon=airport["lon"]),
                )


def _batches(found: list[Airport]) -> Iterator[list[Airport]]:
    for start in range(0, len(found), INSERTS_PER_MUTATION):
        yield found[start : start + INSERTS_PER_MUTATION]


async def seed(
    path: Path, *, url: str, token: str, limit: int | None = None, first: tuple[str, ...] = ()
) -> int:
    """Write the airfields on a phone with this file and sync it; return how many they were."""
    found = airports(limit, first=first)
    phone = Skerry(path, app, url=url, token=token, background=False)
    try:
        await phone.sync()
        insert_all(phone, found)
        status = await phone.sync()
        if status.pending or phone.rejected():
            reason = status.message or phone.rejected()[0].message
            raise RuntimeError(f"the node did not take the airfields: {reason}")
    finally:
        await phone.close()
    return len(found)


def main() -> None:
    """Read the command line and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True, help="of a lead in all five regions")
    parser.add_argument("--airports", type=int, default=None, help="all unless given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lead.db"
        count = asyncio.run(
            seed(path, url=arguments.url, token=arguments.token, limit=arguments.airports)
        )
    sys.stdout.write(f"{count:,} airfields in {len(SPACES)} regions\n")


if __name__ == "__main__":
    main()
