"""A commit that a power cut has kept is told of; a write that has failed was not made."""

import random
import sqlite3
from contextlib import contextmanager

import msgspec
import pytest

from skerry_client import Add, Skerry
from skerry_client.store import store as store_module
from skerry_client.store.database import transaction
from sync_protocol.messages.cursor import Cursor
from sync_protocol.messages.page import Checkpoint, Page
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.welcome import Welcome
from tests.edge.services.survey import make_app
from tests.history.declaration import tell_app
from tests.history.history import History
from tests.history.recorder import PhoneRecorder
from tests.history.tale import Tale


class PowerCut(BaseException):
    """The machine is gone: nobody hears how the commit has ended."""


class Phone:
    """A phone whose history is recorded, and whose file is opened again."""

    def __init__(self, path):
        self.path, self.app = path, make_app()
        self.moments = random.Random(1)
        self.history = History()
        tell_app(self.history, self.app, now_ms=0)
        self.recorder = PhoneRecorder(
            self.history, "phone", "ann", now_ms=lambda: 0, tells_intents=True
        )
        self.open()

    def open(self):
        self.skerry = Skerry(
            self.path, self.app, background=False, now_unix_ms=lambda: 1_750_000_000_000,
            entropy=self.moments.randbytes,
        )  # fmt: skip
        self.recorder.attach(self.skerry)

    def open_again(self):
        self.skerry.store.close()
        self.recorder.killed()
        self.open()

    def write(self):
        self.skerry.insert(self.app.collections["item"], space="north", visits=Add(1))

    def told(self):
        return [event["e"] for event in self.history.events]

    def tale(self):
        return Tale(self.history.events)


@pytest.fixture
def phone(tmp_path):
    phone = Phone(tmp_path / "phone.db")
    yield phone
    phone.skerry.store.close()


@contextmanager
def ending(monkeypatch, problem, *, is_kept):
    """Let the next commits end with a problem, though the file may have what they wrote."""

    @contextmanager
    def cut_off(connection):
        if is_kept:
            with transaction(connection):
                yield
            raise problem
        with transaction(connection):
            yield
            raise problem

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "transaction", cut_off)
        with pytest.raises(type(problem)):
            yield


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_write_counts_if_a_power_cut_has_kept_it(phone, monkeypatch, is_kept):
    phone.write()
    with ending(monkeypatch, PowerCut(), is_kept=is_kept):
        phone.write()
    phone.open_again()
    phone.write()
    tale = phone.tale()
    assert tale.complaints == []
    counters = [1, 2, 3] if is_kept else [1, 2]
    assert list(tale.phones["phone"].queue) == counters
    assert [claim.c for claim in tale.claims] == counters
    assert [origin.h for origin in tale.origins] == [w.h for w in phone.skerry.pending()]


def test_a_write_that_the_app_was_told_has_failed_was_not_made(phone, monkeypatch):
    """If the file has it all the same, the product is wrong, and the checks must see that."""
    with ending(monkeypatch, sqlite3.OperationalError("disk I/O error"), is_kept=True):
        phone.write()
    phone.open_again()
    assert (len(phone.skerry.pending()), phone.tale().origins) == (1, [])


def test_a_new_identity_is_told_of_if_a_power_cut_has_kept_it(phone, monkeypatch):
    phone.write()
    phone.skerry.store.greet(Welcome(1, 7, "a", 3, 1, "", 0, "reset"))
    phone.write()
    for cut_off in (
        phone.skerry.store.become_new,
        lambda: phone.skerry.store.greet(Welcome(1, 8, "a", 3, 1, "", 0, "reset")),
        lambda: phone.skerry.store.greet(Welcome(1, 7, "b", 3, 1, "", 0, "reset")),
    ):
        before = phone.told().count("renumbered")
        with ending(monkeypatch, PowerCut(), is_kept=True):
            cut_off()
        phone.open_again()
        tale = phone.tale()
        assert tale.complaints == []
        assert [claim.origin for claim in tale.phones["phone"].queue.values()] == tale.origins
        is_numbered_anew = phone.skerry.store.device != 8
        assert phone.told().count("renumbered") == before + is_numbered_anew
    assert [claim.n for claim in tale.phones["phone"].queue.values()] == [7, 7]


def test_a_new_number_leaves_nothing_behind_that_was_judged(phone, monkeypatch):
    store = phone.skerry.store
    phone.write()
    store.greet(Welcome(1, 7, "a", 3, 1, "", 0, "reset"))
    phone.write()
    store.record(Pushed(1, 5, merged=[(1, 1, 5)], replicated=5))
    read = Checkpoint(5, {})
    store.finish(Page(Cursor("a", 5), more=False, checkpoint=read, merged_through=1))
    with ending(monkeypatch, PowerCut(), is_kept=True):
        store.greet(Welcome(1, 8, "b", 3, 1, "", 0, "reset"))
    phone.open_again()
    tale = phone.tale()
    assert tale.complaints == [], "what is not numbered anew is not lost"
    assert [claim.origin for claim in tale.phones["phone"].queue.values()] == tale.origins[1:]


@pytest.mark.parametrize("is_final", [True, False])
def test_a_round_that_only_tells_what_is_judged_is_told_of(phone, is_final):
    """A refused mutation changes no row, and no sequence: from then on it need not show."""
    store = phone.skerry.store
    store.greet(Welcome(1, 7, "a", 3, 1, "", 0, "reset"))
    page = Page(Cursor("a", 3), more=False, checkpoint=Checkpoint(3, {}))
    store.finish(page)
    phone.write()
    before = phone.told().count("confirmed")
    store.finish(msgspec.structs.replace(page, merged_through=int(is_final)))
    assert phone.told().count("confirmed") == before + is_final
    told = [passed[1:] for passed in phone.tale().phones["phone"].through]
    assert told == ([(7, 1, True)] if is_final else [])


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_first_number_is_no_new_one(phone, monkeypatch, is_kept):
    phone.write()
    with ending(monkeypatch, PowerCut(), is_kept=is_kept):
        phone.skerry.store.greet(Welcome(1, 7, "a", 3, 1, "", 0, "reset"))
    phone.open_again()
    assert phone.skerry.store.device == (7 if is_kept else 0)
    assert "renumbered" not in phone.told()
    assert list(phone.tale().phones["phone"].queue) == [1]
