"""`skerry serve MODULE`: serve an app."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from core.fleet import Role
from edge.cli.fleet_flags import NO_FLAGS, FleetFlags
from edge.cli.module import load_app
from edge.settings import read_settings
from edge.storage.node_file import read_node
from edge.workers.role_file import read_role

if TYPE_CHECKING:
    from edge.settings import Settings


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
    fleet: Annotated[FleetFlags, Parameter(name="*")] = NO_FLAGS,
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
        **asdict(fleet),
    )
    settings = as_joined(settings)
    app = load_app(module)
    if _is_to_be_supervised(settings):
        from edge.observability import configure_logs  # noqa: PLC0415  (as below)
        from edge.spare_wiring import prepare_spares  # noqa: PLC0415
        from edge.workers.supervise import supervise  # noqa: PLC0415

        configure_logs(settings.log_level)
        supervise(module, settings, prepare=prepare_spares)
        return
    from edge.app import run_node  # noqa: PLC0415  (the framework loads once all else is right)

    run_node(app, settings)


def as_joined(settings: Settings) -> Settings:
    """Return the settings with what the folder knows: its certificates, and what it was told.

    What the node was told when it joined outweighs addresses that every node is deployed with,
    unless `primary_url_fixed` says that they are there on purpose.
    """
    settings = _with_certificates(settings)
    facts = read_node(settings.data)
    if facts is None:
        return settings
    settings = replace(
        settings, node=facts.node, region=facts.region, primary_node=facts.primary_node
    )
    if settings.primary_url_fixed:
        return settings
    return replace(
        settings,
        primary_url=facts.primary_url or settings.primary_url,
        primary_grpc_url=facts.primary_grpc_url or settings.primary_grpc_url,
    )


def _with_certificates(settings: Settings) -> Settings:
    if not (settings.tls_cert or (settings.data / "tls").is_dir()):
        return settings
    from edge.gateways.certificates import find_tls  # noqa: PLC0415  (loads X.509: fleets alone)

    tls = find_tls(settings.data, ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key)
    if tls is None:
        return settings
    return replace(settings, tls_ca=str(tls.ca), tls_cert=str(tls.cert), tls_key=str(tls.key))


def _is_to_be_supervised(settings: Settings) -> bool:
    """Whether this process is to own a node of a fleet, rather than to be one."""
    if os.environ.get("SKERRY_SUPERVISED") == "1":
        return False
    return read_role(settings).role is not Role.STANDALONE
