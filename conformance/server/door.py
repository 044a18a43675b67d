"""Everything that is asked of a server, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx

from conformance.case import Case, Report, run_cases
from conformance.server import merge_cases, push_cases, read_cases, stream_cases, wire_cases
from conformance.server.node import Node, Refused
from conformance.server.people import People, SetUpFailed
from conformance.server.raw_phone import FINGERPRINT, RawPhone

SET_UP: Final = """\
The server must serve the app that `skerry conformance app` prints, and needs
  a token for each of the people conformance-ann and conformance-ben, and either
  a command that sets and removes members of spaces, or
  the spaces conformance-a, with both as `member`, and conformance-b, with Ann alone."""


def server_cases() -> list[Case[Node]]:
    """Return every case."""
    return [
        *push_cases.push.cases,
        *read_cases.read.cases,
        *wire_cases.wire.cases,
        *merge_cases.merges(),
        *stream_cases.stream.cases,
    ]


async def check_server(
    url: str, people: People, *, only: str = "", tell: Callable[[str], None]
) -> Report:
    """Ask a running server everything; raise SetUpFailed when it is not set up for it."""
    report = Report("server", tell)
    async with Node(url, people) as node:
        try:
            welcome = await RawPhone(node).hello()
        except (httpx.HTTPError, Refused) as problem:
            raise SetUpFailed(f"{url} does not answer hello: {problem}\n{SET_UP}") from problem
        if welcome.fingerprint != FINGERPRINT:
            raise SetUpFailed(f"{url} serves another declaration ({welcome.fingerprint})\n{SET_UP}")
        tell(f"server {url}: device {welcome.device}, database {welcome.database}")
        await run_cases(server_cases(), node, report, only=only)
    return report
