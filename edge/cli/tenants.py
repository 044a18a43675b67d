"""`skerry tenant create|list`: the units of isolation, each with its own database."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from cyclopts import App

from core.ids import TenantId, require_id
from edge.cli.module import load_app
from edge.settings import read_settings
from edge.workers.serve_lock import DataLock

tenants = App(name="tenant", help="Tenants: the units of isolation, each with its own database.")


@tenants.command(name="create")
def create_tenant(tenant: str, module: Path, /, *, data: Path | None = None) -> None:
    """Make the database of TENANT for the app in MODULE; a running node serves it once restarted.

    Parameters
    ----------
    tenant
        The tenant's id.
    module
        A Python file with an App called `app`.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    name = TenantId(require_id(tenant, kind="tenant"))
    app = load_app(module)
    from dataclasses import replace  # noqa: PLC0415

    from edge.app import build_node  # noqa: PLC0415  (the framework loads once all else is right)
    from edge.observability import Metrics  # noqa: PLC0415

    async def create() -> None:
        node = build_node(app, replace(settings, tenants=(name,)), Metrics())
        await node.open()
        await node.close()

    with DataLock(settings.data):
        asyncio.run(create())


@tenants.command(name="list")
def list_tenants(*, data: Path | None = None) -> None:
    """Print the tenants that have a database.

    Parameters
    ----------
    data
        The node's data folder.
    """
    from edge.app import existing_tenants  # noqa: PLC0415  (the framework loads late)

    settings = read_settings(os.environ, data=data)
    sys.stdout.writelines(f"{name}\n" for name in existing_tenants(settings))
