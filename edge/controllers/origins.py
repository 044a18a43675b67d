"""Which web pages may call this node (Fetch standard, CORS); native apps send no Origin."""

from __future__ import annotations

from typing import Final

_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = b"authorization, content-type, content-encoding, if-match, x-request-id"
_ANSWER_HEADERS: Final = b"x-request-id, retry-after, etag"
PREFLIGHT_AGE_S: Final = 600

HeaderList = list[tuple[bytes, bytes]]


class Origins:
    """An allow-list of exact origins; credentials are tokens, so cookies are never allowed."""

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def admit(self, origin: bytes | None) -> bool:
        """Tell whether a stream may be opened: no origin (a native app), or an allowed one."""
        return origin is None or origin in self._allowed

    def answer_headers(self, origin: bytes | None) -> HeaderList:
        """Return what lets an allowed page read the answer."""
        if origin is None or origin not in self._allowed:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _ANSWER_HEADERS),
            (b"vary", b"origin"),
        ]

    def preflight_headers(self, origin: bytes | None) -> HeaderList:
        """Return what a preflight request is told; nothing for an origin that is not allowed."""
        if origin is None or origin not in self._allowed:
            return []
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
        ]
