"""A phone that writes and syncs until it is killed; run as a program by test_kills.

It prints `durable` once each write is safe on disk, so that the parent knows what must survive.
"""

import asyncio
import sys

from skerry_client import Add, Skerry
from tests.e2e.phones import NORTH
from tests.e2e.survey import Site
from tests.e2e.survey import app as survey


async def main():
    path, url, token = sys.argv[1:]
    phone = Skerry(path, survey, url=url, token=token, background=False)
    await phone.sync()
    if phone.get(Site, "busy") is None:
        phone.insert(Site, space=NORTH, id="busy")
    print("ready", flush=True)
    rounds = asyncio.create_task(sync_for_ever(phone))
    while not rounds.done():
        phone.edit(Site, "busy", visits=Add(1))
        print("durable", flush=True)
        await asyncio.sleep(0)
    rounds.result()


async def sync_for_ever(phone):
    while True:
        await phone.sync()


if __name__ == "__main__":
    asyncio.run(main())
