"""`skerry token`: mint an access token with the node's own development key."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from core.ids import PersonId, TenantId, require_id
from edge.services.tokens import mint
from edge.settings import SettingError, parse_duration_s, read_settings
from edge.storage.key_files import KeyFiles


def token(
    *,
    person: str,
    tenant: str = "main",
    admin: bool = False,
    operator: bool = False,
    ttl: str = "1h",
    data: Path | None = None,
) -> None:
    """Print an access token that this node takes.

    Parameters
    ----------
    person
        Whom the token speaks for.
    tenant
        The tenant it is for.
    admin
        Whether it may manage accounts, spaces and members of the tenant.
    operator
        Whether it may manage the tenants and keys of the whole installation.
    ttl
        How long it lives, such as 90s, 15m, 12h; at most SKERRY_TOKEN_LIFETIME_S_MAX.
    data
        The node's data folder.
    """
    settings = read_settings(os.environ, data=data)
    lifetime_s = parse_duration_s(ttl)
    if not 0 < lifetime_s <= settings.token_lifetime_s_max:
        raise SettingError(f"ttl: the node takes lifetimes up to {settings.token_lifetime_s_max} s")
    minted = mint(
        KeyFiles(settings.keys_folder).development_key(),
        tenant=TenantId(require_id(tenant, kind="tenant")),
        person=PersonId(require_id(person, kind="person")),
        is_admin=admin,
        is_operator=operator,
        lifetime_s=lifetime_s,
        now_unix_s=int(time.time()),
    )
    sys.stdout.write(minted + "\n")
