"""`skerry service-token create|list|revoke`: how back ends sign in, through the running node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from edge.cli.control import ask_node, list_all, require_running, segment
from edge.cli.lines import moment, print_lines
from edge.services.session import ADMIN_SCOPE
from edge.settings import read_settings

if TYPE_CHECKING:
    from edge.settings import Settings

PATH = "/v1/admin/service-tokens"
service_tokens = App(
    name="service-token", help="How back ends sign in to a tenant; a node must be running."
)


@service_tokens.command
def create(
    name: str, /, *, admin: bool = False, tenant: str = "main", data: Path | None = None
) -> None:
    """Make a service with a token and print it; the token is shown this once.

    Parameters
    ----------
    name
        What the service is called.
    admin
        Whether it is an administrator of the tenant.
    tenant
        The service's tenant.
    data
        The node's data folder.
    """
    body = {"name": name, "scopes": [ADMIN_SCOPE] if admin else []}
    made = ask_node(_settings(data), "POST", PATH, tenant=tenant, body=body)
    print_lines((key, made[key]) for key in ("id", "person", "token"))


@service_tokens.command(name="list")
def list_service_tokens(*, tenant: str = "main", data: Path | None = None) -> None:
    """Print every service token: id, person, when it was made, name.

    Parameters
    ----------
    tenant
        The services' tenant.
    data
        The node's data folder.
    """
    found = list_all(_settings(data), PATH, name="tokens", key="id", tenant=tenant)
    print_lines((t["id"], t["person"], moment(t["created_ms"]), t["name"]) for t in found)


@service_tokens.command
def revoke(token: str, /, *, tenant: str = "main", data: Path | None = None) -> None:
    """Make the service token, and what it was exchanged for, worth nothing.

    Parameters
    ----------
    token
        The token's id, not the token itself.
    tenant
        The service's tenant.
    data
        The node's data folder.
    """
    ask_node(_settings(data), "DELETE", f"{PATH}/{segment(token)}", tenant=tenant)


def _settings(data: Path | None) -> Settings:
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    return settings
