"""A phone that reads its first rows and is killed at a given moment; run by test_filling."""

import os
import signal
import sys
from pathlib import Path

from skerry_client import Skerry
from skerry_client.store.filling import Filling
from skerry_client.store.store import Store
from sync_protocol.messages.pull import Pull
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import sync
from tests.clients.python.survey import NORTH, Clock, Note, entropy, survey

ROWS = 20
ROWS_PER_PAGE = 4


def server_with_notes(folder):
    """Return a server whose rows are the same in every process."""
    app = survey()
    server = FakeServer(app, [NORTH])
    author = Skerry(Path(folder) / "author.db", app, now_unix_ms=Clock(), entropy=entropy(7))
    for number in range(ROWS):
        author.insert(Note, space=NORTH, id=f"row-{number}", text=str(number))
    sync(author.store, server)
    author.store.close()
    return server


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    path, folder, moment = sys.argv[1:]
    server = server_with_notes(folder)
    phone = Skerry(path, survey())
    pulls = []

    def trouble(message, when):
        if isinstance(message, Pull) and when == "after":
            pulls.append(message)
            if moment == "asked" and len(pulls) == 3:
                die()

    stage, move = Store.stage, Filling.move

    def stage_and_die(self, page):
        count = stage(self, page)
        if len(pulls) == 4:
            die()
        return count

    def move_and_die(self):
        count = move(self)
        die()
        return count

    if moment == "kept":
        Store.stage = stage_and_die
    if moment == "moved":
        Filling.move = move_and_die
    sync(phone.store, server, trouble=trouble, rows_max=ROWS_PER_PAGE)


if __name__ == "__main__":
    main()
