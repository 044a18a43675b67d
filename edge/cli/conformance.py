"""`skerry conformance client|server|app`: hold any client or server against the sync protocol."""

from __future__ import annotations

import asyncio
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cyclopts import App

from edge.cli.failure import CommandError
from edge.cli.lines import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.case import Report

conformance = App(name="conformance", help="Hold a client or a server against the sync protocol.")


@conformance.command(name="client")
def client(
    command: str, /, *, only: str = "", strict: bool = False, json: Path | None = None
) -> None:
    """Hold a client against the golden vectors and a scripted server.

    Exits with 1 when a case has failed.

    Parameters
    ----------
    command
        What starts the client's adapter: a program that answers JSON lines on its standard input.
    only
        Ask only cases whose name holds this word.
    strict
        Count what the adapter is not able to as failed.
    json
        A file for the report.
    """
    from conformance.client.adapter import AdapterGone  # noqa: PLC0415  (no other command needs it)
    from conformance.client.door import check_client  # noqa: PLC0415

    try:
        report = asyncio.run(check_client(command, only=only, tell=_tell))
    except AdapterGone as problem:
        raise CommandError(str(problem)) from problem
    _close(report, strict=strict, json=json)


@conformance.command(name="server")
def server(
    url: str,
    /,
    *,
    token: list[str] | None = None,
    token_command: str = "",
    member_command: str = "",
    only: str = "",
    strict: bool = False,
    json: Path | None = None,
) -> None:
    """Hold a running server against the protocol, as several phones at once.

    It serves the app that `skerry conformance app` prints. Exits with 1 when a case has failed.

    Parameters
    ----------
    url
        The server's address.
    token
        PERSON=TOKEN, for conformance-ann and conformance-ben; may be given several times.
    token_command
        A command that prints a token of the person whose id is added to it.
    member_command
        A command that takes `set SPACE PERSON ROLE` and `remove SPACE PERSON`; without it the
        spaces conformance-a, with both people, and conformance-b, with Ann alone, must be there.
    only
        Ask only cases whose name holds this word.
    strict
        Count what cannot be asked as failed.
    json
        A file for the report.
    """
    from conformance.server.door import check_server  # noqa: PLC0415  (no other command needs it)
    from conformance.server.people import CommandPeople, SetUpFailed  # noqa: PLC0415

    people = CommandPeople(
        tokens=_tokens(token or ()), token_command=token_command, member_command=member_command
    )
    try:
        report = asyncio.run(check_server(url, people, only=only, tell=_tell))
    except SetUpFailed as problem:
        raise CommandError(str(problem)) from problem
    _close(report, strict=strict, json=json)


@conformance.command(name="app")
def print_app() -> None:
    """Print the app that a server serves while it is held against the protocol."""
    sys.stdout.write(files("conformance.server").joinpath("known_app.py").read_text("utf-8"))


def _tokens(given: Iterable[str]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for each in given:
        person, mark, token = each.partition("=")
        if not mark:
            raise CommandError("--token is PERSON=TOKEN")
        tokens[person] = token
    return tokens


def _tell(line: str) -> None:
    """Print one line at once; nothing that an implementation has said can steer the terminal."""
    sys.stdout.write(plain(line) + "\n")
    sys.stdout.flush()


def _close(report: Report, *, strict: bool, json: Path | None) -> None:
    if json is not None:
        body = msgspec.json.format(msgspec.json.encode(report.to_json()), indent=1)
        json.write_bytes(body + b"\n")
    _tell(report.summary())
    if not report.is_good(strict=strict):
        sys.exit(1)
