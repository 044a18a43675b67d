"""The base of controllers: objects whose bound methods are route handlers."""

from __future__ import annotations

from typing import Any, Self, TypeAlias

from litestar import Request

AnyRequest: TypeAlias = Request[Any, Any, Any]
"""A request; who it is from is asked of `principal_of`."""


class Endpoints:
    """Litestar copies a handler deeply when it is registered; the object behind it is shared."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self
