"""Commands against a data folder: through the running node if there is one, else directly.

Two processes never write one database: a command that finds the folder locked asks the node that
holds the lock, over HTTP, with an administrator's token it mints from the folder's own key.
"""

from __future__ import annotations

import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from core.ids import PersonId, TenantId, require_id
from edge.cli.failure import CommandError
from edge.errors import Conflict, EdgeError, Forbidden, NotFound, Unauthenticated, Unavailable
from edge.services.tokens import mint
from edge.storage.key_files import KeyFiles
from edge.workers.serve_lock import DataLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

    from edge.settings import Settings

OPERATOR: Final = PersonId("operator")
TOKEN_LIFETIME_S: Final = 60
REQUEST_SECONDS_MAX: Final = 30
ARCHIVE_SECONDS_MAX: Final = 3_600
"""The node writes the whole archive before it sends the first byte of it."""
ERROR_BYTES_MAX: Final = 64 * 1024
"""No problem document of a node is longer; what follows is not read."""
PAGE_ENTRIES: Final = 1_000
"""As many as the node gives at once."""
PAGES_MAX: Final = 1_000
"""A million lines; whoever has more asks the API."""
_PARTIAL: Final = ".partial"
_REFUSALS: Final[Mapping[int, type[EdgeError]]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


def is_running(settings: Settings) -> bool:
    """Whether a process holds the folder; a folder that is not there is not made."""
    lock = DataLock(settings.data)
    if not settings.data.is_dir():
        return False
    if lock.take():
        lock.release()
        return False
    return True


def require_running(settings: Settings) -> None:
    """Raise Unavailable unless a node runs on the folder: for what only a node can do."""
    if not is_running(settings):
        raise Unavailable(f"No node is running on {settings.data}: start one, then try again.")


def ask_node(
    settings: Settings,
    method: str,
    path: str,
    *,
    tenant: str,
    body: object = None,
    is_operator: bool = False,
) -> Any:  # noqa: ANN401  (JSON)
    """Send one request to the running node, as an administrator of a tenant.

    With `is_operator` the token has the operator's scope too. What the node refuses raises as an
    EdgeError, a request it does not understand as a CommandError, each with what it answers.
    """
    import httpx  # noqa: PLC0415  (only commands beside a running node need it)

    address = _address(settings)
    headers = _headers(settings, tenant, is_operator=is_operator)
    try:
        answer = httpx.request(
            method,
            address + path,
            json=body,
            headers=headers,
            timeout=REQUEST_SECONDS_MAX,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise Unavailable(f"The node at {address} does not answer: {error}") from error
    if answer.is_error:
        raise _refusal(answer)
    return answer.json() if answer.content else None


def list_all(
    settings: Settings,
    path: str,
    *,
    name: str,
    key: str,
    tenant: str,
    query: Mapping[str, str] | None = None,
    is_operator: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the entries of every page: an answer holds them as `name`, `key` is an entry's id."""
    after: Mapping[str, str] = {}
    for _ in range(PAGES_MAX):
        pairs = {**(query or {}), **after, "limit": str(PAGE_ENTRIES)}
        whole = f"{path}?{urlencode(pairs)}"
        entries = ask_node(settings, "GET", whole, tenant=tenant, is_operator=is_operator)[name]
        yield from entries
        if len(entries) < PAGE_ENTRIES:
            return
        after = {"after": str(entries[-1][key])}
    raise CommandError(f"there are more than {PAGES_MAX * PAGE_ENTRIES} entries: ask the API")


def download(
    settings: Settings, path: str, file: Path, *, tenant: str, is_operator: bool = False
) -> None:
    """Stream an archive of the running node into a new file that only its owner may read.

    The file appears once it is whole. Raises as `ask_node`, and CommandError when it cannot be
    written.
    """
    import httpx  # noqa: PLC0415  (only commands beside a running node need it)

    if file.exists():
        raise CommandError(f"{file} is there already")
    if not file.parent.is_dir():
        raise CommandError(f"{file.parent} is not a folder")
    address = _address(settings)
    headers = _headers(settings, tenant, is_operator=is_operator)
    partial = file.with_name(file.name + _PARTIAL)
    try:
        with httpx.stream(
            "GET", address + path, headers=headers, timeout=ARCHIVE_SECONDS_MAX, trust_env=False
        ) as answer:
            if answer.is_error:
                _read_start(answer)
                raise _refusal(answer)
            _write(answer, partial)
        partial.replace(file)
    except httpx.HTTPError as error:
        raise Unavailable(f"The node at {address} broke off: {error}") from error
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")


def _write(answer: httpx.Response, partial: Path) -> None:
    partial.unlink(missing_ok=True)  # of a command that was killed
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as target:  # noqa: PTH123  (a descriptor)
        target.writelines(answer.iter_bytes())


def _read_start(answer: httpx.Response) -> None:
    """Read an error's document, which a streamed answer does not have yet."""
    if 0 < int(answer.headers.get("content-length", 0)) <= ERROR_BYTES_MAX:
        answer.read()


def _address(settings: Settings) -> str:
    address = DataLock(settings.data).address()
    if address is None:
        raise Unavailable("The node that uses this folder has not published its address yet.")
    return address


def _headers(settings: Settings, tenant: str, *, is_operator: bool) -> dict[str, str]:
    token = mint(
        KeyFiles(settings.keys_folder).development_key(),
        tenant=TenantId(require_id(tenant, kind="tenant")),
        person=OPERATOR,
        is_admin=True,
        is_operator=is_operator,
        lifetime_s=TOKEN_LIFETIME_S,
        now_unix_s=int(time.time()),
    )
    return {"authorization": f"Bearer {token}"}


def _refusal(answer: httpx.Response) -> Exception:
    """Return what a refused request raises: exit code 1 for the node's reasons, 2 for ours."""
    try:
        message = str(answer.json()["detail"])
    except Exception:  # noqa: BLE001  (not a problem document: a proxy's page, or nothing)
        message = f"The node answers {answer.status_code}."
    kind = _REFUSALS.get(answer.status_code)
    if kind is None and answer.is_server_error:
        kind = Unavailable
    return CommandError(message) if kind is None else kind(message)
