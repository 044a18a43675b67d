"""`skerry verify`: whether a backup, or a data folder, is what it says it is."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from edge.cli.failure import CommandError
from edge.cli.lines import print_lines
from edge.ports.backups import BackupDamaged
from edge.settings import read_settings

if TYPE_CHECKING:
    from core.schema.app import App
    from edge.settings import Settings

Finding = tuple[str, str]
"""A file of the data folder, and what is wrong with it."""
COMPARISONS_MAX: Final = 10
"""Copies of two files that are written one after the other are of one commit soon, or the node is
so busy that a quieter moment is to be chosen."""
COMPARISON_DELAY_S: Final = 0.2
EXIT_DIFFERS: Final = 1


def verify(
    module: Path | None = None,
    /,
    *,
    from_: str | None = None,
    name: str | None = None,
    data: Path | None = None,
) -> None:
    """Check a backup, or without --from the data folder, beside a running node or without one.

    Databases are checked by SQLite; with MODULE every stored digest is compared with its rows; on
    a primary the working copies are compared with the SQL server's files, row for row. Exit code 1
    when something differs.

    Parameters
    ----------
    module
        The app's file; without it digests are not compared.
    from_
        A folder, or s3://bucket/prefix, whose backup is checked.
    name
        The backup to check; the newest unless given.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data, backup=from_)
    app: App | None = None
    if module is not None:
        from edge.cli.module import load_app  # noqa: PLC0415

        app = load_app(module)
    if name is not None and from_ is None:
        raise CommandError("--name goes with --from")
    with TemporaryDirectory(prefix=".verify-", dir=_room(settings)) as folder:
        if from_ is None:
            found, checked = _check_folder(settings, Path(folder), app)
        else:
            found, checked = asyncio.run(_check_backup(settings, Path(folder), name, app))
    print_lines(found)
    if app is None:
        sys.stderr.write("skerry: digests were not compared: name the app's file (MODULE)\n")
    if found:
        sys.exit(EXIT_DIFFERS)
    print_lines([("ok", f"{checked} files")])


def _room(settings: Settings) -> Path | None:
    """Return where copies fit: beside the databases, or where the system keeps its own."""
    return settings.data if settings.data.is_dir() else None


async def _check_backup(
    settings: Settings, folder: Path, name: str | None, app: App | None
) -> tuple[list[Finding], int]:
    from edge.backup_wiring import build_backups  # noqa: PLC0415  (loads late)

    backups = build_backups(settings, settings.backup, os.environ)
    manifest = await (backups.newest() if name is None else backups.manifest(name))
    found: list[Finding] = []
    for number, file in enumerate(manifest.files):
        target = folder / str(number)
        try:
            await backups.fetch(manifest, file, target)
        except BackupDamaged as error:
            found.append((file.path, error.message))
            continue
        if file.is_database:
            is_tenant = file.tenant is not None
            found += await asyncio.to_thread(_check_copy, file.path, target, app, is_tenant)
        target.unlink()
    return found, len(manifest.files)


def _check_folder(settings: Settings, folder: Path, app: App | None) -> tuple[list[Finding], int]:
    from edge.backup_wiring import TENANTS_FOLDER, build_source  # noqa: PLC0415

    source = build_source(settings)
    found: list[Finding] = []
    files = [file for file in source.files() if file.is_database]
    if not files:
        raise CommandError(f"{settings.data} holds no database")
    for number, file in enumerate(files):
        target = folder / str(number)
        if not source.copy(file, target).has_bytes:
            continue
        is_tenant = file.path.startswith(f"{TENANTS_FOLDER}/")
        found += _check_copy(file.path, target, app, is_tenant)
        target.unlink()
        served = settings.sqld_folder / "dbs" / _namespace(file.path) / "data"
        if served.is_file():
            found += _compare(settings.data / file.path, served, folder, file.path)
    return found, len(files)


def _check_copy(path: str, copy: Path, app: App | None, is_tenant: bool) -> list[Finding]:  # noqa: FBT001
    from edge.repositories.database import tables_of  # noqa: PLC0415
    from edge.repositories.digest_check import differing_digests  # noqa: PLC0415
    from edge.storage.snapshot import facts_of, integrity_problems, read_copy  # noqa: PLC0415

    found = [(path, problem) for problem in integrity_problems(copy)]
    if found or app is None or not is_tenant:
        return found
    facts = facts_of(copy)
    if facts.app != app.name:
        return [(path, f"belongs to the app {facts.app!r}, not to {app.name!r}")]
    tables = tables_of(app)
    differing = read_copy(copy, lambda sql: differing_digests(sql, tables))
    return [(path, str(difference)) for difference in differing]


def _namespace(path: str) -> str:
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".db")
    return f"t-{stem}" if folder else stem


def _compare(working: Path, served: Path, folder: Path, path: str) -> list[Finding]:
    """Compare a working copy with the server's file at one commit, which the fence counts."""
    from edge.storage.snapshot import commits_of, copy_database, differing_tables  # noqa: PLC0415

    one, other = folder / "working", folder / "served"
    for _ in range(COMPARISONS_MAX):
        one.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
        copy_database(served, other)
        copy_database(working, one)
        if commits_of(one) == commits_of(other):
            differing = differing_tables(one, other)
            return [(path, f"differs from the SQL server's: {line}") for line in differing]
        time.sleep(COMPARISON_DELAY_S)
    return [(path, "was never level with the SQL server's file: verify at a quieter time")]
