"""The node's own signing key: made, used, rotated and revoked (core.identity.keys has the rules).

There is always a standby key that every node has read before it signs anything, so that a rotation
takes effect at once and no token is ever refused for being too new.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.identity.keys import ANY, Authority, KeyState, NodeKey, moved
from edge.errors import InvalidQuery, NotFound, Unavailable
from edge.services.identity.audit import INSTALLATION, note
from edge.services.identity.models import key_of, key_record
from edge.services.session import OPERATOR_SCOPE
from edge.services.tokens import AUDIENCE, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.ports.identity_stores import ControlDatabase, ControlUnit
    from edge.ports.keys import PrivateKeys, SigningKey
    from edge.services.identity.trust import Trust

ACCESS_TOKEN_S: Final = 600
"""Ten minutes: what a token outlives a revocation by on a node that is cut off."""
KEYS_PER_NODE_MAX: Final = 64
TOKEN_ID_BYTES: Final = 8
"""Two tokens of one session and second differ: a client can tell the refused one from its heir."""


class Signing:
    """Signs access tokens for one node."""

    def __init__(
        self,
        control: ControlDatabase,
        private: PrivateKeys,
        trust: Trust,
        *,
        node: str,
        authority: Authority | None = None,
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._private = private
        self._trust = trust
        self.node = node
        self._authority = authority or Authority()
        self._now_ms = now_ms
        self._active: SigningKey | None = None

    async def open(self) -> None:
        """See to it that the node has an active and a standby key; only the writer can."""
        candidates = [await asyncio.to_thread(self._private.make, self.node) for _ in range(2)]
        used = await self._control.write(lambda unit: self._ensure(unit, candidates))
        for candidate in candidates:
            if candidate.kid not in used:
                await asyncio.to_thread(self._private.forget, candidate.kid)
        await self._trust.refresh()
        await self._load()

    async def load(self) -> bool:
        """Take up the node's active key without writing, as an edge does; tell whether it is here.

        The trust must have been read before.
        """
        kid = self._trust.active_kid(self.node)
        key = None if kid is None else await asyncio.to_thread(self._private.private_key, kid)
        self._active = key
        return key is not None

    async def usable(self) -> SigningKey:
        """Return the active key, loaded again when another one has become active.

        Raises Unavailable when this node has no such key: it was revoked, or never joined.
        """
        kid = self._trust.active_kid(self.node)
        if self._active is None or self._active.kid != kid:
            await self.load()
        if self._active is None:
            raise Unavailable("This node has no key to sign with: has it joined, was it revoked?")
        return self._active

    def access_token(self, claims: dict[str, object], *, scopes: Iterable[str]) -> str:
        """Return a signed token with the node's name, audience and times added to the claims."""
        key = self._active
        if key is None:
            raise Unavailable("This node has no key to sign with yet.")
        now_s = self._now_ms() // 1_000
        whole: dict[str, object] = {
            "iss": self.node,
            "aud": AUDIENCE,
            "iat": now_s,
            "exp": now_s + ACCESS_TOKEN_S,
            "jti": token_hex(TOKEN_ID_BYTES),
            **claims,
        }
        allowed = self._authority.scopes
        words = sorted(
            word
            for word in scopes
            if word != OPERATOR_SCOPE and (ANY in allowed or word in allowed)
        )
        if words:
            whole["scope"] = " ".join(words)
        return signed(key, whole)

    async def list(self) -> list[NodeKey]:
        """Return every key of every node."""
        return await self._control.read(lambda unit: [key_of(r) for r in unit.keys.all()])

    async def rotate(self, *, actor: str, address: str = "") -> NodeKey:
        """Let the standby key sign from now on, make a new standby; return the active key."""
        fresh = await asyncio.to_thread(self._private.make, self.node)
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> NodeKey:
            own = self._own(unit)
            if len(own) >= KEYS_PER_NODE_MAX:
                raise InvalidQuery("The node has too many keys; wait until old ones have ended.")
            active = self._advance(unit, own, fresh, now_ms)
            note(
                unit, "key.rotate", tenant=INSTALLATION, actor=actor, subject=active.kid,
                now_ms=now_ms, address=address,
            )  # fmt: skip
            return active

        active = await self._control.write(work)
        await self._trust.refresh()
        await self._load()
        return active

    async def revoke(self, kid: str, *, actor: str, address: str = "") -> NodeKey:
        """Make everything a key has signed worth nothing; an active key's node moves on.

        Raises NotFound.
        """
        fresh = await asyncio.to_thread(self._private.make, self.node)
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> tuple[NodeKey, bool]:
            found = next((key for r in unit.keys.all() if (key := key_of(r)).kid == kid), None)
            if found is None:
                raise NotFound("There is no such key.")
            revoked = replace(found, state=moved(found.state, "revoke"), changed_ms=now_ms)
            unit.keys.put(key_record(revoked))
            if found.node != self.node and found.state is KeyState.ACTIVE:
                self._promote(unit, found.node, now_ms)
            is_used = False
            own = self._own(unit)
            if not any(key.state is KeyState.ACTIVE for key in own):
                self._advance(unit, own, fresh, now_ms)
                is_used = True
            elif not any(key.state is KeyState.STANDBY for key in own):
                unit.keys.put(key_record(self._new(fresh, KeyState.STANDBY, now_ms)))
                is_used = True
            note(
                unit, "key.revoke", tenant=INSTALLATION, actor=actor, subject=kid,
                now_ms=now_ms, address=address,
            )  # fmt: skip
            return revoked, is_used

        revoked, is_used = await self._control.write(work)
        if not is_used:
            await asyncio.to_thread(self._private.forget, fresh.kid)
        await self._trust.refresh()
        await self._load()
        return revoked

    def retire(self, unit: ControlUnit, *, before_ms: int) -> list[str]:
        """Drop previous and revoked keys that changed before a time; return their ids.

        A revoked key stays as long as a token signed with it could: it must not come back by file.
        """
        ended = {KeyState.PREVIOUS, KeyState.REVOKED}
        gone = [k.kid for k in self._own(unit) if k.state in ended and k.changed_ms < before_ms]
        for kid in gone:
            unit.keys.remove(kid)
        return gone

    async def forget(self, kids: Iterable[str]) -> None:
        """Delete the private halves of keys that were dropped."""
        for kid in kids:
            await asyncio.to_thread(self._private.forget, kid)

    def _ensure(self, unit: ControlUnit, candidates: list[SigningKey]) -> set[str]:
        now_ms = self._now_ms()
        usable: dict[KeyState, NodeKey] = {}
        for key in self._own(unit):
            if key.state in (KeyState.ACTIVE, KeyState.STANDBY):
                if self._private.private_key(key.kid) is None:
                    # The folder was lost: nobody can sign with this key any more, or somebody can.
                    revoked = replace(key, state=KeyState.REVOKED, changed_ms=now_ms)
                    unit.keys.put(key_record(revoked))
                else:
                    usable[key.state] = key
                    if key.authority != self._authority:  # the node has become the primary
                        unit.keys.put(key_record(replace(key, authority=self._authority)))
        used: set[str] = set()
        for state in (KeyState.ACTIVE, KeyState.STANDBY):
            if state not in usable:
                candidate = candidates[len(used)]
                unit.keys.put(key_record(self._new(candidate, state, now_ms)))
                used.add(candidate.kid)
        return used

    def _advance(
        self, unit: ControlUnit, own: list[NodeKey], fresh: SigningKey, now_ms: int
    ) -> NodeKey:
        """Replace the active key by the standby, and the standby by a fresh one."""
        standby = None
        for key in own:
            if key.state is KeyState.ACTIVE:
                state = moved(key.state, "replace")
                unit.keys.put(key_record(replace(key, state=state, changed_ms=now_ms)))
            elif key.state is KeyState.STANDBY:
                standby = key
        if standby is None:
            raise Unavailable("The node has no standby key; restart it.")
        active = replace(standby, state=moved(standby.state, "activate"), changed_ms=now_ms)
        unit.keys.put(key_record(active))
        unit.keys.put(key_record(self._new(fresh, KeyState.STANDBY, now_ms)))
        return active

    @staticmethod
    def _promote(unit: ControlUnit, node: str, now_ms: int) -> None:
        """Let another node's standby key sign from now on; that node learns of it by its trust."""
        for key in map(key_of, unit.keys.all()):
            if key.node == node and key.state is KeyState.STANDBY:
                state = moved(key.state, "activate")
                unit.keys.put(key_record(replace(key, state=state, changed_ms=now_ms)))

    def _new(self, key: SigningKey, state: KeyState, now_ms: int) -> NodeKey:
        public = key.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return NodeKey(key.kid, self.node, state, public, self._authority, now_ms, now_ms)

    def _own(self, unit: ControlUnit) -> list[NodeKey]:
        return [key for r in unit.keys.all() if (key := key_of(r)).node == self.node]

    async def _load(self) -> None:
        keys = await self._control.read(self._own)
        active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
        assert active is not None, "open, rotate and revoke leave an active key"
        self._active = await asyncio.to_thread(self._private.private_key, active.kid)


def jwks(keys: Iterable[NodeKey]) -> dict[str, Any]:
    """Return a JSON Web Key Set (RFC 7517, RFC 8037) of public keys."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "use": "sig",
                "kid": key.kid,
                "x": urlsafe_b64encode(key.public).rstrip(b"=").decode(),
            }
            for key in keys
        ]
    }
