"""Saved inputs: tests/fuzz/corpus and tests/fuzz/regressions, a folder per target.

A file is named by the SHA-256 of its content, so that the same input is kept once, and one that
was changed by hand or by a checkout is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target

FOLDER: Final = Path(__file__).parent
CORPUS: Final = FOLDER / "corpus"
REGRESSIONS: Final = FOLDER / "regressions"
CORPUS_BYTES_MAX: Final = 1_000_000
"""Everybody clones it; a target needs some hundred small files."""


def name_of(content: bytes) -> str:
    """Return the name of a saved input."""
    return sha256(content).hexdigest()[:16]


def saved(folder: Path, target: Target) -> list[Path]:
    """Return a target's files, in a stable order."""
    return sorted((folder / target.name).glob("*"))


def inputs(target: Target) -> Iterator[bytes]:
    """Yield a target's seeds, regressions and saved corpus."""
    yield from target.seeds()
    for folder in (REGRESSIONS, CORPUS):
        for path in saved(folder, target):
            yield path.read_bytes()


def save(folder: Path, target: Target, content: bytes) -> Path:
    """Keep an input."""
    path = folder / target.name / name_of(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
