"""`skerry explain`: which rule lets one person do one thing to one row, or keeps it out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge.cli.control import ask_node, require_running
from edge.cli.failure import CommandError
from edge.cli.lines import print_lines
from edge.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable


def explain(
    actor: str,
    operation: Literal["read", "insert", "edit", "delete", "restore"],
    row: str,
    /,
    *,
    space: str | None = None,
    field: list[str] | None = None,
    tenant: str = "main",
    data: Path | None = None,
) -> None:
    """Print each question that is asked about an operation, and the verdict; nothing is written.

    A node must be running.

    Parameters
    ----------
    actor
        The person who would do it.
    operation
        What would be done.
    row
        The row it would be done to, as COLLECTION/ROW.
    space
        The space of a row that is to be inserted.
    field
        A field that would be written, as NAME=JSON, with the payload that a device would send;
        may be given several times.
    tenant
        The row's tenant.
    data
        The node's data folder.
    """
    collection, slash, name = row.partition("/")
    if not slash:
        raise CommandError(f"{row!r} is not a row: write COLLECTION/ROW")
    settings = read_settings(os.environ, data=data)
    body = {
        "person": actor,
        "operation": operation,
        "collection": collection,
        "row": name,
        "space": space,
        "fields": _payloads(field or []),
    }
    require_running(settings)
    answer = ask_node(settings, "POST", "/v1/admin/explain", tenant=tenant, body=body)
    print_lines((step["outcome"], step["rule"], step["message"]) for step in answer["steps"])
    if answer["allowed"]:
        print_lines([("verdict", "allowed")])
    else:
        print_lines([("verdict", "denied", answer["code"], answer["message"])])


def _payloads(pairs: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            found[name] = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise CommandError(f"{pair!r} is not NAME=JSON: {error}") from None
        if not name or not equals:
            raise CommandError(f"{pair!r} is not NAME=JSON")
    return found
