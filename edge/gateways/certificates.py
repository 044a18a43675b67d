"""The fleet's own certificate authority and node certificates (X.509), and TLS made of them.

Both sides of every connection between nodes show a certificate of this authority: TLS 1.3, mutual.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import Conflict, InvalidQuery, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

TLS_FOLDER: Final = "tls"
CA_FILE: Final = "ca.pem"
CA_KEY_FILE: Final = "ca.key"
NODE_FILE: Final = "node.pem"
NODE_KEY_FILE: Final = "node.key"
CA_DAYS: Final = 3_650
NODE_DAYS: Final = 365
BACKDATED: Final = timedelta(days=1)
"""A node whose clock is behind takes a new certificate at once."""
ADDRESSES_MAX: Final = 64
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1", "sqld")
"""Commands beside a node call it on its own machine; a replicating sqld expects its primary's
certificate to be for the host name `sqld`, wherever the primary is."""
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM: the authority, this node's certificate, and its private key."""

    ca: Path
    cert: Path
    key: Path


def find_tls(data: Path, *, ca: str = "", cert: str = "", key: str = "") -> TlsFiles | None:
    """Return the files that settings name, else those in the data folder; None: there are none.

    Raises InvalidQuery when some are given and some are not, or one is not there.
    """
    folder = data / TLS_FOLDER
    given = (ca, cert, key)
    if any(given):
        if not all(given):
            raise InvalidQuery("tls_ca, tls_cert and tls_key belong together: give all or none.")
        files = TlsFiles(Path(ca), Path(cert), Path(key))
    elif folder.is_dir():
        files = TlsFiles(folder / CA_FILE, folder / NODE_FILE, folder / NODE_KEY_FILE)
    else:
        return None
    for path in (files.ca, files.cert, files.key):
        if not path.is_file():
            raise InvalidQuery(f"{path} is missing: `skerry certs` makes it.")
    return files


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what the listener for nodes speaks: only clients with our certificates get in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.cert, files.key)
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what calls to nodes speak: our authority alone, host names checked."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.cert, files.key)
    return context


def make_authority(folder: Path, *, now: datetime | None = None) -> Path:
    """Make `ca.pem` and `ca.key` in a folder; return the certificate's path.

    Raises Conflict when there is one: a new one would make every node's certificate worthless.
    """
    _require_new(folder / CA_FILE, folder / CA_KEY_FILE)
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Skerry fleet")])
    public = key.public_key()
    certificate = (
        _builder(name, name, public, now=now, days=CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, SHA256())
    )
    _write(folder / CA_KEY_FILE, _key_pem(key))
    _write(folder / CA_FILE, certificate.public_bytes(Encoding.PEM))
    return folder / CA_FILE


def make_node_certificate(
    folder: Path, node: str, addresses: Sequence[str], *, now: datetime | None = None
) -> Path:
    """Make FOLDER/NODE with `ca.pem`, `node.pem` and `node.key`; return that folder.

    It becomes the node's DATA/tls as it is. Raises NotFound (no authority in the folder), Conflict,
    InvalidQuery (an address that is none).
    """
    target = folder / node
    _require_new(target / NODE_FILE, target / NODE_KEY_FILE)
    try:
        ca_pem = (folder / CA_FILE).read_bytes()
        ca_key = load_pem_private_key((folder / CA_KEY_FILE).read_bytes(), password=None)
    except FileNotFoundError:
        raise NotFound(f"There is no authority in {folder}: `skerry certs init` first.") from None
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey), "init makes keys of this kind"
    authority = x509.load_pem_x509_certificate(ca_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(
            name, authority.subject, key.public_key(), now=now or datetime.now(UTC), days=NODE_DAYS
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(addresses)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, SHA256())
    )
    _write(target / NODE_KEY_FILE, _key_pem(key))
    _write(target / NODE_FILE, certificate.public_bytes(Encoding.PEM))
    _write(target / CA_FILE, ca_pem)
    return target


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    if not 0 < len(addresses) <= ADDRESSES_MAX:
        raise InvalidQuery(f"A node has between 1 and {ADDRESSES_MAX} addresses.")
    return [_name(address) for address in dict.fromkeys([*addresses, *_ALWAYS])]


def _name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        pass
    if _HOST.fullmatch(address) is None:
        raise InvalidQuery(f"{address!r} is neither an IP address nor a host name.")
    return x509.DNSName(address)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _require_new(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise Conflict(f"{path} is there already; it is not replaced.")


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
