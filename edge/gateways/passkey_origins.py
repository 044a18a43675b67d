"""Which origins may use the passkeys of a relying party (Web Authentication Level 2, 5.1.2)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

ORIGINS_MAX: Final = 50
"""An app has a few web origins and a few signing keys."""
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ANDROID = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}", re.ASCII)
"""SHA-256 of an app's signing certificate, in base64url: what Android sends."""


def require_origins(rp_id: str, origins: Sequence[str]) -> None:
    """Raise ValueError unless every origin can use passkeys of `rp_id`.

    A web origin is https (or http on localhost), on the domain itself or below it. iOS apps use
    the web origin of the domain they are associated with.
    """
    if _DOMAIN.fullmatch(rp_id) is None or _is_address(rp_id):
        raise ValueError(f"The relying party id {rp_id!r:.80} is not a domain in lower case.")
    if not 0 < len(origins) <= ORIGINS_MAX:
        raise ValueError(f"Passkeys need 1 to {ORIGINS_MAX} origins.")
    for origin in origins:
        if _ANDROID.fullmatch(origin) is None and not _is_web_origin(rp_id, origin):
            raise ValueError(f"The origin {origin!r:.120} cannot use passkeys of {rp_id}.")


def _is_web_origin(rp_id: str, origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if host is None or (host != rp_id and not host.endswith(f".{rp_id}")):
        return False
    is_local = host == "localhost" or host.endswith(".localhost")
    # Browsers write an origin in one way: lower case, no default port, no path.
    written = f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
    is_default = (parts.scheme, port) in (("https", 443), ("http", 80))
    is_scheme = parts.scheme == "https" or (parts.scheme == "http" and is_local)
    return is_scheme and not is_default and written == origin


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
