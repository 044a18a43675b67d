"""Faults of a client, planted in ours: each names the case that has to find it.

A fault is a function of pytest's `monkeypatch`.
"""

import dataclasses

import msgspec

from core.crdt.field import Register
from core.ids import INTEGER_MAX
from skerry_client import driver
from skerry_client.conformance.functions import FUNCTIONS
from skerry_client.driver import Driver
from skerry_client.store import confirmed
from skerry_client.store.queue import Queue
from skerry_client.store.rounds import Rounds
from skerry_client.store.store import Store
from sync_protocol.digest import ZERO
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import WireMutation
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repaired import Repaired
from sync_protocol.session import events as on
from sync_protocol.session.client import ClientSession

REPLACE = msgspec.structs.replace
BUGS = {}


def finds(case):
    """Register a fault under the case that has to find it."""

    def added(plant):
        BUGS[plant.__name__] = (case, plant)
        return plant

    return added


def heard(monkeypatch, kind, change):
    """Let the session hear something else than the server said."""
    original = ClientSession.handle

    def handle(self, event):
        if isinstance(event, on.Received) and isinstance(event.message, kind):
            event = on.Received(change(self, event.message))
        return original(self, event)

    monkeypatch.setattr(ClientSession, "handle", handle)


def resent(monkeypatch, change):
    """Change mutations that are sent for the second time."""
    original, sent = Driver._push, set()

    def push(self, effect):
        ready = original(self, effect)
        if ready.push is None:
            return ready
        mutations = [msgspec.msgpack.decode(m, type=WireMutation) for m in ready.push.mutations]
        again = [change(m) if m.counter in sent else m for m in mutations]
        sent.update(m.counter for m in mutations)
        ready.push.mutations = [msgspec.Raw(msgspec.msgpack.encode(m)) for m in again]
        return ready

    monkeypatch.setattr(Driver, "_push", push)


@finds("push/accepted")
def accepted_is_taken_for_final(monkeypatch):
    original = Queue.judge

    def judge(self, receipt, **arguments):
        if receipt.outcome == "accepted":
            receipt = REPLACE(receipt, outcome="merged")
        original(self, receipt, **arguments)

    monkeypatch.setattr(Queue, "judge", judge)


@finds("push/lost-answer")
def resends_have_new_counters(monkeypatch):
    resent(monkeypatch, lambda m: REPLACE(m, counter=m.counter + 2))


@finds("push/lost-answer")
def resends_have_new_stamps(monkeypatch):
    resent(monkeypatch, lambda m: REPLACE(m, h=m.h + 1))


@finds("push/rejected")
def rejected_mutations_stay_in_the_queue(monkeypatch):
    original = Queue.judge

    def judge(self, receipt, **arguments):
        if receipt.outcome != "rejected":
            original(self, receipt, **arguments)

    monkeypatch.setattr(Queue, "judge", judge)


@finds("push/clone")
def clones_stay_who_they_are(monkeypatch):
    monkeypatch.setattr(Store, "become_new", lambda _self, *_lost: None)


@finds("push/another-database")
def any_primary_is_believed(monkeypatch):
    heard(monkeypatch, Pushed, lambda _session, message: REPLACE(message, database=""))


@finds("push/retained")
def receipts_alone_empty_the_queue(monkeypatch):
    original = Queue.prune

    def prune(self, sequence, *, replicated, judged):
        largest = max(replicated, judged, INTEGER_MAX)
        original(self, sequence, replicated=largest, judged=largest)

    monkeypatch.setattr(Queue, "prune", prune)


@finds("read/half-a-round")
def half_a_round_is_shown(monkeypatch):
    original = Rounds.stage

    def stage(self, page):
        count = original(self, page)
        self._apply_spaces(page.spaces)
        return count

    monkeypatch.setattr(Rounds, "stage", stage)


@finds("read/half-a-round")
def the_cursor_moves_with_every_page(monkeypatch):
    original = Rounds.stage

    def stage(self, page):
        count = original(self, page)
        moved = REPLACE(page.cursor, sequence=page.cursor.backfill.after, backfill=None)
        self._meta.put_cursor("cursor", moved)
        return count

    monkeypatch.setattr(Rounds, "stage", stage)


