"""Calls from node to node over HTTP, with TLS beyond this machine."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import httpx

from edge.errors import Unavailable
from edge.ports.fleet import NodeAnswer
from sync_protocol import limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

CONNECTIONS_MAX: Final = 64
CONNECT_S_MAX: Final = 3.0
"""A machine that is there accepts at once, from the other side of the earth too."""
KEPT_S: Final = 30.0
"""Shorter than the 75 s after which a node drops idle connections: no call meets a dead one."""
ANSWER_BYTES_MAX: Final = limits.ANSWER_BYTES_MAX + 64 * 1024


class HttpNodeCalls:
    """Implements NodeCalls; `tls` is edge.gateways.certificates.client_context's."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._has_tls = tls is not None
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=True if tls is None else tls,
                limits=httpx.Limits(
                    max_connections=CONNECTIONS_MAX,
                    max_keepalive_connections=CONNECTIONS_MAX,
                    keepalive_expiry=KEPT_S,
                ),
                retries=1,  # of connecting alone: nothing has been sent then
                trust_env=False,
            ),
            trust_env=False,
            follow_redirects=False,
        )

    async def request(
        self,
        url: str,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        deadline_s: float,
    ) -> NodeAnswer:
        """Call `target` at the node at `url`; raises Unavailable without an answer in time."""
        try:
            address = httpx.URL(url).copy_with(raw_path=target.encode("ascii"))
        except (httpx.InvalidURL, UnicodeError):
            raise Unavailable("The node's address cannot be called.") from None
        self._require_safe(address)
        timeout = httpx.Timeout(deadline_s, connect=min(deadline_s, CONNECT_S_MAX))
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._client.stream(
                    method, address, headers=list(headers), content=body, timeout=timeout
                ) as answer,
            ):
                content = await _content(answer)
        except TimeoutError:
            raise Unavailable(f"The node at {url} does not answer in time.") from None
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The node at {url} cannot be reached: {type(error).__name__} {error!s:.200}"
            ) from None
        return NodeAnswer(answer.status_code, dict(answer.headers), content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _require_safe(self, address: httpx.URL) -> None:
        if address.scheme == "https" and self._has_tls:
            return
        if address.scheme == "http" and _is_loopback(address.host):
            return
        raise Unavailable(f"Calls to {address.host} need TLS: `skerry certs` makes what it takes.")


async def _content(answer: httpx.Response) -> bytes:
    """Return an answer's bytes as they were sent, within a bound."""
    pieces = bytearray()
    async for piece in answer.aiter_raw():
        pieces += piece
        if len(pieces) > ANSWER_BYTES_MAX:
            raise Unavailable("The node's answer is too large to be passed on.")
    return bytes(pieces)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
