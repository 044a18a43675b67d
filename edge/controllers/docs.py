"""/openapi.json and /docs: the API's description, and a page that shows it without the internet."""

from __future__ import annotations

from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import msgspec
from litestar import Response, get

from edge.controllers.answer import bytes_answer
from edge.controllers.docs_page import PAGE, SCRIPT, STYLE
from edge.controllers.endpoints import AnyRequest, Endpoints
from edge.dto.openapi import openapi

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from core.schema.app import App

_POLICY: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


class DocsController(Endpoints):
    """Serves the document and the page; the document is made when it is first asked for."""

    def __init__(self, app: App) -> None:
        self._app = app

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes."""
        return [
            get("/openapi.json", name="openapi")(self.document),
            get("/docs", name="docs")(self.page),
            get("/docs/page.js", name="docs.script")(self.script),
            get("/docs/page.css", name="docs.style")(self.style),
        ]

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(openapi(self._app, version=skerry_version()))

    async def document(self, request: AnyRequest) -> Response[bytes]:
        """Return the OpenAPI document."""
        return await bytes_answer(request, self._document, "application/json")

    async def page(self, request: AnyRequest) -> Response[bytes]:
        """Return the page."""
        return await bytes_answer(request, PAGE, "text/html; charset=utf-8", headers=_POLICY)

    async def script(self, request: AnyRequest) -> Response[bytes]:
        """Return the page's script."""
        return await bytes_answer(request, SCRIPT, "text/javascript; charset=utf-8")

    async def style(self, request: AnyRequest) -> Response[bytes]:
        """Return the page's style."""
        return await bytes_answer(request, STYLE, "text/css; charset=utf-8")


@cache
def skerry_version() -> str:
    """Return the installed version of Skerry; it is looked up once, among all that is installed."""
    try:
        return version("skerry")
    except PackageNotFoundError:
        return "0+unknown"
