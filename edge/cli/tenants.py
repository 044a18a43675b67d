"""`skerry tenant create|list|suspend|resume|erase|export`: the units of isolation."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from core.ids import TenantId, require_id
from edge.cli.control import OPERATOR, ask_node, download, is_running, require_running, segment
from edge.cli.direct import on_identity
from edge.cli.failure import CommandError
from edge.cli.lines import print_lines
from edge.settings import read_settings

if TYPE_CHECKING:
    from edge.services.identity.identity import Identity
    from edge.settings import Settings

PATH = "/v1/operator/tenants"
tenants = App(name="tenant", help="Tenants: the units of isolation, each with its own database.")


@tenants.command(name="create")
def create_tenant(
    tenant: str,
    module: Path | None = None,
    /,
    *,
    region: list[str] | None = None,
    data: Path | None = None,
) -> None:
    """Make TENANT and its database; a running node serves it at once.

    Parameters
    ----------
    tenant
        The tenant's id.
    module
        The app's file; needed when no node is running.
    region
        A region whose nodes may sign for it; may be given several times. All unless given.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    name = TenantId(require_id(tenant, kind="tenant"))
    regions = region or []
    if is_running(settings):
        _ask(settings, "POST", PATH, body={"tenant": name, "regions": regions})
        return

    async def create(identity: Identity) -> None:
        await identity.tenants.create(name, regions=regions, actor=OPERATOR)

    asyncio.run(on_identity(settings, module, create))


@tenants.command(name="list")
def list_tenants(*, data: Path | None = None) -> None:
    """Print the tenants; beside a running node also their states and regions.

    Parameters
    ----------
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    if is_running(settings):
        found = _ask(settings, "GET", PATH)["tenants"]
        print_lines((t["tenant"], t["state"], ",".join(t["regions"])) for t in found)
        return
    from edge.app import existing_tenants  # noqa: PLC0415  (the framework loads late)

    print_lines((name,) for name in existing_tenants(settings))


@tenants.command(name="suspend")
def suspend_tenant(tenant: str, /, *, data: Path | None = None) -> None:
    """Let nobody but operators in to TENANT until it is resumed; a node must be running.

    Parameters
    ----------
    tenant
        The tenant's id.
    data
        The node's data folder.
    """
    _change_state(tenant, "suspended", data)


@tenants.command(name="resume")
def resume_tenant(tenant: str, /, *, data: Path | None = None) -> None:
    """Serve a suspended TENANT again; a node must be running.

    Parameters
    ----------
    tenant
        The tenant's id.
    data
        The node's data folder.
    """
    _change_state(tenant, "active", data)


@tenants.command(name="erase")
def erase_tenant(tenant: str, /, *, yes: bool = False, data: Path | None = None) -> None:
    """Delete everything of TENANT for ever; its name stays taken. A node must be running.

    Parameters
    ----------
    tenant
        The tenant's id.
    yes
        Needed: nothing brings a tenant back.
    data
        The node's data folder.
    """
    if not yes:
        raise CommandError(f"everything of {tenant} would be deleted for ever: confirm with --yes")
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    _ask(settings, "DELETE", f"{PATH}/{segment(tenant)}")


@tenants.command(name="export")
def export_tenant(tenant: str, file: Path, /, *, data: Path | None = None) -> None:
    """Write everything of TENANT into FILE, a zip archive; a node must be running.

    Parameters
    ----------
    tenant
        The tenant's id.
    file
        The file that is made.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    path = f"{PATH}/{segment(tenant)}/export"
    download(settings, path, file, tenant="main", is_operator=True)


def _change_state(tenant: str, state: str, data: Path | None) -> None:
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    _ask(settings, "PATCH", f"{PATH}/{segment(tenant)}", body={"state": state})


def _ask(settings: Settings, method: str, path: str, *, body: object = None) -> Any:  # noqa: ANN401
    # An operator's token names a tenant as every token does; which one does not matter.
    return ask_node(settings, method, path, tenant="main", body=body, is_operator=True)
