"""The list of survivors: each fault that no test notices, with the reason why that is right."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.mutants.sources import Fault

LIST: Final = Path(__file__).parent / "survivors.toml"


class Kind(StrEnum):
    """Why no test has to notice a fault."""

    EQUIVALENT = "equivalent"
    """The changed code does the same on every input."""

    UNOBSERVABLE = "unobservable"
    """It differs in speed, memory or identity only."""

    ACCEPTED = "accepted"
    """A test could notice it, and would pin down what is nobody's promise."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """One fault that may survive."""

    file: str
    function: str
    mutation: str
    kind: Kind
    reason: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """The identity of the fault."""
        return self.file, self.function, self.mutation


def listed(path: Path = LIST) -> dict[tuple[str, str, str], Survivor]:
    """Read the list; one entry names a function and the mutations that share a reason."""
    found: dict[tuple[str, str, str], Survivor] = {}
    for entry in tomllib.loads(path.read_text("utf-8")).get("survivor", []):
        reason = entry["reason"].strip()
        if not reason:
            raise ValueError(f"a survivor of {entry['function']} has no reason")
        for mutation in entry["mutations"]:
            survivor = Survivor(
                entry["file"], entry["function"], mutation, Kind(entry["kind"]), reason
            )
            if survivor.identity in found:
                raise ValueError(f"listed twice: {survivor.identity}")
            found[survivor.identity] = survivor
    return found


def as_entries(faults: Iterable[Fault]) -> str:
    """Return faults in the form of the list, ready for a kind and a reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        grouped.setdefault((fault.file, fault.function), []).append(fault.mutation)
    entries: list[str] = []
    for (file, function), mutations in grouped.items():
        lines = "".join(f"  {_quoted(mutation)},\n" for mutation in mutations)
        entries.append(
            f'[[survivor]]\nfile = "{file}"\nfunction = "{function}"\nmutations = [\n{lines}]\n'
            'kind = ""\nreason = ""\n'
        )
    return "\n".join(entries)


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
