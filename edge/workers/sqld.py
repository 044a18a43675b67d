"""How a node's sqld is started: its arguments in each role, its addresses, and whether it answers.

Invariants
  N1  sqld's SQL and admin interfaces, which ask for no password, listen on loopback only
  N2  what goes from sqld to sqld beyond loopback is under TLS, with certificates on both sides

sqld takes the certificate of a primary only if it is made out to the name `sqld`, whatever the
host in the URL; a fleet's certificates carry that name beside the host's own.
"""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.fleet import Role
from edge.settings import SettingError

if TYPE_CHECKING:
    from edge.settings import Settings
    from edge.workers.role_file import NodeRole

TLS_NAME: Final = "sqld"
"""The name that sqld 0.24 expects in the certificate of the primary it replicates from."""
NAMESPACES_OPEN_MAX: Final = 1_000
"""Tenants beyond it are closed and opened again; one that is open costs about 200 KiB."""
RESPONSE_SIZE_MAX: Final = "64MB"
RESPONSES_SIZE_MAX: Final = "128MB"
"""All answers under way; the node has one reading statement in flight per tenant at most."""
SHUTDOWN_S: Final = 5
HEALTH_SECONDS_MAX: Final = 0.5
"""An sqld that serves answers within a millisecond."""
_PORT_MAX: Final = 65_535


def sqld_command(settings: Settings, role: NodeRole, *, binary: Path) -> list[str]:
    """Return the program and its arguments; raise SettingError for settings it cannot run with."""
    command = [
        str(binary),
        "--db-path", str(settings.sqld_folder),
        "--http-listen-addr", _own("sqld_http", settings.sqld_http),
        "--admin-listen-addr", _own("sqld_admin", settings.sqld_admin),
        "--enable-namespaces",
        "--disable-default-namespace",
        "--no-welcome",
        "--disable-metrics",
        "--max-active-namespaces", str(NAMESPACES_OPEN_MAX),
        "--max-response-size", RESPONSE_SIZE_MAX,
        "--max-total-response-size", RESPONSES_SIZE_MAX,
        "--shutdown-timeout", str(SHUTDOWN_S),
    ]  # fmt: skip
    if role.role is Role.PRIMARY:
        return command + _primary_arguments(settings)
    assert role.role is Role.EDGE, "a standalone node has no sqld"
    return command + _replica_arguments(settings, role)


def listen_addresses(settings: Settings, role: NodeRole) -> list[str]:
    """Return where sqld is going to listen, as ip:port."""
    names = ["sqld_http", "sqld_admin", *(["sqld_grpc"] if role.role is Role.PRIMARY else [])]
    return [resolved(name, getattr(settings, name)) for name in names]


def taken(addresses: list[str]) -> str | None:
    """Return the first address that another process listens on, or None."""
    for address in addresses:
        host, port = _split(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return address
    return None


def is_healthy(address: str) -> bool:
    """Ask the sqld at ip:port whether it serves; takes HEALTH_SECONDS_MAX at most."""
    host, port = _split(address)
    connection = HTTPConnection(host, port, timeout=HEALTH_SECONDS_MAX)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200  # noqa: PLR2004  (HTTP's own)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def resolved(name: str, address: str) -> str:
    """Return a setting's host:port as ip:port, which is all that sqld understands."""
    host, port = _split(address)
    if not 0 < port <= _PORT_MAX:
        raise SettingError(f"{name}: {address} has no fixed port, which other programs need")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingError(f"{name}: {host} cannot be resolved: {error.strerror}") from error
    ip = str(found[0][4][0])
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _own(name: str, address: str) -> str:
    """Return an address that only this machine may reach (N1)."""
    ip_port = resolved(name, address)
    if not _is_loopback(_split(ip_port)[0]):
        raise SettingError(f"{name}: {address} is not a loopback address; sqld asks no password")
    return ip_port


def _primary_arguments(settings: Settings) -> list[str]:
    address = resolved("sqld_grpc", settings.sqld_grpc)
    arguments = ["--grpc-listen-addr", address]
    files = _tls_files(settings)
    if files is None:
        if not _is_loopback(_split(address)[0]):
            raise SettingError(
                f"sqld_grpc: {settings.sqld_grpc} is not a loopback address: "
                "give tls_ca, tls_cert and tls_key"
            )
        return arguments
    return [*arguments, "--grpc-tls", *_tls_arguments("--grpc", files)]


def _replica_arguments(settings: Settings, role: NodeRole) -> list[str]:
    url = role.primary_grpc_url
    if not url:
        raise SettingError("an edge needs primary_grpc_url, or to have joined a fleet")
    parts = urlsplit(url)
    files = _tls_files(settings)
    if parts.scheme == "http":
        # The host is looked at as it is written: a name may mean another machine tomorrow.
        if parts.hostname != "localhost" and not _is_loopback(parts.hostname or ""):
            raise SettingError(f"primary_grpc_url: {url} is beyond this machine and not https")
        return ["--primary-grpc-url", url]
    if parts.scheme != "https":
        raise SettingError(f"primary_grpc_url: {url!r} is not a URL such as https://10.0.0.2:5001")
    if files is None:
        raise SettingError(f"primary_grpc_url: {url} needs tls_ca, tls_cert and tls_key")
    tls = _tls_arguments("--primary-grpc", files)
    return ["--primary-grpc-url", url, "--primary-grpc-tls", *tls]


def _tls_files(settings: Settings) -> tuple[str, str, str] | None:
    """Return the paths of (authority, certificate, key), or None when none is set."""
    files = (settings.tls_ca, settings.tls_cert, settings.tls_key)
    if not any(files):
        return None
    for name, path in zip(("tls_ca", "tls_cert", "tls_key"), files, strict=True):
        if not path:
            raise SettingError(f"{name} is missing: TLS needs tls_ca, tls_cert and tls_key")
        if not Path(path).is_file():
            raise SettingError(f"{name}: {path} is not a file")
    return files


def _tls_arguments(prefix: str, files: tuple[str, str, str]) -> list[str]:
    ca, cert, key = files
    return [
        f"{prefix}-ca-cert-file", ca,
        f"{prefix}-cert-file", cert,
        f"{prefix}-key-file", key,
    ]  # fmt: skip


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