@finds("read/lost")
def lost_spaces_are_kept(monkeypatch):
    original = Rounds._drop
    monkeypatch.setattr(Rounds, "_drop", lambda self, page: original(self, REPLACE(page, lost=[])))


@finds("read/reset-page")
def a_reset_empties_the_queue(monkeypatch):
    def rows_dropped(self):
        self._connection.execute("DELETE FROM _mutation_queue")

    monkeypatch.setattr(Queue, "rows_dropped", rows_dropped)


@finds("read/read-your-writes")
def own_writes_are_not_waited_for(monkeypatch):
    original = ClientSession.ask

    def ask(self, message):
        original(self, REPLACE(message, wait_for=0) if isinstance(message, Pull) else message)

    monkeypatch.setattr(ClientSession, "ask", ask)


@finds("read/stale")
def stale_pages_count(monkeypatch):
    heard(monkeypatch, Page, lambda _session, page: REPLACE(page, stale=False))


@finds("repair/none-needed")
def digests_are_summed_wrongly(monkeypatch):
    original = confirmed.row_digest
    monkeypatch.setattr(confirmed, "row_digest", lambda row: original(row) ^ 1)


@finds("repair/damaged-bucket")
def bucket_digests_are_not_told(monkeypatch):
    monkeypatch.setattr(
        Store, "bucket_digests", lambda self, _space: {n: [ZERO] * 16 for n in self.app.collections}
    )


@finds("repair/foreign-row")
def damaged_buckets_keep_their_rows(monkeypatch):
    heard(monkeypatch, Repaired, lambda _session, repaired: REPLACE(repaired, damaged=[]))


@finds("refusals/push-later")
def hints_are_ignored(monkeypatch):
    original = Driver._retry
    monkeypatch.setattr(
        Driver, "_retry", lambda self, effect: original(
            self, dataclasses.replace(effect, after_ms=0)
        )
    )  # fmt: skip


@finds("refusals/no-hot-loop")
def retries_are_hot(monkeypatch):
    monkeypatch.setattr(driver, "PATIENCE", 100)
    monkeypatch.setattr(driver, "backoff_ms", lambda _attempt, _jitter: 0)


@finds("stream/gap")
def pokes_are_applied_over_gaps(monkeypatch):
    heard(
        monkeypatch,
        Poke,
        lambda session, poke: REPLACE(poke, since=min(poke.since, session.sequence)),
    )


@finds("stream/outcome-by-news")
def news_of_outcomes_are_not_heard(monkeypatch):
    heard(monkeypatch, Poke, lambda _session, poke: REPLACE(poke, merged_through=0))


@finds("merge/ties-of-registers")
def ties_go_to_the_smaller_device(monkeypatch):
    def merge(_self, left, right):
        if left is None or right is None:
            return right if left is None else left
        return right if (right[0], -right[1]) > (left[0], -left[1]) else left

    monkeypatch.setattr(Register, "merge", merge)


@finds("digest/row")
def digests_have_other_bytes(monkeypatch):
    monkeypatch.setitem(FUNCTIONS, "digest.row", lambda *, canonical: canonical[:32])


@finds("faults/backoff")
def delays_have_no_jitter(monkeypatch):
    def backoff(*, attempt, jitter):
        return min(60_000, 500 << attempt) if jitter else 0

    monkeypatch.setitem(FUNCTIONS, "fault.backoff", backoff)


@finds("messages/push-json")
def defaults_are_written(monkeypatch):
    original = FUNCTIONS["message.encode"]

    def encode(*, media, side, message):
        text = str(original(media=media, side=side, message=message))
        return text.replace("{", '{"op":"edit",', 1)

    monkeypatch.setitem(FUNCTIONS, "message.encode", encode)


@finds("clock/ticks")
def the_clock_follows_the_wall(monkeypatch):
    monkeypatch.setitem(
        FUNCTIONS, "clock.ticks", lambda *, steps: [s.get("now_unix_ms", 0) << 12 for s in steps]
    )
