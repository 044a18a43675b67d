"""What becomes of a data folder when its node changes its role.

Invariant
  F1  a replica never starts on the databases of a primary: they are set aside first, whole, because
      they may hold commits that no other node has
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

from core.fleet import Role
from edge.workers.role_file import RoleFile, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from edge.workers.role_file import NodeRole

STARTED: Final = "started.json"
"""The role in which the databases were last started; `role.json` is the one that is wanted."""
SET_ASIDE: Final = ("sqld", "tenants", "control.db", "control.db-wal", "control.db-shm")
"""sqld's databases, and the primary's working copies of them. The vault is never replicated, holds
nothing that a replica could read again, and stays."""
KEPT_MAX: Final = 3
"""Databases set aside are for an operator who looks for lost commits; more would fill the disk."""
_FENCED: Final = re.compile(r"fenced-(\d{1,20})-(\d{1,20})", re.ASCII)


def take_up(data: Path, role: NodeRole, *, now_ms: int) -> Path | None:
    """Make the folder ready for a role, before anything starts; returns what was set aside (F1).

    May be repeated: a power cut in the middle leaves the rest to the next call.
    """
    started = RoleFile(data, STARTED)
    last = started.read()
    aside = None
    if last is not None and last.role is Role.PRIMARY and role.role is Role.EDGE:
        aside = _set_aside(data, epoch=last.epoch, now_ms=now_ms)
    if last != role:
        started.write(role)
    for old in fenced(data)[:-KEPT_MAX]:
        shutil.rmtree(old)
    return aside


def fenced(data: Path) -> list[Path]:
    """Return the folders of databases that were set aside, oldest first."""
    found = [(match, path) for path in data.iterdir() if (match := _FENCED.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: (int(pair[0][2]), int(pair[0][1])))]


def _set_aside(data: Path, *, epoch: int, now_ms: int) -> Path | None:
    there = [data / name for name in SET_ASIDE if (data / name).exists()]
    if not there:
        return None
    target = data / f"fenced-{epoch}-{now_ms}"
    target.mkdir(mode=0o700)
    for path in there:
        path.rename(target / path.name)
    sync_folder(target)
    sync_folder(data)
    return target
