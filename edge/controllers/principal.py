"""Who is behind a request: what the gate has verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.errors import Forbidden, Unauthenticated
from edge.services.session import Principal

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection


def principal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Return the verified principal; a route that the gate leaves open has none."""
    scope: Any = connection.scope
    user = scope.get("user")
    if not isinstance(user, Principal):
        raise Unauthenticated("A bearer token is needed.")
    return user


def administrator_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Return the verified principal if its token has the admin scope; else raise Forbidden."""
    principal = principal_of(connection)
    if not principal.is_admin:
        raise Forbidden("This is for administrators.")
    return principal
