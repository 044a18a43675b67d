"""A phone that writes and syncs until it is killed; run as a program by test_kill.

It prints each counter once its write is durable, so that the parent knows what must survive.
"""

import sys

from skerry_client import Add, Skerry
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import sync
from tests.clients.python.survey import NORTH, Airfield, Note, survey


def main():
    path, seed = sys.argv[1], int(sys.argv[2])
    app = survey()
    phone = Skerry(path, app)
    server = FakeServer(app, [NORTH])
    row = f"row-{seed}"
    phone.insert(Airfield, space=NORTH, id=row, name="killed", tags={"a"})
    step = 0
    while True:
        step += 1
        with phone.transaction() as t:
            t.edit(Airfield, row, visits=Add(1), tags={str(step % 5)})
            t.insert(Note, space=NORTH, text=str(step))
        print(phone.store.counter, flush=True)
        if seed % 2 and step % 7 == 0:
            sync(phone.store, server, rows_max=3)


if __name__ == "__main__":
    main()
