"""Commands against a data folder: through the running node if there is one, else directly.

Two processes never write one database: a command that finds the folder locked asks the node that
holds the lock, over HTTP, with an administrator's token it mints from the folder's own key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from core.ids import PersonId, TenantId, require_id
from edge.cli.failure import CommandError
from edge.errors import NotFound, Unavailable
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from edge.settings import Settings

OPERATOR: Final = PersonId("operator")
TOKEN_LIFETIME_S: Final = 60
REQUEST_SECONDS_MAX: Final = 30


def ask_node(
    settings: Settings, method: str, path: str, *, tenant: str, body: object = None
) -> Any:  # noqa: ANN401  (JSON)
    """Send one request to the running node; raise CommandError with what it answers."""
    import httpx  # noqa: PLC0415  (only commands beside a running node need it)

    address = DataLock(settings.data).address()
    if address is None:
        raise Unavailable("The node that uses this folder has not published its address yet.")
    token = mint(
        KeyFiles(settings.keys_folder).development_key(),
        tenant=TenantId(require_id(tenant, kind="tenant")),
        person=OPERATOR,
        is_admin=True,
        lifetime_s=TOKEN_LIFETIME_S,
        now_unix_s=int(time.time()),
    )
    try:
        answer = httpx.request(
            method,
            address + path,
            json=body,
            headers={"authorization": f"Bearer {token}"},
            timeout=REQUEST_SECONDS_MAX,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"The node at {address} does not answer: {error}") from error
    if answer.status_code == 404:  # noqa: PLR2004  (not found)
        raise NotFound(answer.json()["detail"])
    if answer.is_error:
        raise CommandError(answer.json()["detail"])
    return answer.json() if answer.content else None
