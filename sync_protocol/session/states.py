"""The states of the three machines: the client's reading, its pushes, and the server's stream."""

from __future__ import annotations

from enum import StrEnum


class ClientState(StrEnum):
    """What the client is doing about reading; pushes go on beside it."""

    OFFLINE = "offline"
    GREETING = "greeting"
    PUSHING = "pushing"
    PULLING = "pulling"
    APPLYING = "applying"
    REPAIRING = "repairing"
    WAITING = "waiting"
    LIVE = "live"
    STOPPED = "stopped"


class LaneState(StrEnum):
    """Where the client's current push stands."""

    IDLE = "idle"
    PREPARING = "preparing"
    SENT = "sent"
    WAITING = "waiting"


class ServerState(StrEnum):
    """How far a stream has come."""

    EXPECTING_HELLO = "expecting-hello"
    GREETING = "greeting"
    OPEN = "open"
    SUBSCRIBED = "subscribed"
    CLOSED = "closed"
