"""The second listener of a fleet's node, for the other nodes alone: over TLS, or on loopback."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import structlog

from edge.errors import Unavailable
from edge.settings import SettingError
from edge.workers.serve import listening_socket
from sync_protocol import limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Generator

    from edge.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def serve_internal(
    application: Any,  # noqa: ANN401
    settings: Settings,
    tls: ssl.SSLContext | None,
) -> AsyncGenerator[None]:
    """Serve an ASGI application to other nodes while the context lasts.

    Raises SettingError for a listener that strangers could reach without TLS, Unavailable when the
    address cannot be had.
    """
    import uvicorn  # noqa: PLC0415  (only serving needs it)

    from edge.workers.serve_http import BoundedHttpProtocol  # noqa: PLC0415

    if tls is None and not _is_loopback(settings.internal_host):
        raise SettingError(
            f"internal_host {settings.internal_host} is reached by others: it needs "
            "tls_ca, tls_cert and tls_key (`skerry certs` makes them)"
        )
    address = replace(settings, host=settings.internal_host, port=settings.internal_port)
    listener = listening_socket(address)

    def context(_config: object, _default: object) -> ssl.SSLContext:
        assert tls is not None, "asked for with TLS only"
        return tls

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield  # the first listener's server hears them

    server = Server(
        uvicorn.Config(
            application,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            ws_max_size=limits.MESSAGE_BYTES_MAX,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            ssl_context_factory=None if tls is None else context,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="internal-listener")
    while not server.started:
        if serving.done():
            raise Unavailable("The listener for other nodes could not start.")
        await asyncio.sleep(0.005)
    _log.info("listening-for-nodes", port=_port(listener), tls=tls is not None)
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
