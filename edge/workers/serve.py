"""The process that serves: one socket, one event loop, drained on SIGTERM."""

from __future__ import annotations

import gc
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import structlog

from edge.errors import Unavailable
from edge.workers.serve_lock import DataLock
from sync_protocol import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.settings import Settings

BACKLOG: Final = 2_048
COLLECTOR_THRESHOLDS: Final = (100_000, 20, 100)
KEEP_ALIVE_S: Final = 75
"""Longer than the 60 s after which load balancers drop idle connections on their side."""
ROLE_CHANGE_DRAIN_S: Final = 1
"""Phones wait for the next primary meanwhile: what is not answered within it is sent again."""
TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", 18)
"""Linux (RFC 5482): a peer that stops reading or vanishes is dropped by the kernel after this long,
with everything still buffered for it; accepted connections inherit it."""
_log = structlog.stdlib.get_logger(__name__)


class Ending:
    """How a served node ends by itself: to be started again in another role."""

    def __init__(self) -> None:
        self.is_role_changed = False
        self._server: Any = None

    def attach(self, server: Any) -> None:  # noqa: ANN401  (uvicorn loads late)
        """Tell which server is to end."""
        self._server = server

    def change_role(self) -> None:
        """End soon: streams are closed, requests get ROLE_CHANGE_DRAIN_S to finish."""
        self.is_role_changed = True
        if self._server is not None:
            self._server.config.timeout_graceful_shutdown = ROLE_CHANGE_DRAIN_S
            self._server.should_exit = True


def serve(build: Callable[[], Any], settings: Settings, ending: Ending | None = None) -> None:
    """Serve the ASGI application that `build` makes until SIGTERM or SIGINT, then drain."""
    with DataLock(settings.data) as lock, listening_socket(settings) as listener:
        address = address_of(listener)
        server = make_server(build(), settings)
        if ending is not None:
            ending.attach(server)
        lock.publish(address)
        _log.info("listening", url=address, data=str(settings.data))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, drained)
        server.run(sockets=[listener])
    if not server.started:
        raise Unavailable("The node could not start; the log says why.")


def drained(_number: int, _frame: object) -> None:
    """Let the process end by itself: uvicorn raises the signal again once it has drained."""


def calm_collector() -> None:
    """Let the garbage collector look at fewer objects, less often.

    A commit of 10,000 mutations makes hundreds of thousands of short-lived objects without cycles;
    with the default thresholds the collector took half of the writer's time (bench/push_merge.py:
    9,200 against 22,800 changes/s). What exists at start never goes away and is not looked at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def make_server(application: Any, settings: Settings) -> Any:  # noqa: ANN401  (uvicorn loads late)
    """Configure uvicorn (docs/adr/0001-asgi-server.md says why and how it compares)."""
    calm_collector()
    import uvicorn  # noqa: PLC0415  (30 ms that only serving needs)

    from edge.workers.serve_http import BoundedHttpProtocol  # noqa: PLC0415

    return uvicorn.Server(
        uvicorn.Config(
            application,
            loop="uvloop",
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            lifespan="on",
            ws_max_size=limits.MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            ws_ping_interval=settings.stream_ping_interval_s,
            ws_ping_timeout=settings.stream_ping_interval_s,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_s,
        )
    )


def listening_socket(settings: Settings) -> socket.socket:
    """Bind and listen; raise Unavailable when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        timeout_ms = settings.stream_send_timeout_s * 1_000
        listener.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unavailable(f"Cannot listen on {settings.host}:{settings.port}: {reason}.") from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the URL that the socket is reached by on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))  # noqa: S104  (compared, not bound)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
