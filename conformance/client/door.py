"""Everything that is asked of a client, in order."""

from __future__ import annotations

from collections.abc import Callable

from conformance.case import Case, Report, run_cases
from conformance.client import (
    digest_cases,
    fault_cases,
    message_cases,
    push_cases,
    read_cases,
    stream_cases,
    vector_cases,
)
from conformance.client.adapter import Adapter


def client_cases() -> list[Case[Adapter]]:
    """Return every case: first the vectors, then the behaviour."""
    vectors = vector_cases
    return [
        *vectors.clock.cases,
        *vectors.rebase.cases,
        *vectors.digest.cases,
        *vectors.rows.cases,
        *vectors.mutations.cases,
        *vectors.schema.cases,
        *vectors.faults.cases,
        *vectors.merges(),
        *message_cases.messages(),
        *message_cases.bad.cases,
        *push_cases.push.cases,
        *read_cases.read.cases,
        *digest_cases.digests.cases,
        *fault_cases.refusals.cases,
        *stream_cases.stream.cases,
    ]


async def check_client(command: str, *, only: str = "", tell: Callable[[str], None]) -> Report:
    """Start an adapter, ask it everything and end it; raises AdapterGone when it does not start."""
    adapter = Adapter(command)
    report = Report("client", tell)
    await adapter.start()
    try:
        tell(f"adapter {adapter.name or command}: {', '.join(adapter.capabilities)}")
        await run_cases(
            client_cases(), adapter, report, only=only, capabilities=adapter.capabilities
        )
    finally:
        await adapter.end()
    return report
