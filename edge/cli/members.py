"""`skerry member set|remove|list`: who is in a space, with which role."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from cyclopts import App

from core.ids import TenantId
from edge.cli.control import ask_node, is_running
from edge.cli.failure import CommandError
from edge.cli.module import load_app
from edge.settings import read_settings
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.services.members import Members
    from edge.settings import Settings

members = App(name="member", help="Who is in a space, with which role.")


@members.command(name="set")
def set_member(
    space: str,
    person: str,
    role: str,
    /,
    *,
    kind: str | None = None,
    tenant: str = "main",
    module: Path | None = None,
    data: Path | None = None,
) -> None:
    """Give PERSON the ROLE in SPACE; the space is made when it is new.

    Parameters
    ----------
    space
        The space's id.
    person
        The person's id.
    role
        One of the roles that the app declares for this kind of space.
    kind
        The kind of space; needed when the app declares several.
    tenant
        The tenant the space belongs to.
    module
        The app's file; needed when no node is running.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    body = {"role": role, "kind": kind}

    async def directly(found: Members, kinds: list[str]) -> None:
        if kind is None and len(kinds) != 1:
            raise CommandError(f"--kind is one of {', '.join(kinds)}")
        await found.set(space, kind or kinds[0], person, role)

    if not _through_node(settings, "PUT", _path(space, person), tenant, body):
        asyncio.run(_on_files(settings, module, tenant, directly))


@members.command(name="remove")
def remove_member(
    space: str,
    person: str,
    /,
    *,
    tenant: str = "main",
    module: Path | None = None,
    data: Path | None = None,
) -> None:
    """Take PERSON out of SPACE.

    Parameters
    ----------
    space
        The space's id.
    person
        The person's id.
    tenant
        The tenant the space belongs to.
    module
        The app's file; needed when no node is running.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)

    async def directly(found: Members, _kinds: list[str]) -> None:
        await found.remove(space, person)

    if not _through_node(settings, "DELETE", _path(space, person), tenant, None):
        asyncio.run(_on_files(settings, module, tenant, directly))


@members.command(name="list")
def list_members(
    space: str, /, *, tenant: str = "main", module: Path | None = None, data: Path | None = None
) -> None:
    """Print the members of SPACE and their roles.

    Parameters
    ----------
    space
        The space's id.
    tenant
        The tenant the space belongs to.
    module
        The app's file; needed when no node is running.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    pairs: list[tuple[str, str]] = []

    async def directly(found: Members, _kinds: list[str]) -> None:
        pairs.extend((m.person, m.role) for m in await found.list(space) if m.role is not None)

    path = f"/v1/spaces/{quote(space, safe='')}/members"
    if is_running(settings):
        answer = ask_node(settings, "GET", path, tenant=tenant)
        pairs.extend((member["person"], member["role"]) for member in answer["members"])
    else:
        asyncio.run(_on_files(settings, module, tenant, directly))
    sys.stdout.writelines(f"{person}\t{role}\n" for person, role in sorted(pairs))


def _path(space: str, person: str) -> str:
    return f"/v1/spaces/{quote(space, safe='')}/members/{quote(person, safe='')}"


def _through_node(settings: Settings, method: str, path: str, tenant: str, body: object) -> bool:
    if not is_running(settings):
        return False
    ask_node(settings, method, path, tenant=tenant, body=body)
    return True


async def _on_files(
    settings: Settings,
    module: Path | None,
    tenant: str,
    work: Callable[[Members, list[str]], Awaitable[None]],
) -> None:
    """Do the work on the files themselves, holding the folder's lock."""
    from dataclasses import replace  # noqa: PLC0415

    from edge.app import build_node  # noqa: PLC0415  (the framework loads once all else is right)
    from edge.observability import Metrics  # noqa: PLC0415

    if module is None:
        raise CommandError("no node is running on this folder: name the app's file with --module")
    app = load_app(module)
    with DataLock(settings.data):
        node = build_node(app, replace(settings, tenants=()), Metrics())
        await node.open()
        try:
            found = await node.tenant(TenantId(tenant))
            await work(found.members, list(app.spaces))
        finally:
            await node.close()
