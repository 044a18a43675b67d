"""Archives as answers, and erasures that span the tenant's database and the control database."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final

from litestar.response import Stream

from core.ids import PersonId

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import BinaryIO

    from core.ids import TenantId
    from edge.services.identity.identity import Identity
    from edge.services.node import Node

CHUNK_BYTES: Final = 256 * 1024
ARCHIVES_AT_ONCE_MAX: Final = 2
"""Each reads a whole tenant: more at once would take the readers from the phones."""
HEADERS: Final = {
    "cache-control": "no-store",
    "content-disposition": 'attachment; filename="skerry-export.zip"',
}


class Exports:
    """Writes archives to a temporary file and streams them; erases people."""

    def __init__(self, node: Node, identity: Identity) -> None:
        self._node = node
        self._identity = identity
        self._turn = asyncio.Semaphore(ARCHIVES_AT_ONCE_MAX)

    async def archive(
        self, tenant: TenantId, person: PersonId | None, *, actor: str, address: str
    ) -> Any:  # noqa: ANN401  (a streamed response)
        """Answer with everything kept of a tenant, or of one person; raises NotFound."""
        opened = await self._node.tenant(tenant)
        async with self._turn:
            extra = await self._identity.people.control_entries(
                tenant, person, actor=actor, address=address
            )
            file = await asyncio.to_thread(TemporaryFile)
            try:
                await opened.archive.export(file, extra, person=person)
            except BaseException:
                file.close()
                raise
        return Stream(_chunks(file), media_type="application/zip", headers=HEADERS)

    async def erase_person(
        self, tenant: TenantId, person: PersonId, *, actor: str, address: str
    ) -> None:
        """Erase a person in both databases; raises NotFound. It can be called again after a crash.

        The tenant's database goes first, so that an account remains to ask again with.
        """
        opened = await self._node.tenant(tenant)
        profile = await self._identity.accounts.profile(tenant, person)
        emails = [way.subject for way in profile.credentials if way.kind == "email"]
        await opened.archive.erase_person(person, emails=emails)
        await self._identity.people.erase(tenant, person, actor=actor, address=address)
        # Whatever a token still good for a moment has written meanwhile goes too.
        await opened.archive.erase_person(person, emails=emails)


async def _chunks(file: BinaryIO) -> AsyncGenerator[bytes]:
    try:
        await asyncio.to_thread(file.seek, 0)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
