"""The operations of people and their devices: ways in, sessions, their own accounts."""

from __future__ import annotations

from typing import Final

from edge.dto import identity as own
from edge.dto.administration_operations import ADMIN_OPERATIONS, OPERATOR_OPERATIONS
from edge.dto.described import Described
from edge.dto.fleet_operations import FLEET_OPERATIONS
from edge.dto.policies import Policy

AUTH: Final = "/v1/auth"
ME: Final = "/v1/me"
JWKS_PATH: Final = "/.well-known/jwks.json"


def _auth(name: str, summary: str, body: type, answer: type, *, status: int = 200) -> Described:
    path = f"{AUTH}/{name.replace('.', '/')}"
    return Described(f"auth.{name}", "POST", path, Policy.PUBLIC, summary, body, answer, status)


ENTRY_OPERATIONS: Final = (
    _auth("anonymous", "Make an anonymous account", own.AnonymousBody, own.SignedInAnswer),
    _auth("password", "Sign in with a password", own.PasswordBody, own.SignedInAnswer),
    _auth("register", "Begin to register", own.RegisterBody, own.BegunAnswer, status=202),
    _auth("register.finish", "Finish registering", own.FinishBody, own.SignedInAnswer),
    _auth("code", "Have a sign-in code mailed", own.EmailBody, own.BegunAnswer, status=202),
    _auth("code.finish", "Sign in with a mailed code", own.FinishBody, own.SignedInAnswer),
    _auth("reset", "Have a reset code mailed", own.EmailBody, own.BegunAnswer, status=202),
    _auth("reset.finish", "Set a password and sign in", own.ResetBody, own.SignedInAnswer),
    _auth("oidc.begin", "Get a nonce for an ID token", own.TenantBody, own.NonceAnswer),
    _auth("oidc", "Sign in with an ID token", own.IdTokenBody, own.SignedInAnswer),
    _auth("passkey.begin", "Get passkey options", own.TenantBody, own.OptionsAnswer),
    _auth("passkey", "Sign in with a passkey", own.PasskeyBody, own.SignedInAnswer),
    _auth("service", "Exchange a service token", own.ServiceTokenBody, own.AccessAnswer),
    _auth("refresh", "Refresh a session", own.RefreshBody, own.SignedInAnswer),
    Described(
        "keys.published",
        "GET",
        JWKS_PATH,
        Policy.PUBLIC,
        "Public keys of all nodes",
        answer=own.JsonWebKeySet,
    ),
)

OWN_OPERATIONS: Final = (
    Described("me.get", "GET", ME, Policy.PERSON, "Your account", None, own.ProfileAnswer),
    Described(
        "me.change",
        "PATCH",
        ME,
        Policy.PERSON,
        "Change your name",
        own.ProfileBody,
        own.ProfileAnswer,
    ),
    Described(
        "me.erase", "DELETE", ME, Policy.FRESH, "Delete your account and your data", status=204
    ),
    Described(
        "me.export",
        "GET",
        ME + "/export",
        Policy.FRESH,
        "Everything kept about you",
        is_archive=True,
    ),
    Described(
        "me.sign_out", "POST", ME + "/sign-out", Policy.PERSON, "End this session", status=204
    ),
    Described(
        "me.sessions",
        "GET",
        ME + "/sessions",
        Policy.PERSON,
        "Your sessions",
        None,
        own.SessionList,
    ),
    Described(
        "me.sessions.end_others",
        "DELETE",
        ME + "/sessions",
        Policy.PERSON,
        "End all other sessions",
        None,
        own.EndedAnswer,
    ),
    Described(
        "me.sessions.end",
        "DELETE",
        ME + "/sessions/{session}",
        Policy.PERSON,
        "End one session",
        status=204,
    ),
    Described(
        "me.step_up.begin",
        "POST",
        ME + "/step-up/begin",
        Policy.PERSON,
        "Begin to prove who you are",
        own.StepUpBeginBody,
        own.StepUpBegun,
    ),
    Described(
        "me.step_up",
        "POST",
        ME + "/step-up",
        Policy.PERSON,
        "Prove again who you are",
        own.StepUpBody,
        own.AccessAnswer,
    ),
    Described(
        "me.email.begin",
        "POST",
        ME + "/email",
        Policy.FRESH,
        "Begin to add an address",
        own.AttachEmailBody,
        own.BegunAnswer,
        202,
    ),
    Described(
        "me.email.finish",
        "POST",
        ME + "/email/finish",
        Policy.PERSON,
        "Add the address",
        own.FinishAttachBody,
        own.ProfileAnswer,
    ),
    Described(
        "me.password",
        "PUT",
        ME + "/password",
        Policy.FRESH,
        "Set your password",
        own.NewPasswordBody,
        status=204,
    ),
    Described(
        "me.oidc.begin",
        "POST",
        ME + "/oidc/begin",
        Policy.FRESH,
        "Get a nonce to link an issuer",
        None,
        own.NonceAnswer,
    ),
    Described(
        "me.oidc",
        "POST",
        ME + "/oidc",
        Policy.FRESH,
        "Link an issuer",
        own.AttachIdTokenBody,
        own.ProfileAnswer,
    ),
    Described(
        "me.passkeys.begin",
        "POST",
        ME + "/passkeys/begin",
        Policy.FRESH,
        "Get options for a new passkey",
        None,
        own.OptionsAnswer,
    ),
    Described(
        "me.passkeys",
        "POST",
        ME + "/passkeys",
        Policy.FRESH,
        "Add a passkey",
        own.AttachPasskeyBody,
        own.ProfileAnswer,
    ),
    Described(
        "me.credentials.remove",
        "DELETE",
        ME + "/credentials/{credential}",
        Policy.FRESH,
        "Remove a way in",
        status=204,
    ),
)

IDENTITY_OPERATIONS: Final = (
    *ENTRY_OPERATIONS,
    *OWN_OPERATIONS,
    *ADMIN_OPERATIONS,
    *OPERATOR_OPERATIONS,
    *FLEET_OPERATIONS,
)
IDENTITY_POLICIES: Final = {described.name: described.policy for described in IDENTITY_OPERATIONS}
PUBLIC_IDENTITY_PATHS: Final = frozenset(
    described.path for described in IDENTITY_OPERATIONS if described.policy is Policy.PUBLIC
)


def identity_types() -> list[type]:
    """Return every struct that the document shows."""
    found = [t for d in IDENTITY_OPERATIONS for t in (d.body, d.answer) if t is not None]
    return list(dict.fromkeys(found))
