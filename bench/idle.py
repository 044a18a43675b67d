"""Idle: what a node costs that has nothing to do, and how soon it answers after its start."""

from __future__ import annotations

import time
from statistics import median

from bench.figure import Figure
from bench.node_process import NodeProcess, data_folder


def measure(*, quick: bool) -> list[Figure]:
    resident_mib: list[float] = []
    start_s: list[float] = []
    for _ in range(1 if quick else 5):
        with data_folder() as folder, NodeProcess(folder) as node:
            start_s.append(node.start_seconds)
            time.sleep(0.1 if quick else 1)
            resident_mib.append(node.resident_mib())
    return [
        Figure(name="idle", value=median(resident_mib), unit="MiB", at_most=90),
        Figure(name="idle.start", value=median(start_s), unit="s", at_most=1.5),
    ]
