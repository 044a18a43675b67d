"""A state machine over two phones and a server: view == fold(confirmed, queue), always."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)  # fmt: skip

from core.errors import FieldError, Refusal
from skerry_client import Add, Append, Reopen, Reset, Resolve, RowMissing, Skerry, Use
from skerry_client.link import LinkLost
from sync_protocol.messages.provisional import ProvisionalMutation
from tests.clients.python.fake_server import FakeServer
from tests.clients.python.links import check, sync
from tests.clients.python.survey import NORTH, SOUTH, Airfield, Clock, entropy, survey

ELEMENTS = st.sampled_from(["a", "b"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["", "a", "A", "ü"]),
        "order": st.sampled_from([0, 1]),
        "position": st.just({"lat": 1.0, "lon": -0.0}),
        "status": st.sampled_from(["unseen", "visited", Reopen("unseen")]),
        "visits": st.sampled_from([Add(1), Add(-2), Reset()]),
        "spares": st.sampled_from([Add(2), Use(1)]),
        "tags": st.sets(ELEMENTS),
        "remarks": ELEMENTS.map(Resolve),
        "is_open": st.booleans(),
        "sizes": st.dictionaries(ELEMENTS, st.integers(0, 2)),
        "log": ELEMENTS.map(Append),
        "story": ELEMENTS,
    },
)
PHONES = st.integers(0, 1)
TROUBLE = st.sampled_from([(None, 0), ("push", 0), ("push", 1), ("pull", 0), ("pull", 1)])


class Phones(RuleBasedStateMachine):
    rows = Bundle("rows")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.app = survey()
        self.server = FakeServer(self.app, [NORTH, SOUTH])
        self.clocks = [Clock(), Clock()]
        self.opened = 0
        self.phones = [self.open(0), self.open(1)]
        self.accepted = 0
        self.copied = None
        self.databases = 0

    def path(self, number):
        return self.folder / f"{number}.db"

    def open(self, number):
        self.opened += 1
        return Skerry(
            self.path(number), self.app, now_unix_ms=self.clocks[number],
            entropy=entropy(self.opened),
        )  # fmt: skip

    @initialize(target=rows)
    def first(self):
        return self.phones[0].insert(Airfield, space=NORTH, id="first")

    @rule(target=rows, phone=PHONES, space=st.sampled_from([NORTH, SOUTH]), fields=FIELDS)
    def insert(self, phone, space, fields):
        fields = {name: value for name, value in fields.items() if name not in ("visits", "spares")}
        return self.phones[phone].insert(Airfield, space=space, **fields)

    @rule(phone=PHONES, row=rows, fields=FIELDS)
    def edit(self, phone, row, fields):
        with suppress(RowMissing, Refusal, FieldError):
            self.phones[phone].edit(Airfield, row, **fields)

    @rule(phone=PHONES, row=rows, verb=st.sampled_from(["delete", "restore"]))
    def bury(self, phone, row, verb):
        with suppress(RowMissing):
            getattr(self.phones[phone], verb)(Airfield, row)

    @rule(phone=PHONES, trouble=TROUBLE, rows_max=st.sampled_from([1, 2, 100]))
    def sync(self, phone, trouble, rows_max):
        kind, after = trouble

        def lose(message, when):
            if message.__struct_config__.tag == kind and when == ("after" if after else "before"):
                raise LinkLost("tunnel")

        sync(self.phones[phone].store, self.server, lose, rows_max=rows_max)

    @rule(phone=PHONES)
    def reopen(self, phone):
        self.phones[phone].store.close()
        self.phones[phone] = self.open(phone)

    @rule(phone=PHONES, jump=st.sampled_from([-(10**10), 1, 10**7]))
    def jump(self, phone, jump):
        self.clocks[phone].unix_ms += jump

    @rule(phone=PHONES)
    def reset(self, phone):
        self.phones[phone].store.reset()

    @rule(phone=PHONES)
    def become_new(self, phone):
        if self.phones[phone].store.device:
            self.phones[phone].store.become_new()

    @rule(code=st.sampled_from([None, "no"]))
    def judge(self, code):
        self.server.rejects = lambda change: code if "name" in change.fields else None

    @rule(phone=PHONES)
    def try_again(self, phone):
        for refused in self.phones[phone].rejected()[:1]:
            self.phones[phone].restore_rejected(refused.counter)

    @rule(space=st.sampled_from([SOUTH]))
    def move(self, space):
        self.server.sequence += 1
        if space in self.server.spaces:
            del self.server.spaces[space]
            self.server.lost[space] = self.server.sequence
        else:
            del self.server.lost[space]
            self.server.spaces[space] = self.server.sequence

    @rule()
    def replicate(self):
        """From here on nothing is replicated, until a node takes over with what there is now."""
        self.server.replicated = self.server.sequence
        self.copied = self.server.copied()

    @rule()
    def take_over(self):
        if self.server.replicated is not None:
            self.databases += 1
            self.server.take_over(self.copied, f"db-{self.databases}")

    @rule(shown=PHONES, count=st.integers(0, 3))
    def show(self, shown, count):
        """An edge has accepted what waits on a phone: the others are shown it."""
        author = self.phones[shown].store
        self.server.provisional = [
            ProvisionalMutation(author.device, entry.counter, entry.h, entry.mutation.changes)
            for entry in author.waiting()[:count]
        ]

    @invariant()
    def views_are_folds(self):
        for number in (0, 1):
            check(self.path(number), self.app)

    def teardown(self):
        """Quiescence: both phones equal the server, and a further round moves nothing."""
        self.server.rejects = lambda _change: None
        self.server.provisional = []
        for _ in range(2):
            for phone in self.phones:
                assert sync(phone.store, self.server).why == "live"
                assert phone.pending() == []
        self.views_are_folds()
        before = self.server.sequence
        for phone in self.phones:
            sync(phone.store, self.server)
            expected = {space: self.server.digest(space) for space in self.server.spaces}
            assert {
                space: phone.store.digests().get(space, bytes(16)) for space in expected
            } == expected
            for (_, row_id), row in self.server.rows.items():
                seen = phone.get(Airfield, row_id)
                if row.space in self.server.spaces and row.is_alive:
                    assert seen is not None
                    assert all(
                        f.value(row.fields.get(n)) == seen.read(f)
                        for n, f in Airfield.fields.items()
                    )
                else:
                    assert seen is None
        assert self.server.sequence == before
        for phone in self.phones:
            phone.store.close()
        shutil.rmtree(self.folder)


def test_views_are_folds():
    run_state_machine_as_test(Phones, settings=settings(max_examples=60, stateful_step_count=25))
