"""One libFuzzer process for one target: `python -m tests.fuzz.process TARGET [libFuzzer's own]`.

Nothing of the project is imported before atheris watches imports, for what it has not
instrumented gives it no coverage.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

INSTRUMENTED: Final = ["core", "sync_protocol", "edge", "jwt"]
LAUNCHER: Final = "SKERRY_FUZZ_LAUNCHER"
"""libFuzzer starts itself again to merge: by this script, since it takes argv[0] for a program."""
ARGUMENT: Final = "tests.fuzz.process"


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        registry = importlib.import_module("tests.fuzz.registry")
    mutation = importlib.import_module("tests.fuzz.mutation")
    target = registry.TARGETS[arguments[0]]

    def mutate(content: bytes, size_max: int, seed: int) -> bytes:
        random = Random(seed)
        if not target.is_tree or random.random() < 0.5:
            return atheris.Mutate(content, size_max)
        return mutation.mutated(content, content, random, target)[:size_max]

    launcher = os.environ.get(LAUNCHER, arguments[0])
    atheris.Setup([launcher, *arguments[1:]], target.run, custom_mutator=mutate)
    atheris.Fuzz()


def launcher_in(folder: Path, name: str) -> Path:
    """Write the script by which libFuzzer starts itself again."""
    path = folder / "fuzz"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {ARGUMENT} {name} "$@"\n')
    path.chmod(0o755)
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
