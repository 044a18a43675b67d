"""The protocol's version, and the fingerprint that tells when it has to change.

Additive changes (a new optional field, a new message kind that only newer sides send) keep the
version once the fingerprint below is renewed; everything else needs a new one.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from sync_protocol.fingerprint import fingerprint_of
from sync_protocol.messages.page import SpaceRows
from sync_protocol.messages.push import WireMutation
from sync_protocol.messages.union import ClientMessage, ServerMessage

PROTOCOL_VERSION: Final = 1
"""What `hello.protocol` and `welcome.protocol` say."""
PROTOCOL_FINGERPRINT: Final = "0c85f70c1306cee4"
"""`protocol_fingerprint()` at this version; a test compares them."""


def protocol_fingerprint() -> str:
    """Return the fingerprint of all messages' schemas, without their descriptions.

    Mutations and rows are raw inside messages, so they are listed beside them.
    """
    _, schemas = msgspec.json.schema_components(
        [ClientMessage, ServerMessage, WireMutation, SpaceRows], ref_template="{name}"
    )
    return fingerprint_of(cast("dict[str, Any]", _without_descriptions(schemas)))


def _without_descriptions(node: object) -> object:
    if isinstance(node, dict):
        held = cast("dict[str, object]", node)
        return {
            key: _without_descriptions(value)
            for key, value in held.items()
            if not (key == "description" and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_without_descriptions(item) for item in cast("list[object]", node)]
    return node
