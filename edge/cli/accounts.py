"""`skerry account ...`: the accounts of a tenant, through the running node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from edge.cli.control import ask_node, download, list_all, require_running, segment
from edge.cli.failure import CommandError
from edge.cli.lines import moment, print_lines
from edge.services.session import ADMIN_SCOPE
from edge.settings import read_settings

if TYPE_CHECKING:
    from edge.settings import Settings

PATH = "/v1/admin/accounts"
accounts = App(name="account", help="The accounts of a tenant; a node must be running.")


@accounts.command(name="list")
def list_accounts(*, tenant: str = "main", data: Path | None = None) -> None:
    """Print every account: person, kind, state, scopes, name.

    Parameters
    ----------
    tenant
        The accounts' tenant.
    data
        The node's data folder.
    """
    found = list_all(_settings(data), PATH, name="accounts", key="person", tenant=tenant)
    print_lines(
        (a["person"], a["kind"], a["state"], ",".join(a["scopes"]), a["name"]) for a in found
    )


@accounts.command
def show(person: str, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """Print the account of PERSON and its ways in.

    Parameters
    ----------
    person
        The person's id.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    found = ask_node(_settings(data), "GET", _path(person), tenant=tenant)
    print_lines((name, found[name]) for name in ("person", "tenant", "kind", "state", "name"))
    print_lines([("scopes", ",".join(found["scopes"])), ("created", moment(found["created_ms"]))])
    print_lines(
        ("credential", way["kind"], way["id"], way["subject"], way["label"], moment(way["used_ms"]))
        for way in found["credentials"]
    )


@accounts.command
def disable(person: str, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """End every session of PERSON, and let it in no more until it is enabled.

    Parameters
    ----------
    person
        The person's id.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    ask_node(_settings(data), "PATCH", _path(person), tenant=tenant, body={"state": "disabled"})


@accounts.command
def enable(person: str, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """Let a disabled PERSON in again.

    Parameters
    ----------
    person
        The person's id.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    ask_node(_settings(data), "PATCH", _path(person), tenant=tenant, body={"state": "active"})


@accounts.command
def scope(person: str, /, *, admin: bool, tenant: str = "main", data: Path | None = None) -> None:
    """Make PERSON an administrator of its tenant, or take that away.

    Parameters
    ----------
    person
        The person's id.
    admin
        Whether it is an administrator from now on.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    body = {"scopes": [ADMIN_SCOPE] if admin else []}
    ask_node(_settings(data), "PATCH", _path(person), tenant=tenant, body=body)


@accounts.command(name="sign-out")
def sign_out(person: str, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """End every session of PERSON and print how many there were.

    Parameters
    ----------
    person
        The person's id.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    path = _path(person) + "/sessions"
    print_lines([("ended", ask_node(_settings(data), "DELETE", path, tenant=tenant)["ended"])])


@accounts.command
def erase(
    person: str, /, *, yes: bool = False, tenant: str = "main", data: Path | None = None
) -> None:
    """Delete the account of PERSON and its data for ever.

    Parameters
    ----------
    person
        The person's id.
    yes
        Needed: nothing brings a person's data back.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    if not yes:
        raise CommandError(f"the data of {person} would be deleted for ever: confirm with --yes")
    ask_node(_settings(data), "DELETE", _path(person), tenant=tenant)


@accounts.command
def export(person: str, file: Path, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """Write everything kept about PERSON into FILE, a zip archive.

    Parameters
    ----------
    person
        The person's id.
    file
        The file that is made.
    tenant
        The account's tenant.
    data
        The node's data folder.
    """
    download(_settings(data), _path(person) + "/export", file, tenant=tenant)


def _path(person: str) -> str:
    return f"{PATH}/{segment(person)}"


def _settings(data: Path | None) -> Settings:
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    return settings
