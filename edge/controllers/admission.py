"""The policy of each operation, enforced before its handler runs (edge.dto.policies has the table).

Invariants
  A1  an operation that is not in the table does not start, and is refused if it ever gets here
  A2  every refusal of a kind reads the same, whatever was asked for
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge.controllers.principal import principal_of
from edge.dto.policies import FRESH_S, Policy
from edge.errors import Forbidden, StepUpNeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from edge.services.session import Principal

_DEVICE_ONLY = frozenset({"device"})
_ADMINISTRATORS = frozenset({Policy.ADMIN, Policy.ADMIN_FRESH})
_FRESH = frozenset({Policy.FRESH, Policy.ADMIN_FRESH})


class Admission:
    """A Litestar guard over the table of policies.

    It is a coroutine function although it waits for nothing: Litestar runs plain ones in a thread.
    """

    def __init__(
        self, policies: Mapping[str, Policy], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._policies = policies
        self._clock = clock

    def __deepcopy__(self, memo: dict[int, object]) -> Admission:
        return self

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raise Unauthenticated, Forbidden or StepUpNeeded unless the caller may come in."""
        scope: Any = connection.scope
        if scope.get("method") == "OPTIONS":
            return  # the framework's own answer: which methods there are
        policy = self._policies.get(handler.name or "")
        if policy is None:
            raise Forbidden("Nobody may do this.")
        if policy is Policy.PUBLIC:
            return
        principal = principal_of(connection)
        if policy is Policy.OPERATOR and not principal.is_operator:
            raise Forbidden("This is for operators.")
        if policy in _ADMINISTRATORS and not principal.is_admin:
            raise Forbidden("This is for administrators.")
        if policy in _FRESH and not self._is_fresh(principal):
            raise StepUpNeeded("Prove again who you are.")

    def _is_fresh(self, principal: Principal) -> bool:
        """Tell whether the last proof is recent.

        A token without a session is itself the proof. An anonymous account has no other proof than
        its device's, which its session has given when it was refreshed.
        """
        if principal.session and principal.methods == _DEVICE_ONLY:
            return True
        proved = principal.proved_unix_s if principal.session else principal.issued_unix_s
        return self._clock() - proved <= FRESH_S
