"""The end of a run: what everybody holds is added to its history, and the history is judged."""

import time
from collections import Counter

from sync_protocol.digest import ZERO
from tests.faults import database_files
from tests.faults.busy_phone import now_ms
from tests.faults.survey import app
from tests.history.checker import check
from tests.history.server import ServerRecorder

EQUAL_SECONDS_MAX = 30
"""Replicas are level within milliseconds; a busy machine takes longer to look."""
POLL_S = 0.05


def tell_end(run):
    """Have everybody tell what they hold, and do one more round; returns what can be seen at once.

    All copies of the databases must be the same, which the history does not show.
    """
    run.add("quiet")
    found = _full_outboxes(run)
    digests = run.phones.ask("final")
    found += _unequal_copies(run) + _unequal_digests(run, digests)
    leader = run.fleet.leader
    tenant, _ = run.fleet.copies()
    for copy, path in tenant.items():
        recorder = ServerRecorder(run.tale, copy, path, app, now_ms=now_ms)
        is_leader = copy.split()[0] == leader
        recorder.look(role="primary" if is_leader else "edge", full=True)
        if path == next(iter(tenant.values())):
            recorder.outcomes()
        recorder.close()
    run.phones.ask("again")
    run.phones.stop(is_kind=False)
    return found


def judged(events):
    """Return what the checker finds wrong, as texts, and what it has looked at, by how often."""
    report = check(events)
    found = [str(violation) for violation in report.violations]
    found += [f"{name}: and {count} more" for name, count in sorted(report.more.items())]
    return [*found, *taken_for_copies(events)], report.statistics


def taken_for_copies(events):
    """Return the phones that have become another installation although nobody has copied them."""
    installation, copied, found = {}, set(), []
    for event in events:
        phone = event.get("p", "")
        if event["e"] == "opened" and event["from"]:
            copied |= {phone, event["from"].partition(":")[2]}
        if event["e"] not in {"opened", "renumbered"}:
            continue
        before = installation.get(phone, event["i"])
        installation[phone] = event["i"]
        if before != event["i"] and phone not in copied:
            found.append(f"{phone} was taken for a copy: {before} has become {event['i']}")
    return found


def counted(events):
    """Return what phones wrote and were told, by how often: what a run has shown is worth this."""
    counts = Counter()
    for event in events:
        if event["e"] == "made":
            counts.update(_written(event["changes"]))
        elif event["e"] == "receipt":
            counts.update(_told(event))
        elif event["e"] == "opened" and event["from"]:
            counts["backups" if event["from"] == "backup" else "clones"] += 1
    return dict(sorted(counts.items()))


def _written(changes):
    yield "mutations"
    if len(changes) > 1:
        yield "atomic"
    for change in changes:
        yield change.get("op", "edit")
        yield from (f"wrote_{name}" for name in change.get("fields", ()))


def _told(event):
    for _ in range(event["c"], event["to"] + 1):
        yield "receipts"
        yield event["o"]
        if event["o"] == "rejected":
            yield f"refused_{event['code']}"
    yield from ("conflicts" for _ in event["conflicts"])


def _full_outboxes(run):
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while any(run.fleet.outboxes().values()):
        if time.monotonic() > deadline:
            return [f"outboxes are not empty: {run.fleet.outboxes()}"]
        time.sleep(POLL_S)
    return []


def _unequal_copies(run):
    deadline = time.monotonic() + EQUAL_SECONDS_MAX
    while True:
        found = []
        for copies in run.fleet.copies():
            contents = {n: database_files.contents(path) for n, path in copies.items()}
            found += database_files.differences(contents)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(POLL_S)


def _unequal_digests(run, finals):
    """A phone's own sums are the node's, for the spaces that it is in."""
    path = next(iter(run.fleet.copies()[0].values()))
    served = {s: d for s, d in database_files.digests(path).items() if d != ZERO.hex()}
    return [
        f"the digest of {space} on {name} is {digest}, the node's {served.get(space)}"
        for name, held in finals.items()
        for space, digest in held.items()
        if digest != served.get(space, ZERO.hex())
    ]
