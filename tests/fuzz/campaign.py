"""A campaign: libFuzzer over one target for some seconds, what it found, and the corpus it leaves.

atheris is not locked with the project's packages (docs/adr/0019-fuzzing.md): `pip install --group
fuzz` brings it. Everything runs in one child process at a time, bounded in time and memory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz import corpus, process
from tests.fuzz.shrink import shrunk
from tests.fuzz.target import Target

INPUT_SECONDS_MAX: Final = 5
"""An input takes a few milliseconds; one that takes seconds is a hang."""
MEMORY_MIB_MAX: Final = 1_024
"""The process itself has some 100 MiB."""
MERGE_SECONDS_MAX: Final = 300
ROOT: Final = corpus.FOLDER.parents[1]
_DONE: Final = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+.*$", re.MULTILINE)
_RATE: Final = re.compile(r"^stat::average_exec_per_sec:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What libFuzzer printed last, and the inputs that failed, shrunk and saved."""

    target: str
    executions: int
    executions_per_second: int
    edges: int
    features: int
    kept: int
    found: tuple[Path, ...]

    def __str__(self) -> str:
        """Format as a line of a table."""
        return (
            f"{self.target:<16} {self.executions:>9} runs {self.executions_per_second:>6}/s "
            f"{self.edges:>5} edges {self.features:>6} features {self.kept:>5} kept "
            f"{len(self.found)} found"
        )


def fuzz(target: Target, *, seconds: int, seed: int) -> Outcome:
    """Fuzz one target, save what fails, and merge what is new into the saved corpus."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, started = folder / "found", folder / "started"
        found.mkdir()
        started.mkdir()
        for content in corpus.inputs(target):
            (started / corpus.name_of(content)).write_bytes(content)
        printed = _run(
            folder,
            target,
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={target.bytes_max}",
            "-print_final_stats=1",
            str(found),
            str(started),
        )
        failed = tuple(_saved(target, path) for path in sorted(folder.glob("*-*")))
        if not failed:
            _merge(folder, target, found, started)
    return _outcome(target, printed, failed)


def _run(folder: Path, target: Target, *arguments: str) -> str:
    launcher = process.launcher_in(folder, target.name)
    command = [
        *(sys.executable, "-m", process.ARGUMENT, target.name),
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-artifact_prefix={folder}/",
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, process.LAUNCHER: str(launcher)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if "DONE" not in done.stdout and done.returncode and not list(folder.glob("*-*")):
        print(done.stdout[-4_000:])
        raise SystemExit(f"libFuzzer ended with {done.returncode}")
    return done.stdout


def _saved(target: Target, path: Path) -> Path:
    """Keep what failed; a hang or a lack of memory is kept as it is."""
    content = path.read_bytes()
    if path.name.startswith("crash"):
        content = shrunk(target, content)
    return corpus.save(corpus.REGRESSIONS, target, content)


def _merge(folder: Path, target: Target, *sources: Path) -> None:
    """Replace the saved corpus by the fewest inputs, the smallest first, that cover as much."""
    merged = folder / "merged"
    merged.mkdir()
    _run(
        folder,
        target,
        "-merge=1",
        f"-max_total_time={MERGE_SECONDS_MAX}",
        str(merged),
        *map(str, sources),
    )
    contents = [path.read_bytes() for path in merged.iterdir()]
    if contents:
        shutil.rmtree(corpus.CORPUS / target.name, ignore_errors=True)
        for content in contents:
            corpus.save(corpus.CORPUS, target, content)


def _outcome(target: Target, printed: str, found: tuple[Path, ...]) -> Outcome:
    lines = _DONE.findall(printed) or [("0", "0", "0", "0")]
    rates = _RATE.findall(printed) or ["0"]
    executions, edges, features, kept = map(int, lines[-1])
    return Outcome(target.name, executions, int(rates[-1]), edges, features, kept, found)
