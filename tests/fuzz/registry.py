"""Every target, by name: a new one is a module in `targets` and a line here."""

from __future__ import annotations

from typing import Final

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    bodies,
    client_session,
    compression,
    merge_sql,
    messages,
    mutations,
    payloads,
    queries,
    rows,
    server_session,
    tokens,
)

_MODULES: Final = (
    messages,
    compression,
    mutations,
    rows,
    payloads,
    server_session,
    client_session,
    merge_sql,
    tokens,
    queries,
    bodies,
)
TARGETS: Final[dict[str, Target]] = {
    target.name: target for module in _MODULES for target in module.TARGETS
}
