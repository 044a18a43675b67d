"""`skerry audit`: who did what to whose identity."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.cli.control import list_all, require_running
from edge.cli.failure import CommandError
from edge.cli.lines import moment, print_lines
from edge.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping


def audit(
    *,
    tenant: str | None = None,
    installation: bool = False,
    subject: str | None = None,
    data: Path | None = None,
) -> None:
    """Print the audit trail, oldest first: time, action, actor, subject, address, detail.

    A node must be running.

    Parameters
    ----------
    tenant
        The tenant whose trail it is; `main` unless given.
    installation
        The trail of the whole installation instead: its keys, and tenants that were erased.
    subject
        Only what was done to this person, key or tenant.
    data
        The node's data folder.
    """
    if installation and tenant is not None:
        raise CommandError("--tenant and --installation are two different trails")
    settings = read_settings(os.environ, data=data)
    require_running(settings)
    found = list_all(
        settings,
        "/v1/operator/audit" if installation else "/v1/admin/audit",
        name="entries",
        key="id",
        tenant=tenant or "main",
        query={} if subject is None or installation else {"subject": subject},
        is_operator=installation,
    )
    # The installation's trail has no query by subject; it is short.
    print_lines(_line(e) for e in found if subject is None or e["subject"] == subject)


def _line(entry: Mapping[str, Any]) -> tuple[object, ...]:
    detail = msgspec.json.encode(entry["detail"], order="sorted").decode()
    at = moment(entry["at_ms"])
    return (at, entry["action"], entry["actor"], entry["subject"], entry["address"], detail)
