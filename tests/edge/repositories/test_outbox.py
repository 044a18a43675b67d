"""The outbox on a real file: what is answered is there, bounds hold, and a full disk is said."""

import asyncio
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DeclarationError
from core.ids import TenantId
from edge.errors import Overloaded, StorageFull
from edge.ports.fleet import OutboxEntry
from edge.repositories import outbox_tables
from edge.repositories.outbox import SqlOutbox
from edge.storage.grouped import GroupedEngine
from edge.storage.sqlite import SqliteEngine

ROOT = Path(__file__).parents[3]
MIB = 1024 * 1024


async def opened(folder, *, mutations_max=10_000, bytes_max=64 * MIB):
    engine = SqliteEngine(folder / "outbox.db", synchronous="FULL")
    await engine.open()
    outbox = SqlOutbox(GroupedEngine(engine), mutations_max=mutations_max, bytes_max=bytes_max)
    await outbox.open()
    return outbox


@pytest.fixture
async def outbox(tmp_path):
    made = await opened(tmp_path)
    yield made
    await made.close()


def entries(device, counters, *, tenant="main", payload=b"payload", **rest):
    values = {"schema_version": 1, "clock": 5, "principal": b"{}", "accepted_ms": 7} | rest
    return [
        OutboxEntry(
            0, TenantId(tenant), device, counter, payload=payload + str(counter).encode(), **values
        )
        for counter in counters
    ]


async def stored(outbox):
    """What is on the disk, and whether the counts that are known by heart say the same."""
    rows = await outbox._engine.read(
        lambda sql: sql.all("SELECT tenant, device, counter, length(payload) FROM ob_entry")
    )
    principals = await outbox._engine.read(
        lambda sql: sql.all("SELECT length(principal) FROM ob_push")
    )
    count, size_bytes, _ = await outbox.depth()
    assert count == len(rows)
    assert size_bytes == sum(row[3] for row in rows) + sum(row[0] for row in principals)
    keys = {row[:2] for row in rows}
    for tenant, device in keys:
        counters = [row[2] for row in rows if row[:2] == (tenant, device)]
        waiting = outbox.waiting(tenant, device)
        assert (waiting.first, waiting.last) == (min(counters), max(counters))
        assert waiting.count == len(counters)
    assert set(await outbox.heads(limit=1_000)) == keys
    for tenant in {key[0] for key in keys} | {"main"}:
        assert outbox.count_of(tenant) == sum(row[0] == tenant for row in rows)
    assert outbox._reserved == [0, 0]
    return {row[:3] for row in rows}


async def test_what_was_appended_comes_back_in_order_after_a_restart(tmp_path):
    outbox = await opened(tmp_path)
    await outbox.append(entries(3, [1, 2], principal=b"ann", clock=11, accepted_ms=100))
    await outbox.append(entries(2, [5, 6], principal=b"ben", schema_version=2, accepted_ms=200))
    await outbox.append(entries(3, [3], principal=b"ann", accepted_ms=300))
    before = [await outbox.of_device("main", 3), await outbox.recent("main", limit=9)]
    depth = await outbox.depth()
    await outbox.close()
    outbox = await opened(tmp_path)
    assert [await outbox.of_device("main", 3), await outbox.recent("main", limit=9)] == before
    assert await outbox.depth() == depth == (5, depth[1], 100)
    assert [(e.device, e.counter, e.accepted_ms) for e in before[1]] == [
        (3, 1, 100), (3, 2, 100), (2, 5, 200), (2, 6, 200), (3, 3, 300),
    ]  # fmt: skip
    positions = [entry.position for entry in before[1]]
    assert positions == sorted(set(positions))
    first = before[0][0]
    assert (
        replace(first, position=0)
        == entries(3, [1], principal=b"ann", clock=11, accepted_ms=100)[0]
    )
    assert await outbox.heads(limit=9) == [("main", 3), ("main", 2)]
    await stored(outbox)
    await outbox.close()


