"""Routes of described operations: each handler is found by its operation's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.handlers import HTTPRouteHandler

from edge.controllers.endpoints import Endpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.dto.described import Described


class DescribedEndpoints(Endpoints):
    """A controller whose `handlers` say which method serves which operation."""

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Return the bound method of every operation that this controller serves."""
        raise NotImplementedError

    def routes_of(self, operations: Iterable[Described]) -> list[HTTPRouteHandler]:
        """Return the routes; an operation without a handler is our mistake and raises KeyError."""
        handlers = self.handlers()
        return [
            HTTPRouteHandler(
                described.path.replace("}", ":str}"),
                http_method=described.method,  # pyright: ignore[reportArgumentType]  (a literal)
                name=described.name,
                status_code=described.status,
            )(handlers[described.name])
            for described in operations
        ]
