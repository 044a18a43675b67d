"""Ed25519 keys as files: `<kid>.pem` is private (mode 0600), `<kid>.pub` is its public half.

A folder that holds only `.pub` files verifies tokens and cannot mint them.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.errors import Unavailable
from edge.ports.keys import SigningKey

DEVELOPMENT_PREFIX: Final = "dev-"
_log = structlog.stdlib.get_logger(__name__)
KEYS_MAX: Final = 1_000
"""More files than this in the folder are a mistake; they are not read."""


class KeyFiles:
    """The keys of one folder: `KeyStore` and `PrivateKeys` of edge.ports.keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parsed: dict[Path, tuple[int, Ed25519PublicKey]] = {}

    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """Read the public halves; a file is parsed again only when it has changed."""
        if not self._folder.is_dir():
            return {}
        paths = sorted(self._folder.glob("*.pub"))[:KEYS_MAX]
        keys = {path.stem: self._public(path) for path in paths}
        return {kid: key for kid, key in keys.items() if key is not None}

    def development_key(self) -> SigningKey:
        """Return the first `dev-` key; make it, once, when there is none."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self._folder.glob(f"{DEVELOPMENT_PREFIX}*.pem")):
            private = load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(private, Ed25519PrivateKey):
                raise Unavailable(f"{path.name} is not an Ed25519 key")
            self._publish(path.stem, private)
            return SigningKey(path.stem, private)
        return self._make()

    def make(self, node: str) -> SigningKey:
        """Make a node's key: no `.pub` file, its public half is published by the database."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._made(f"{node}-")

    def private_key(self, kid: str) -> SigningKey | None:
        """Return a key by its id; None when this folder has no such private key."""
        path = self._folder / f"{kid}.pem"
        if not path.is_file():
            return None
        private = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise Unavailable(f"{path.name} is not an Ed25519 key")
        return SigningKey(kid, private)

    def forget(self, kid: str) -> None:
        """Delete a private key, and the file of its public half if there is one."""
        (self._folder / f"{kid}.pem").unlink(missing_ok=True)
        (self._folder / f"{kid}.pub").unlink(missing_ok=True)

    def _make(self) -> SigningKey:
        key = self._made(DEVELOPMENT_PREFIX)
        self._publish(key.kid, key.private)
        return key

    def _made(self, prefix: str) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        kid = prefix + urlsafe_b64encode(sha256(raw).digest()[:9]).decode()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(self._folder / f"{kid}.pem", pem, mode=0o600)
        return SigningKey(kid, private)

    def _publish(self, kid: str, private: Ed25519PrivateKey) -> None:
        path = self._folder / f"{kid}.pub"
        if not path.exists():
            pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            _write(path, pem, mode=0o644)

    def _public(self, path: Path) -> Ed25519PublicKey | None:
        changed_ns = path.stat().st_mtime_ns
        known = self._parsed.get(path)
        if known is not None and known[0] == changed_ns:
            return known[1]
        try:
            key = load_pem_public_key(path.read_bytes())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            _log.warning("key-ignored", file=path.name, reason="not an Ed25519 public key in PEM")
            return None
        self._parsed[path] = (changed_ns, key)
        return key


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file whole or not at all, with its mode from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
