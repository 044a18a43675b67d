"""Processes of a measurement's own: they share neither the node's loop nor the meter's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEDIA = "application/msgpack"


def run_python(module: str, given: bytes, *, seconds_max: float) -> bytes:
    """Run a module to its end: `given` is its standard input, its standard output is returned."""
    return subprocess.run(
        [sys.executable, "-m", module],
        input=given,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=child_environment(),
        timeout=seconds_max,
        check=True,
    ).stdout


def child_environment() -> dict[str, str]:
    """Leave out settings of other nodes, and proxies: everything here is loopback."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SKERRY_") and not name.lower().endswith("_proxy")
    }
    paths = [str(ROOT), str(ROOT / "clients" / "python"), kept.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
