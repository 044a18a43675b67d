"""Wiring of backups: settings, folder, store and key become the services of one process."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.gateways.litestream import Litestream, Streams, find_litestream
from edge.gateways.object_store import open_store
from edge.gateways.packing import FilePacker, read_key
from edge.identity_wiring import CONTROL_FILE, VAULT_FILE
from edge.services.backups import Backups
from edge.settings import SettingError
from edge.storage.snapshot import DataFolder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from edge.ports.backups import ObjectStore
    from edge.settings import Settings

KEY_VARIABLE: Final = "SKERRY_BACKUP_KEY"
STAGE_FOLDER: Final = "backup-stage"
TENANTS_FOLDER: Final = "tenants"
KEYS_FOLDER: Final = "keys"


def build_store(target: str, environment: Mapping[str, str]) -> ObjectStore:
    """Open the store; raises SettingError for a target that is none, Unavailable."""
    if not target:
        raise SettingError("backup (SKERRY_BACKUP): name a folder or s3://bucket/prefix")
    try:
        return open_store(target, environment)
    except ValueError as error:
        raise SettingError(f"backup (SKERRY_BACKUP): {error}") from None


def build_packer(environment: Mapping[str, str]) -> FilePacker:
    """Read the key file that SKERRY_BACKUP_KEY names, if it does; raises SettingError."""
    named = environment.get(KEY_VARIABLE, "")
    if not named:
        return FilePacker(None)
    try:
        return FilePacker(read_key(Path(named)))
    except (OSError, ValueError) as error:
        raise SettingError(f"backup key ({KEY_VARIABLE}): {named}: {error}") from None


def build_backups(settings: Settings, target: str, environment: Mapping[str, str]) -> Backups:
    """Build the backups of a store."""
    return Backups(
        build_store(target, environment),
        build_packer(environment),
        stage=settings.data / STAGE_FOLDER,
        node=settings.node,
        now_ms=lambda: time.time_ns() // 1_000_000,
        entropy=os.urandom,
    )


@asynccontextmanager
async def backing_up(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    empty_logs: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[None]:
    """Make backups as the settings say while the context lasts; the databases are open.

    With `empty_logs` and `backup_stream`, commits are streamed too. Raises SettingError and
    Unavailable.
    """
    async with AsyncExitStack() as stack:
        if settings.backup:
            backups = build_backups(settings, settings.backup, environment)
            schedule = backups.start(build_source(settings), every_s=settings.backup_every_s)
            stack.push_async_callback(schedule.close)
        if settings.backup_stream:
            if not settings.backup or empty_logs is None:
                raise SettingError(
                    "backup_stream (SKERRY_BACKUP_STREAM) needs backup, and a node by itself "
                    "with one worker"
                )
            stream = build_litestream(settings, environment, empty_logs=empty_logs)
            stack.push_async_callback(stream.close)
            await stream.start()
        yield


def build_source(settings: Settings) -> DataFolder:
    """Build what is backed up of a data folder."""
    return DataFolder(
        settings.data,
        databases=(CONTROL_FILE, VAULT_FILE),
        tenants=TENANTS_FOLDER,
        keys=KEYS_FOLDER,
    )


def build_streams(settings: Settings, target: str, environment: Mapping[str, str]) -> Streams:
    """Build the description of a folder's streams."""
    return Streams(settings.data.absolute(), target, environment)


def build_litestream(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    empty_logs: Callable[[], Awaitable[None]],
) -> Litestream:
    """Build the continuous backup; raises Unavailable when Litestream is not installed.

    `empty_logs` lets every writer checkpoint with TRUNCATE.

    Litestream cannot seal: control database and vault are streamed to a local folder only.
    """
    streams = build_streams(settings, settings.backup, environment)
    return Litestream(
        find_litestream(environment),
        streams,
        tenants=TENANTS_FOLDER,
        databases=(CONTROL_FILE, VAULT_FILE) if streams.is_local else (),
        empty_logs=empty_logs,
    )
