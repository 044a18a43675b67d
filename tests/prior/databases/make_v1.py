"""Write v1.sql: what a node of format 1 leaves behind. It was run once; v1.sql is never rewritten.

`python -m tests.prior.databases.make_v1` refuses to overwrite it.
"""

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec

from tests.edge.services.harness import delete, edit, insert, running
from tests.prior.databases.app_v1 import make_app

HERE = Path(__file__).parent
DUMP = HERE / "v1.sql"
PUSHED = HERE / "v1-last-push.json"


async def fill(folder: Path) -> bytes:
    """Write rows of every kind, a conflict, a rejection, a quarantine, a tombstone, a cascade."""
    async with running(folder, make_app()) as node:
        ann, bob = await node.device("ann"), await node.device("bob")
        await ann.push(
            insert(
                "place", "p1", name="Foula", length=457.0, lit=True, found_by="ann", best=7,
                position={"lat": 60.125, "lon": -2.0}, status="sent", starred={"on": True},
                tags={"add": ["grass", "wet \U0001f327"]}, remarks={"value": "short"},
                labels={"set": {"rwy": 6}}, visits={"add": 3}, stock={"add": 5},
            )
        )  # fmt: skip
        await bob.pull()
        base = bob.versions("place", "p1")
        await ann.push(edit("place", "p1", base=base, name="Foula (UK)", length=0.1 + 0.2))
        node.clock.now_ms += 10
        await bob.push(edit("place", "p1", base=base, name="Fugl\u00f8y", stock={"use": 2}))
        await ann.push(insert("place", "p2", name="gone"))
        await ann.push(delete("place", "p2"))
        await ann.push(insert("folder", "f1", name="a"), insert("folder", "f2", parent="f1"))
        await ann.push(insert("note", "n1", folder="f2"))
        await ann.push(delete("folder", "f2"))
        await ann.push(insert("folder", "f3", name="a"))
        await ann.push(edit("place", "p1", best=-5))
        last = ann.mutation(edit("place", "p1", visits={"add": 4}))
        await ann.send(last)
        return msgspec.json.encode({"device": ann.number, "mutation": last})


def main() -> int:
    """Make the dump, unless it is there."""
    if DUMP.exists():
        print(f"{DUMP.name} is kept as it is")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        PUSHED.write_bytes(asyncio.run(fill(Path(folder))))
        with closing(sqlite3.connect(Path(folder) / "main.db")) as connection:
            DUMP.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
