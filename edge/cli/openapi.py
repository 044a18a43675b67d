"""`skerry openapi MODULE`: print the OpenAPI document."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from edge.cli.module import load_app


def print_openapi(module: Path, /) -> None:
    """Print the OpenAPI document of the app declared in MODULE.

    Parameters
    ----------
    module
        A Python file with an App called `app`.
    """
    app = load_app(module)
    from edge.controllers.docs import skerry_version  # noqa: PLC0415  (loads the framework)
    from edge.dto.openapi import openapi  # noqa: PLC0415

    document = msgspec.json.encode(openapi(app, version=skerry_version()))
    sys.stdout.buffer.write(msgspec.json.format(document, indent=2) + b"\n")
