"""Faults in the way in, and in what devices are fed; the tests of edge/services must notice them."""

# ruff: noqa: E501, ARG005  (a table: one fault per line)

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.clock import COUNTER_BITS, SKEW_TOLERANCE_MS, saturated
from core.compensate import Compensator
from edge.repositories import devices, digests, members, meta, receipts, rows
from edge.services.ingest import commit, ledger, prepare, waves
from tests.mutants.mutant import Mutant, NotPlanted

TESTS = Path(__file__).parents[1] / "edge" / "services"


def is_noticed(target: str) -> bool:
    """Run one test file until its first failure; tell whether there was one."""
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(TESTS / target)]
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        code = pytest.main(arguments)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise NotPlanted(f"the tests did not run: {code}")
    return code == pytest.ExitCode.TESTS_FAILED


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function by what `make` builds around it."""
    original = getattr(owner, name, None)
    if original is None:
        raise NotPlanted(f"{owner!r} has no {name}")
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def fault(name: str, target: str, owner: Any, attribute: str, make: Any) -> Mutant:
    """A mutant that wraps one function."""
    return Mutant(name, f"test_{target}.py", partial(replaced, owner, attribute, make))


def _nothing(original: Any) -> Any:
    return lambda *arguments, **named: None


def _clamped(original: Any) -> Any:
    def effective(*, h: int, skew: int, now_unix_ms: int, **rest: int) -> int:
        return min(h - skew, saturated(now_unix_ms) + (SKEW_TOLERANCE_MS << COUNTER_BITS))

    return effective


def _without(name: str, value: int) -> Callable[[Any], Any]:
    """Call the original with one argument fixed."""
    return lambda original: lambda **given: original(**{**given, name: value})


def _never_key(key: str) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def kept(self: Any, name: str, value: Any) -> None:
            if name != key or self.get(name) in (None, 0):
                original(self, name, value)

        return kept

    return make


def _no_removals(original: Any) -> Any:
    return lambda self, deltas: original(self, [d for d in deltas if d.rows >= 0])


def _without_gap(original: Any) -> Any:
    def taken(self: Any, push: Any, device: Any, record: Any) -> Any:
        if push.mutations and push.mutations[0].counter > device.counter + 1:
            return push.mutations
        return original(self, push, device, record)

    return taken


def _one_wave(original: Any) -> Any:
    def schedule(self: Any, mutations: Any) -> Any:
        found = list(mutations)
        kept = {id(item.changes): item for item in found}
        return [list(kept.values())] if len({i.changes[0].row for i in found}) == len(found) else (
            original(self, found)
        )  # fmt: skip

    return schedule


def _blind(original: Any) -> Any:
    def prepared(self: Any, *arguments: Any, **named: Any) -> Any:
        return original(self, *arguments, **named)._replace(seen=0)

    return prepared


def _everybody(original: Any) -> Any:
    return lambda self, **named: None


def _plain_index(original: Any) -> Any:
    return lambda self, collection, fields, values, space: []


# fmt: off
MUTANTS: list[Mutant] = [
    fault("repeats are merged again", "ingest", commit.GroupCommit, "_without_repeats", lambda original: lambda self, push, device, taken: push.mutations),
    fault("a gap is taken", "ingest", commit.GroupCommit, "_without_repeats", _without_gap),
    fault("clones are believed", "ingest", commit, "same_prefix", lambda original: lambda unit, n, repeated, **named: len(repeated)),
    fault("every stamp clamped alone", "ingest", commit, "effective", _clamped),
    fault("stamps not monotone per device", "ingest", commit, "effective", _without("previous", 0)),
    fault("what was seen is ignored", "ingest", commit, "effective", _without("seen", 0)),
    fault("skew is not measured", "ingest", commit, "measured_skew", lambda original: lambda **given: 0),
    fault("seen deletes are ignored", "ingest", prepare.Preparer, "_prepare_one", _blind),
    fault("receipts are not stored", "ingest", receipts.SqlReceipts, "add", _nothing),
    fault("quarantine is not kept", "ingest", receipts.SqlReceipts, "quarantine", _nothing),
    fault("the device's counter is not saved", "ingest", devices.SqlDevices, "save", _nothing),
    fault("the sequence is not stored", "ingest", meta.SqlMeta, "set", _never_key("sequence")),
    fault("the sequence does not advance", "ingest", ledger.Ledger, "next_sequence", lambda original: lambda self: self.last_sequence),
    fault("digests are not updated", "ingest", digests.SqlDigests, "add", _nothing),
    fault("digests keep deleted rows", "deletes_and_conflicts", digests.SqlDigests, "add", _no_removals),
    fault("conflicts are not logged", "deletes_and_conflicts", commit.GroupCommit, "_log", _nothing),
    fault("references and trees are not looked at", "constraints", Compensator, "needs_look", lambda original: lambda self, verdict: bool(verdict.derived)),
    fault("unique values are left to the index", "constraints", rows.SqlRows, "unique_holder", _plain_index),
    fault("a refused wave keeps its notes", "constraints", ledger.Ledger, "rewind", lambda original: lambda self, mark: setattr(self, "last_sequence", mark.last_sequence)),
    fault("one wave for everything", "constraints", waves.Scheduler, "waves", _one_wave),
    fault("referrers are not found", "constraints", rows.SqlRows, "referrers", lambda original: lambda *a, **k: []),
    fault("space heads are not touched", "pulls", members.SqlMembers, "touch_spaces", _nothing),
    fault("tombstones wait for nobody", "pulls", devices.SqlDevices, "lowest_acknowledged", _everybody),
    fault("lost spaces are not told", "pulls", members.SqlMembers, "changed", lambda original: lambda self, person, *, after: [m for m in original(self, person, after=after) if m.role]),
    fault("a page loses its last row", "pulls", rows.SqlRows, "feed", lambda original: lambda self, spaces, **k: original(self, spaces, **k)[: max(k["rows_max"] - 1, 1)] if k["rows_max"] > 3 else original(self, spaces, **k)[:-1]),
    fault("the feed leaves tombstones out", "pulls", rows.SqlRows, "feed", lambda original: lambda self, spaces, **k: [row for row in original(self, spaces, **k) if row.is_alive]),
    fault("membership changes do not reach streams", "live", members.SqlMembers, "changed_people", lambda original: lambda self, *, after: set()),
]
# fmt: on
