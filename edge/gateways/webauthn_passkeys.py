"""Passkeys (Web Authentication, W3C Level 2), on the webauthn package.

Invariants
  K1  the person was present and verified (PIN, finger, face), in registration and in sign-in
  K2  origin, relying party and challenge are ours, and the page was not in a frame of another site
  K3  a sign count that did not grow is refused, unless the authenticator keeps none (always 0)
  K4  a key is stored only if a signature by it can be verified: EdDSA with Ed25519, ES256 with
      P-256, RS256 with RSA_BITS_MIN to RSA_BITS_MAX bits

Attestation is not asked for, so the statement of one that came all the same is left unread: the
package's parsers of certificates, TPM structures and SafetyNet answers see nothing of a client's.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    encode_cbor,
    options_to_json_dict,
    parse_cbor,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from edge.errors import InvalidGrant
from edge.gateways.passkey_origins import require_origins
from edge.ports.passkeys import NewPasskey

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

CREDENTIAL_BYTES_MAX: Final = 16_384
"""As JSON; an honest one has some 1,500 bytes, with a chain of certificates some 8,000."""
CREDENTIAL_ID_BYTES_MAX: Final = 1_023
"""Web Authentication Level 2, 4: Credential ID."""
USER_HANDLE_BYTES_MAX: Final = 64
"""Web Authentication Level 2, 5.4.3: the longest user handle; ids of people are no longer."""
PRESENT_MAX: Final = 64
"""Passkeys of one person that an authenticator is told of, so that it makes no second one."""
TIMEOUT_MS: Final = 300_000
"""How long the phone may ask for a finger: Level 2, 15.1 recommends 5 minutes; a flow has 10."""
RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 4_096
"""Older Windows Hello makes RSA keys of 2,048 bits; larger ones only cost time."""
_REFUSED = "The passkey does not sign in to any account."
_ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

_Text = Annotated[str, msgspec.Meta(max_length=CREDENTIAL_BYTES_MAX)]
_Shape = TypeVar("_Shape")


class _Attestation(msgspec.Struct, rename="camel"):
    client_data: _Text = msgspec.field(name="clientDataJSON")
    attestation_object: _Text


class _Assertion(msgspec.Struct, rename="camel"):
    client_data: _Text = msgspec.field(name="clientDataJSON")
    authenticator_data: _Text
    signature: _Text
    user_handle: _Text | None = None


class _Credential(msgspec.Struct):
    id: _Text
    type: str


class _Registration(_Credential):
    response: _Attestation


class _SignIn(_Credential):
    response: _Assertion


class _ClientData(msgspec.Struct, rename="camel"):
    cross_origin: bool = False


class WebAuthnPasskeys:
    """See `edge.ports.passkeys.Passkeys`.

    `rp_id` is the domain that passkeys are bound to; `origins` are the exact web origins and
    Android apps (`android:apk-key-hash:...`) they are used from. Raises ValueError for an origin
    that cannot use the domain's passkeys.
    """

    def __init__(self, *, rp_id: str, rp_name: str, origins: Sequence[str]) -> None:
        require_origins(rp_id, origins)
        if not rp_name:
            raise ValueError("Passkeys need the name of the app.")
        self._rp_id = rp_id
        self._rp_name = rp_name
        self._origins = list(origins)

    def registration_options(
        self, *, person: str, name: str, challenge: bytes, present: Sequence[bytes]
    ) -> dict[str, Any]:
        """Return JSON for navigator.credentials.create; the newest PRESENT_MAX ids are excluded."""
        handle = person.encode()
        assert challenge, "the package would make one up"
        assert 0 < len(handle) <= USER_HANDLE_BYTES_MAX
        options = generate_registration_options(
            rp_id=self._rp_id,
            rp_name=self._rp_name,
            user_id=handle,
            user_name=name or person,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=passkey) for passkey in present[-PRESENT_MAX:]
            ],
            supported_pub_key_algs=_ALGORITHMS,
        )
        return options_to_json_dict(options)

    def verify_registration(self, credential: Mapping[str, Any], *, challenge: bytes) -> NewPasskey:
        """Return the passkey that was made for a challenge; raise InvalidGrant."""
        with _refusing():
            sent = _shaped(credential, _Registration)
            credential_id = _decoded(sent.id)
            client_data = _client_data(sent.response.client_data)
            verified = verify_registration_response(
                credential=RegistrationCredential(
                    id=sent.id,
                    raw_id=credential_id,
                    response=AuthenticatorAttestationResponse(
                        client_data_json=client_data,
                        attestation_object=_unattested(sent.response.attestation_object),
                    ),
                ),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origins,
                require_user_presence=True,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
            _require_usable(verified.credential_public_key)
            if verified.credential_id != credential_id:
                raise InvalidGrant(_REFUSED)
            return NewPasskey(
                credential_id=credential_id,
                public_key=verified.credential_public_key,
                sign_count=verified.sign_count,
                is_backed_up=verified.credential_backed_up,
            )

    def sign_in_options(self, *, challenge: bytes) -> dict[str, Any]:
        """Return JSON for navigator.credentials.get: any passkey of this relying party will do."""
        assert challenge, "the package would make one up"
        options = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def credential_id_of(self, credential: Mapping[str, Any]) -> bytes:
        """Return which passkey a credential says it is of; raise InvalidGrant."""
        with _refusing():
            found = _decoded(_shaped(credential, _Credential).id)
            if not 0 < len(found) <= CREDENTIAL_ID_BYTES_MAX:
                raise InvalidGrant(_REFUSED)
            return found

    def user_of(self, credential: Mapping[str, Any]) -> str | None:
        """Return the user handle of a sign-in as text; raise InvalidGrant."""
        with _refusing():
            handle = _shaped(credential, _SignIn).response.user_handle
            # Some platforms send an empty text where there is none.
            return _decoded(handle).decode() if handle else None

    def verify_sign_in(
        self,
        credential: Mapping[str, Any],
        *,
        challenge: bytes,
        public_key: bytes,
        sign_count: int,
    ) -> int:
        """Return the new sign count of the passkey that signed; raise InvalidGrant."""
        with _refusing():
            sent = _shaped(credential, _SignIn)
            verified = verify_authentication_response(
                credential=AuthenticationCredential(
                    id=sent.id,
                    raw_id=_decoded(sent.id),
                    response=AuthenticatorAssertionResponse(
                        client_data_json=_client_data(sent.response.client_data),
                        authenticator_data=_decoded(sent.response.authenticator_data),
                        signature=_decoded(sent.response.signature),
                    ),
                ),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origins,
                credential_public_key=public_key,
                credential_current_sign_count=sign_count,
                require_user_verification=True,
            )
            return verified.new_sign_count


@contextmanager
def _refusing() -> Generator[None]:
    """Make one refusal of whatever goes wrong.

    Besides its own errors the package raises what Python raises for odd bytes: KeyError, TypeError,
    IndexError, RecursionError and more, which must not become a 500.
    """
    try:
        yield
    except Exception:  # noqa: BLE001  (see above)
        raise InvalidGrant(_REFUSED) from None


def _shaped(credential: Mapping[str, Any], shape: type[_Shape]) -> _Shape:
    if len(msgspec.json.encode(credential)) > CREDENTIAL_BYTES_MAX:
        raise InvalidGrant(_REFUSED)
    found = msgspec.convert(credential, shape)
    if not isinstance(found, _Credential) or found.type != "public-key":
        raise InvalidGrant(_REFUSED)
    return found


def _decoded(text: str) -> bytes:
    """Decode base64url, in its one canonical form without padding."""
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidGrant(_REFUSED) from None
    if urlsafe_b64encode(content).rstrip(b"=") != text.encode():
        raise InvalidGrant(_REFUSED)
    return content


def _client_data(text: str) -> bytes:
    content = _decoded(text)
    if msgspec.json.decode(content, type=_ClientData).cross_origin:
        raise InvalidGrant(_REFUSED)
    return content


def _unattested(text: str) -> bytes:
    """Return the attestation object without its statement, as authenticators make it for none."""
    content: dict[str, Any] = parse_cbor(_decoded(text))
    return encode_cbor({"fmt": "none", "attStmt": {}, "authData": content["authData"]})


def _require_usable(public_key: bytes) -> None:
    decoded = decode_credential_public_key(public_key)
    key = decoded_public_key_to_cryptography(decoded)
    is_usable = (
        (isinstance(key, Ed25519PublicKey) and decoded.alg == COSEAlgorithmIdentifier.EDDSA)
        or (
            isinstance(key, EllipticCurvePublicKey)
            and isinstance(key.curve, SECP256R1)
            and decoded.alg == COSEAlgorithmIdentifier.ECDSA_SHA_256
        )
        or (
            isinstance(key, RSAPublicKey)
            and RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX
            and decoded.alg == COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256
        )
    )
    if not is_usable:
        raise InvalidGrant(_REFUSED)
