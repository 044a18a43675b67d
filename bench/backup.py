"""Backup: how long a consistent copy takes, and what it costs the pushes that go on meanwhile.

A second process copies the database again and again, which is more than any schedule does.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.child_process import ROOT, child_environment
from bench.figure import Figure, percentile

if TYPE_CHECKING:
    from collections.abc import Generator

DEVICES = 16


def measure(*, quick: bool) -> list[Figure]:
    from bench.load import Load, run_load  # noqa: PLC0415  (the copier loads nothing of it)
    from bench.node_process import NodeProcess, data_folder, database_of  # noqa: PLC0415
    from bench.phones import (  # noqa: PLC0415
        edits_in_turn,
        introduced,
        outcomes,
        prepare,
        push_requests,
        require_all_merged,
    )

    rows, count = (2_000, 320) if quick else (200_000, 4_800)
    with data_folder() as folder:
        seen = prepare(folder, rows=rows, people=2 * DEVICES)
        with NodeProcess(folder) as node:
            found: list[tuple[float, list[float]]] = []
            devices = introduced(node, 2 * DEVICES, seen)
            for turn in range(2):
                own = devices[turn * DEVICES : (turn + 1) * DEVICES]
                _, mutations = edits_in_turn(own, count)
                lanes = [
                    push_requests(device, lane, per_push=1)
                    for device, lane in zip(own, mutations, strict=True)
                ]
                with _copies(database_of(folder), folder, is_on=turn == 1) as copies_s:
                    loaded = run_load(Load(node.port, lanes, keeps_bodies=turn == 0))
                if turn == 0:
                    require_all_merged(outcomes(loaded.bodies), count)
                found.append((count / loaded.seconds, loaded.latencies_s))
            whole_s, packed_mib = asyncio.run(_back_up(folder))
        vacuum_s = _seconds_to_vacuum(database_of(folder), folder / "vacuumed.db")
        size_mib = database_of(folder).stat().st_size / (1 << 20)
    (quiet_rate, quiet), (busy_rate, busy) = found
    return [
        Figure(name="backup.copy", value=median(copies_s), unit="s", limit=vacuum_s),
        Figure(name="backup.whole", value=whole_s, unit="s"),
        Figure(name="backup.size", value=packed_mib, unit="MiB", limit=size_mib),
        Figure(
            name="backup.push_p99",
            value=percentile(busy, 0.99) * 1_000,
            unit="ms",
            limit=percentile(quiet, 0.99) * 1_000,
        ),
        Figure(name="backup.push_rate", value=busy_rate, unit="mutations/s", limit=quiet_rate),
    ]


@contextmanager
def _copies(database: Path, folder: Path, *, is_on: bool) -> Generator[list[float]]:
    """Copy in a second process until the block ends; yield a list that is filled by then."""
    seconds: list[float] = []
    if not is_on:
        yield seconds
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.backup", str(database), str(folder / "copy.db")],
        cwd=ROOT,
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield seconds
    finally:
        told, _ = process.communicate(timeout=60)
    seconds += [float(line) for line in told.split()]


def _copy_until_told(database: Path, copy: Path) -> None:
    from edge.storage.snapshot import copy_database  # noqa: PLC0415

    os.set_blocking(sys.stdin.fileno(), False)
    while sys.stdin.buffer.read(1) is None:
        started = time.perf_counter()
        copy_database(database, copy)
        print(time.perf_counter() - started, flush=True)
        copy.unlink()


async def _back_up(data: Path) -> tuple[float, float]:
    from edge.backup_wiring import build_backups, build_source  # noqa: PLC0415
    from edge.settings import Settings  # noqa: PLC0415

    settings = Settings(data=data, backup=str(data / "store"))
    backups = build_backups(settings, settings.backup, {})
    started = time.perf_counter()
    manifest = await backups.make(build_source(settings))
    seconds = time.perf_counter() - started
    return seconds, sum(file.packed_bytes for file in manifest.files) / (1 << 20)


def _seconds_to_vacuum(database: Path, copy: Path) -> float:
    """Return how long VACUUM INTO takes for the same rows: the other way to make a copy."""
    uri = f"{database.as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        started = time.perf_counter()
        connection.execute("VACUUM INTO ?", (str(copy),))
        return time.perf_counter() - started


if __name__ == "__main__":
    _copy_until_told(Path(sys.argv[1]), Path(sys.argv[2]))
