"""Work on the files of a folder that no node runs on, holding the folder's lock meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.cli.failure import CommandError
from edge.cli.module import load_app
from edge.errors import NotFound
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from core.schema.app import App
    from edge.services.identity.identity import Identity
    from edge.services.identity.signing import Signing
    from edge.settings import Settings


def app_of(module: Path | None) -> App:
    """Load the app that the databases are of; raises CommandError."""
    if module is None:
        raise CommandError("no node is running on this folder: name the app's file (MODULE)")
    return load_app(module)


async def on_identity(
    settings: Settings, module: Path | None, work: Callable[[Identity], Awaitable[None]]
) -> None:
    """Open what a node opens, without making a tenant that is merely configured."""
    app = app_of(module)
    from edge.app import build_node  # noqa: PLC0415  (the framework loads once all else is right)
    from edge.identity_wiring import (  # noqa: PLC0415
        build_identity,
        build_limits,
        new_limits_secret,
        prepare_limits,
    )
    from edge.observability import Metrics  # noqa: PLC0415

    with DataLock(settings.data):
        prepare_limits(settings)
        limits = build_limits(settings, new_limits_secret())
        node = build_node(app, replace(settings, tenants=()), Metrics())
        opened = build_identity(app, settings, node, limits=limits, is_writer=True)
        try:
            await opened.open(node)
            await work(opened.identity)
        finally:
            await node.close()
            await opened.close()


async def on_keys(settings: Settings, work: Callable[[Signing], Awaitable[None]]) -> None:
    """Open the control database alone, which needs no app; raises NotFound when there is none."""
    from core.identity.keys import ANY, Authority  # noqa: PLC0415
    from edge.identity_wiring import CONTROL_FILE  # noqa: PLC0415  (gateways load slowly)
    from edge.repositories.control.database import SqlControlDatabase  # noqa: PLC0415
    from edge.services.identity.signing import Signing  # noqa: PLC0415
    from edge.services.identity.trust import Trust  # noqa: PLC0415
    from edge.services.keys import KeyRing  # noqa: PLC0415
    from edge.storage.key_files import KeyFiles  # noqa: PLC0415
    from edge.storage.sqlite import SqliteEngine  # noqa: PLC0415

    path = settings.data / CONTROL_FILE
    if not path.is_file():
        raise NotFound(f"No node has run on {settings.data} yet: there are no keys.")
    with DataLock(settings.data):
        engine = SqliteEngine(path, is_writer=True)
        control = SqlControlDatabase(engine)
        files = KeyFiles(settings.keys_folder)
        signing = Signing(
            control,
            files,
            Trust(control, KeyRing(files)),
            node=settings.node,
            authority=Authority(frozenset({settings.region or ANY})),
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        await engine.open()
        try:
            await control.migrate()
            await work(signing)
        finally:
            await control.close()
