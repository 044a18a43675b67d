"""Wiring of identity: settings, files and gateways become the services of one process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from core.errors import DeclarationError
from core.identity.keys import ANY, Authority
from edge.gateways.argon2_hashes import Argon2Hashes
from edge.gateways.mail_files import MailFiles
from edge.ports.sql import SqlEngine
from edge.repositories.control.database import SqlControlDatabase
from edge.repositories.vault.database import SqlVaultDatabase
from edge.services.identity.identity import Identity, IdentityParts
from edge.services.identity.mailer import Mailer
from edge.services.keys import KeyRing
from edge.services.limits import Limits, read_rates
from edge.settings import SettingError
from edge.storage.grouped import GroupedEngine
from edge.storage.key_files import KeyFiles
from edge.storage.limit_table import LimitFile
from edge.storage.sqlite import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.schema.app import App
    from edge.ports.issuers import IdTokens
    from edge.ports.mail import MailTransport
    from edge.ports.passkeys import Passkeys
    from edge.services.node import Node
    from edge.settings import Settings

CONTROL_FILE: Final = "control.db"
VAULT_FILE: Final = "vault.db"
LIMITS_FILE: Final = "limits.table"
LIMITS_SECRET_BYTES: Final = 32


def new_limits_secret() -> bytes:
    """Return the secret that all processes of a node count with; each start has its own."""
    return os.urandom(LIMITS_SECRET_BYTES)


def prepare_limits(settings: Settings) -> None:
    """Make the table of limits anew; nobody may have it open yet."""
    LimitFile.create(settings.data / LIMITS_FILE)


def build_limits(settings: Settings, secret: bytes) -> Limits:
    """Open the table of limits in this process."""
    try:
        rates = read_rates(settings.limits)
    except DeclarationError as error:
        raise SettingError(f"limits (SKERRY_LIMITS): {error}") from None
    table = LimitFile(settings.data / LIMITS_FILE)
    return Limits(table, rates, secret=secret, now_us=lambda: time.monotonic_ns() // 1_000)


class OpenableEngine(SqlEngine, Protocol):
    """An engine that is opened after everything is wired."""

    async def open(self) -> None:
        """Open it."""
        ...


@dataclass(frozen=True, slots=True)
class IdentityEngines:
    """The two databases of a node's identity."""

    control: OpenableEngine
    vault: OpenableEngine

    async def empty_logs(self) -> None:
        """Checkpoint and empty the logs of those that are files of this process."""
        for engine in (self.control, self.vault):
            if isinstance(engine, SqliteEngine):
                await engine.empty_log()


class OpenedIdentity:
    """Identity whose databases are opened with it and migrated by the writing process."""

    def __init__(
        self,
        identity: Identity,
        *,
        engines: Sequence[OpenableEngine],
        databases: list[SqlControlDatabase | SqlVaultDatabase],
        is_writer: bool,
    ) -> None:
        self.identity = identity
        self._engines = engines
        self._databases = databases
        self._is_writer = is_writer

    async def open(self, node: Node) -> None:
        """Open the databases, then the node with the tenants that are served."""
        for engine in self._engines:
            await engine.open()
        if self._is_writer:
            for database in self._databases:
                await database.migrate()
        await node.open(await self.identity.open(node.configured()))

    async def close(self) -> None:
        """Close everything."""
        await self.identity.close()


def build_identity(
    app: App,
    settings: Settings,
    node: Node,
    *,
    limits: Limits,
    is_writer: bool,
    engines: IdentityEngines | None = None,
) -> OpenedIdentity:
    """Build the identity services of one process over files in the data folder, or `engines`."""
    if engines is None:
        engines = identity_files(settings, is_writer=is_writer)
    control_file, vault_file = engines.control, engines.vault
    control = SqlControlDatabase(GroupedEngine(control_file) if is_writer else control_file)
    vault = SqlVaultDatabase(GroupedEngine(vault_file) if is_writer else vault_file)
    keys = KeyFiles(settings.keys_folder)
    keys.development_key()
    parts = IdentityParts(
        control=control,
        vault=vault,
        private_keys=keys,
        operator_keys=KeyRing(keys),
        hasher=Argon2Hashes(),
        mailer=Mailer(_transport(settings)),
        limits=limits,
        id_tokens=_id_tokens(settings),
        passkeys=_passkeys(app, settings),
        create_database=node.create_tenant,
        erase_database=node.erase_tenant,
        app_name=app.name,
        node=settings.node,
        authority=Authority(frozenset({_region(settings)})),
        is_writer=is_writer,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    return OpenedIdentity(
        Identity(parts),
        engines=[control_file, vault_file],
        databases=[control, vault],
        is_writer=is_writer,
    )


def identity_files(settings: Settings, *, is_writer: bool) -> IdentityEngines:
    """Return the identity of a node by itself; a stream to a local folder checkpoints it."""
    synchronous = "NORMAL" if settings.synchronous == "normal" else "FULL"
    checkpoints = not (settings.backup_stream and "://" not in settings.backup)
    control, vault = (
        SqliteEngine(
            settings.data / name,
            synchronous=synchronous,
            is_writer=is_writer,
            checkpoints=checkpoints,
        )
        for name in (CONTROL_FILE, VAULT_FILE)
    )
    return IdentityEngines(control, vault)


def _region(settings: Settings) -> str:
    """Return where a node may sign for tenants of: the primary signs for all of them."""
    return ANY if settings.role == "primary" else settings.region or ANY


def _transport(settings: Settings) -> MailTransport:
    if not settings.mail:
        return MailFiles(settings.data / "mail")
    from edge.gateways.mail_smtp import Smtp, parse_smtp_url  # noqa: PLC0415  (only with a server)

    try:
        return Smtp(parse_smtp_url(settings.mail))
    except ValueError as error:
        raise SettingError(f"mail (SKERRY_MAIL): {error}") from None


def _id_tokens(settings: Settings) -> IdTokens | None:
    if not settings.issuers:
        return None
    from edge.gateways.id_tokens import JwtIdTokens  # noqa: PLC0415  (loads httpx)
    from edge.gateways.issuer_settings import parse_issuers  # noqa: PLC0415

    try:
        return JwtIdTokens(parse_issuers(settings.issuers))
    except ValueError as error:
        raise SettingError(f"issuers (SKERRY_ISSUERS): {error}") from None


def _passkeys(app: App, settings: Settings) -> Passkeys | None:
    if not settings.passkey_domain:
        return None
    from edge.gateways.webauthn_passkeys import WebAuthnPasskeys  # noqa: PLC0415  (loads slowly)

    origins = settings.origins or (f"https://{settings.passkey_domain}",)
    try:
        return WebAuthnPasskeys(rp_id=settings.passkey_domain, rp_name=app.name, origins=origins)
    except ValueError as error:
        raise SettingError(f"passkey_domain (SKERRY_PASSKEY_DOMAIN): {error}") from None
