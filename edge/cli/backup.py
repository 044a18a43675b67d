"""`skerry backup` and `skerry backups`: make one now, and list those there are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from edge.cli.failure import CommandError
from edge.cli.lines import moment, print_lines
from edge.settings import read_settings


def backup(*, to: str | None = None, data: Path | None = None) -> None:
    """Back up the data folder, beside a running node or without one, and print the name.

    With SKERRY_BACKUP_KEY (a key file) everything is sealed; without it only a local folder is
    taken as the target.

    Parameters
    ----------
    to
        A folder, or s3://bucket/prefix; SKERRY_BACKUP unless given.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data, backup=to)
    if not settings.data.is_dir():
        raise CommandError(f"{settings.data} is not a folder")
    from edge.backup_wiring import build_backups, build_source  # noqa: PLC0415  (loads late)

    backups_of = build_backups(settings, settings.backup, os.environ)
    manifest = asyncio.run(backups_of.make(build_source(settings)))
    packed_bytes = sum(file.packed_bytes for file in manifest.files)
    print_lines([(manifest.name, f"{len(manifest.files)} files", f"{packed_bytes} bytes")])


def backups(*, from_: str | None = None, data: Path | None = None) -> None:
    """Print the backups, oldest first: name, time, app, node, files, bytes.

    Parameters
    ----------
    from_
        A folder, or s3://bucket/prefix; SKERRY_BACKUP unless given.
    data
        The node's data folder; needed for nothing but its settings.
    """
    settings = read_settings(os.environ, data=data, backup=from_)
    from edge.backup_wiring import build_backups  # noqa: PLC0415  (loads late)

    backups_of = build_backups(settings, settings.backup, os.environ)

    async def show() -> None:
        for name in await backups_of.names():
            found = await backups_of.manifest(name)
            packed_bytes = sum(file.packed_bytes for file in found.files)
            line = (name, moment(found.made_ms), found.app, found.node)
            print_lines([(*line, len(found.files), packed_bytes)])

    asyncio.run(show())