async def test_one_that_is_there_already_is_skipped(outbox):
    await outbox.append(entries(2, [1, 2, 5]))
    await outbox.append(entries(2, [1, 2, 3, 4, 5, 6], payload=b"other"))
    found = await outbox.of_device("main", 2)
    assert [entry.counter for entry in found] == [1, 2, 3, 4, 5, 6]
    assert [entry.payload[:5] for entry in found] == [
        b"paylo", b"paylo", b"other", b"other", b"paylo", b"other",
    ]  # fmt: skip
    await stored(outbox)


async def test_batches_are_contiguous_of_one_principal_and_version_and_bounded(outbox):
    await outbox.append(entries(2, range(1, 6)))
    await outbox.append(entries(2, range(6, 9), principal=b"new token"))
    await outbox.append(entries(2, range(9, 12), principal=b"new token", schema_version=2))
    await outbox.append(entries(2, range(20, 23), principal=b"new token", schema_version=2))
    seen = []
    while outbox.waiting("main", 2):
        batch = await outbox.batch("main", 2, mutations_max=4, bytes_max=MIB)
        seen.append([entry.counter for entry in batch])
        await outbox.settle("main", 2, batch[-1].counter)
        await stored(outbox)
    assert seen == [[1, 2, 3, 4], [5], [6, 7, 8], [9, 10, 11], [20, 21, 22]]
    await outbox.append(entries(3, range(1, 9), payload=b"x" * 99))
    sized = await outbox.batch("main", 3, mutations_max=100, bytes_max=350)
    assert [entry.counter for entry in sized] == [1, 2, 3]
    single = await outbox.batch("main", 3, mutations_max=100, bytes_max=1)
    assert [entry.counter for entry in single] == [1]
    recent = await outbox.oldest("main", limit=100, bytes_max=250)
    assert [entry.counter for entry in recent] == [1, 2]
    assert await outbox.batch("main", 9, mutations_max=4, bytes_max=MIB) == []


async def test_the_oldest_device_comes_first_also_once_part_of_it_is_settled(outbox):
    await outbox.append(entries(5, [1, 2, 3]))
    await outbox.append(entries(4, [1]))
    await outbox.append(entries(5, [4]))
    assert await outbox.heads(limit=1) == [("main", 5)]
    await outbox.settle("main", 5, 2)
    assert await outbox.heads(limit=9) == [("main", 5), ("main", 4)]
    await outbox.settle("main", 5, 3)
    assert await outbox.heads(limit=9) == [("main", 4), ("main", 5)]
    await outbox.settle("main", 4, 99)
    await outbox.settle("main", 4, 99)
    assert await stored(outbox) == {("main", 5, 4)}


async def test_bounds_are_exact_and_count_appends_under_way(tmp_path):
    outbox = await opened(tmp_path, mutations_max=10, bytes_max=MIB)
    outcomes = await asyncio.gather(
        *(outbox.append(entries(n, [1, 2, 3])) for n in range(2, 8)), return_exceptions=True
    )
    assert [type(o) for o in outcomes if o is not None] == [Overloaded] * 3
    assert len(await stored(outbox)) == 9
    await outbox.append(entries(9, [1]))
    with pytest.raises(Overloaded):
        await outbox.append(entries(9, [2]))
    await outbox.settle("main", 9, 1)
    await outbox.append(entries(9, [2]))
    await outbox.close()
    outbox = await opened(tmp_path, mutations_max=100, bytes_max=1_000)
    with pytest.raises(Overloaded):
        await outbox.append(entries(10, [1], payload=b"x" * 1_000))
    with pytest.raises(Overloaded):
        await outbox.append(entries(10, [1], principal=b"x" * 1_000))
    await stored(outbox)
    await outbox.close()


async def test_a_caller_that_goes_away_leaves_the_counts_right(outbox):
    tasks = [asyncio.create_task(outbox.append(entries(n, [1, 2]))) for n in range(2, 30)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while outbox._reserved != [0, 0]:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0.01)
    assert len(await stored(outbox)) == 56


