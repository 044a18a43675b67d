"""Identity over REST: what people and devices send and are answered.

Every request forbids fields it does not know: nobody sets a tenant, a role or a scope on the side.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
IdToken = Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
Name = Annotated[str, msgspec.Meta(max_length=80)]
Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$")]
Signature = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{86}$")]
Nonce = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class ProofBody(msgspec.Struct, forbid_unknown_fields=True):
    """A device's signature (base64url) over purpose, subject, `at` (Unix s) and `nonce`."""

    at: UnixSeconds
    nonce: Nonce
    signature: Signature


class DeviceBody(msgspec.Struct, forbid_unknown_fields=True):
    """The device that signs in: its Ed25519 public key (base64url), a name, and the proof."""

    key: Key
    proof: ProofBody
    name: Name = ""


class AnonymousBody(msgspec.Struct, forbid_unknown_fields=True):
    """Make an anonymous account."""

    device: DeviceBody
    tenant: Id = "main"


class PasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    """Sign in with address and password."""

    email: Email
    password: Password
    device: DeviceBody
    tenant: Id = "main"


class RegisterBody(msgspec.Struct, forbid_unknown_fields=True):
    """Begin to register an address with a password."""

    email: Email
    password: Password
    tenant: Id = "main"


class EmailBody(msgspec.Struct, forbid_unknown_fields=True):
    """Have a code mailed to an address."""

    email: Email
    tenant: Id = "main"


class FinishBody(msgspec.Struct, forbid_unknown_fields=True):
    """Send a mailed code back and sign in."""

    flow: Id
    code: Code
    device: DeviceBody
    tenant: Id = "main"


class ResetBody(msgspec.Struct, forbid_unknown_fields=True):
    """Send a mailed code back, set a password and sign in."""

    flow: Id
    code: Code
    password: Password
    device: DeviceBody
    tenant: Id = "main"


class TenantBody(msgspec.Struct, forbid_unknown_fields=True):
    """Begin a way in that names nobody yet."""

    tenant: Id = "main"


class IdTokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """Sign in with another issuer's ID token, which holds the nonce of the flow."""

    flow: Id
    id_token: IdToken
    device: DeviceBody
    tenant: Id = "main"


class PasskeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Sign in with a passkey: what navigator.credentials.get gave, as JSON."""

    flow: Id
    credential: dict[str, Any]
    device: DeviceBody
    tenant: Id = "main"


class ServiceTokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """Exchange a service token for an access token."""

    token: Token


class RefreshBody(msgspec.Struct, forbid_unknown_fields=True):
    """Exchange a refresh token; the proof is over the token itself."""

    refresh_token: Token
    proof: ProofBody


class AttachEmailBody(msgspec.Struct, forbid_unknown_fields=True):
    """Begin to give one's account an address, with a password if one is wanted."""

    email: Email
    password: Password | None = None


class FinishAttachBody(msgspec.Struct, forbid_unknown_fields=True):
    """Send the mailed code back."""

    flow: Id
    code: Code


class AttachIdTokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """Give one's account an issuer as a way in."""

    flow: Id
    id_token: IdToken


class AttachPasskeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Give one's account a passkey: what navigator.credentials.create gave, as JSON."""

    flow: Id
    credential: dict[str, Any]
    label: Name = ""


class NewPasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    """Set one's password."""

    password: Password


class StepUpBeginBody(msgspec.Struct, forbid_unknown_fields=True):
    """Begin to prove again who one is, by `email` or `passkey`."""

    method: Annotated[str, msgspec.Meta(pattern="^(email|passkey)$")]


class StepUpBody(msgspec.Struct, forbid_unknown_fields=True):
    """Prove again who one is: a password, or a flow with its code or credential."""

    password: Password | None = None
    flow: Id | None = None
    code: Code | None = None
    credential: dict[str, Any] | None = None


class ProfileBody(msgspec.Struct, forbid_unknown_fields=True):
    """Change one's name."""

    name: Name


class SignedInAnswer(msgspec.Struct):
    """Both tokens; the access token lives `expires_in` seconds. Keep the refresh token first."""

    access_token: str
    expires_in: int
    refresh_token: str
    session: str
    generation: int
    tenant: str
    person: str
    kind: str
    token_type: str = "Bearer"  # noqa: S105  (RFC 6750)


class AccessAnswer(msgspec.Struct):
    """An access token that lives `expires_in` seconds."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105  (RFC 6750)


class BegunAnswer(msgspec.Struct):
    """A flow that was begun; it says nothing about whether anybody can finish it."""

    flow: str
    expires_ms: int


class NonceAnswer(msgspec.Struct):
    """A flow, and the nonce that the ID token must hold."""

    flow: str
    expires_ms: int
    nonce: str


class OptionsAnswer(msgspec.Struct):
    """A flow, and the options for navigator.credentials."""

    flow: str
    expires_ms: int
    options: dict[str, Any]


class StepUpBegun(msgspec.Struct):
    """A flow; `options` for a passkey, null for a mailed code."""

    flow: str
    expires_ms: int
    options: dict[str, Any] | None


class WayIn(msgspec.Struct):
    """One way into an account; `subject` is shown for addresses only."""

    id: str
    kind: str
    label: str
    created_ms: int
    used_ms: int
    subject: str = ""


class ProfileAnswer(msgspec.Struct):
    """An account and its ways in."""

    tenant: str
    person: str
    kind: str
    state: str
    name: str
    scopes: list[str]
    created_ms: int
    credentials: list[WayIn]


class SessionAnswer(msgspec.Struct):
    """A signed-in device."""

    id: str
    device: str
    device_name: str
    created_ms: int
    refreshed_ms: int
    expires_ms: int
    methods: list[str]
    is_current: bool


class SessionList(msgspec.Struct):
    """Active sessions, newest first."""

    sessions: list[SessionAnswer]


class EndedAnswer(msgspec.Struct):
    """How many sessions have ended."""

    ended: int


class JsonWebKey(msgspec.Struct):
    """One public key (RFC 8037)."""

    kty: str
    crv: str
    alg: str
    use: str
    kid: str
    x: str


class JsonWebKeySet(msgspec.Struct):
    """Public keys (RFC 7517)."""

    keys: list[JsonWebKey]
