"""`skerry serve MODULE`: serve an app."""

from __future__ import annotations

import os
from pathlib import Path

from edge.cli.module import load_app
from edge.settings import read_settings


def serve(
    module: Path,
    /,
    *,
    host: str | None = None,
    port: int | None = None,
    data: Path | None = None,
    tenant: list[str] | None = None,
    workers: int | None = None,
    synchronous: str | None = None,
    origin: list[str] | None = None,
    log_level: str | None = None,
) -> None:
    """Serve the app declared in MODULE until it is told to stop.

    Every option can also be given as an environment variable, such as SKERRY_PORT.

    Parameters
    ----------
    module
        A Python file with an App called `app`.
    host
        Address to listen on; 127.0.0.1 unless given.
    port
        Port to listen on; 8787 unless given, 0 picks a free one.
    data
        Folder of the databases and keys; made when it is missing.
    tenant
        A tenant to serve; may be given several times. `main` unless given.
    workers
        Processes; the first one writes, the others answer reads.
    synchronous
        `full` survives a power cut; `normal` is faster and may lose the last commits.
    origin
        Origin of a web page that may call the node; may be given several times.
    log_level
        debug, info, warning or error.
    """
    settings = read_settings(
        os.environ,
        host=host,
        port=port,
        data=data,
        tenants=tenant,
        workers=workers,
        synchronous=synchronous,
        origins=origin,
        log_level=log_level,
    )
    app = load_app(module)
    from edge.app import run_node  # noqa: PLC0415  (the framework loads once all else is right)

    run_node(app, settings)
