"""Names of the transport: paths, WebSocket subprotocols, close codes."""

from __future__ import annotations

from typing import Final

from sync_protocol.media import Media

SYNC_PATH: Final = "/v1/sync"
"""POST below it: /hello, /push, /pull, /repair, each taking and giving one message."""
STREAM_PATH: Final = "/v1/sync/stream"
SUBPROTOCOLS: Final = {"skerry.v1.msgpack": Media.MSGPACK, "skerry.v1.json": Media.JSON}
"""What a stream speaks, by the WebSocket subprotocol that was agreed on."""
BEARER_SUBPROTOCOL: Final = "bearer."
"""Browsers cannot send an Authorization header: they offer this followed by the access token."""
