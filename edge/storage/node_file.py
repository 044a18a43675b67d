"""DATA/node.json: which node of a fleet this folder belongs to, written when it joins."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "node.json"
JOINING_NAME: Final = "joining.json"
_T = TypeVar("_T", "NodeFacts", "JoiningKeys")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Who this node is, and where the primary was when it joined."""

    node: str
    region: str
    primary_url: str
    primary_grpc_url: str
    primary_node: str


@dataclass(frozen=True, slots=True)
class JoiningKeys:
    """The keys a join was begun with: whoever lost the answer asks again with the same ones."""

    token: str
    active: str
    standby: str


def read_node(data: Path) -> NodeFacts | None:
    """Return what the folder says, or None when it has never joined."""
    return _read(data / NAME, NodeFacts)


def write_node(data: Path, facts: NodeFacts) -> None:
    """Write the folder's node; the join is over."""
    _write(data / NAME, asdict(facts))
    (data / JOINING_NAME).unlink(missing_ok=True)


def read_joining(data: Path) -> JoiningKeys | None:
    """Return the keys of a join that was begun; `token` is its SHA-256 in hex."""
    return _read(data / JOINING_NAME, JoiningKeys)


def write_joining(data: Path, keys: JoiningKeys) -> None:
    """Note the keys that a join begins with."""
    _write(data / JOINING_NAME, asdict(keys))


def forget_joining(data: Path) -> None:
    """Drop the note of a join that was refused."""
    (data / JOINING_NAME).unlink(missing_ok=True)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        found = json.loads(path.read_text())
        return kind(**{field.name: str(found[field.name]) for field in fields(kind)})
    except FileNotFoundError:
        return None


def _write(path: Path, content: dict[str, str]) -> None:
    """Write a file whole or not at all, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