async def test_what_is_refused_moves_aside_and_is_bounded(outbox, monkeypatch):
    monkeypatch.setattr(outbox_tables, "REFUSED_MAX", 5)
    await outbox.append(entries(2, [1, 2, 3], accepted_ms=1))
    await outbox.append(entries(3, [1, 2, 3, 4], accepted_ms=2))
    assert await outbox.refuse("main", 2, 3, reason="cloned-device", now_ms=10) == 3
    assert await outbox.refuse("main", 3, 3, reason="forbidden", now_ms=11) == 3

    async def aside():
        return await outbox._engine.read(
            lambda sql: sql.all("SELECT device, counter, reason FROM ob_refused ORDER BY id")
        )

    assert await aside() == [
        (2, 2, "cloned-device"), (2, 3, "cloned-device"),
        (3, 1, "forbidden"), (3, 2, "forbidden"), (3, 3, "forbidden"),
    ]  # fmt: skip
    assert await stored(outbox) == {("main", 3, 4)}
    later = 11 + outbox_tables.REFUSED_KEPT_MS
    monkeypatch.setattr(outbox_tables, "REFUSED_BYTES_MAX", 10)
    assert await outbox.refuse("main", 3, 4, reason="forbidden", now_ms=later) == 1
    assert await aside() == [(3, 4, "forbidden")]


async def test_a_full_disk_is_said_and_leaves_everything_as_it_was(outbox, tmp_path):
    await outbox.append(entries(2, [1, 2]))
    wal = tmp_path / "outbox.db-wal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 40_000, before[1]))
    try:
        with pytest.raises(StorageFull):
            await outbox.append(entries(2, [3], payload=b"x" * 200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await stored(outbox) == {("main", 2, 1), ("main", 2, 2)}
    await outbox.append(entries(2, [3], payload=b"x" * 200_000))
    assert len(await stored(outbox)) == 3


async def test_a_newer_program_s_outbox_is_left_alone(tmp_path, monkeypatch):
    outbox = await opened(tmp_path)
    await outbox.close()
    monkeypatch.setattr(outbox_tables, "FORMAT", 0)
    engine = SqliteEngine(tmp_path / "outbox.db", synchronous="FULL")
    await engine.open()
    with pytest.raises(DeclarationError):
        await SqlOutbox(engine, mutations_max=1, bytes_max=1).open()
    await engine.close()


APPENDER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from tests.edge.repositories import test_outbox as cases

    async def device(outbox, number):
        for first in range(1, 100_000, 3):
            await outbox.append(cases.entries(number, range(first, first + 3)))
            print(number, first + 2, flush=True)
            if first > 30:
                await outbox.settle("main", number, first - 30)

    async def main():
        outbox = await cases.opened(Path(sys.argv[1]))
        await asyncio.gather(*(device(outbox, number) for number in range(2, 7)))

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("lines", [1, 40, 200])
async def test_a_process_that_is_killed_has_kept_what_it_answered(tmp_path, lines):
    script = APPENDER.replace(
        "from tests.edge.repositories import test_outbox as cases",
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('cases', {__file__!r})\n"
        "cases = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(cases)",
    )
    child = subprocess.Popen(  # noqa: ASYNC220  (the loop has nothing else to do)
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    answered = {}
    for _ in range(lines):
        number, counter = map(int, child.stdout.readline().split())
        answered[number] = counter
    child.send_signal(signal.SIGKILL)
    for line in child.stdout:
        if line.endswith("\n"):
            number, counter = map(int, line.split())
            answered[number] = counter
    child.wait()
    child.stdout.close()
    outbox = await opened(tmp_path)
    for number, counter in answered.items():
        found = await outbox.of_device("main", number)
        counters = [entry.counter for entry in found]
        assert counters == list(range(counters[0], counters[-1] + 1))
        assert counters[-1] >= counter
        assert counters[-1] % 3 == 0
        assert counters[0] <= max(1, counter - 25)
    await stored(outbox)
    await outbox.close()
