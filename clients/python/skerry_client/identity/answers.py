"""What the server answers about people and their devices; members not named here are ignored."""

from __future__ import annotations

from typing import Annotated

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=30 * 86_400)]


class SignedIn(msgspec.Struct, frozen=True):
    """Both tokens; the access token lives `expires_in` seconds."""

    access_token: Text
    expires_in: Seconds
    refresh_token: Text
    session: Text
    tenant: Text
    person: Text
    kind: Text


class Access(msgspec.Struct, frozen=True):
    """An access token that lives `expires_in` seconds."""

    access_token: Text
    expires_in: Seconds


class Begun(msgspec.Struct, frozen=True):
    """A flow that was begun."""

    flow: Text


class BegunWithNonce(msgspec.Struct, frozen=True):
    """A flow, and the nonce that the ID token must hold."""

    flow: Text
    nonce: Text


class Profile(msgspec.Struct, frozen=True):
    """The account after a change."""

    person: Text
    kind: Text


class DeviceSession(msgspec.Struct, frozen=True):
    """A device that is signed in; times are Unix milliseconds."""

    id: str
    device: str
    device_name: str
    created_ms: int
    refreshed_ms: int
    expires_ms: int
    methods: list[str]
    is_current: bool


class SessionList(msgspec.Struct, frozen=True):
    """Active sessions, newest first."""

    sessions: list[DeviceSession]
