"""Who belongs to the fleet: nodes are invited, join with a one-time token, and are taken out.

Invariants
  M1  a token is shown once; of it only the SHA-256 is stored, in the vault, which is not replicated
  M2  a token is for one name and region, and for the first keys it is used with: the same keys may
      ask again until it expires, because an answer can get lost; any others are refused
  M3  every worthless token gets the same answer after the same work
  M4  a node vouches for its own region's tenants and for every scope but the operator's
  M5  a removed node stays removed, its name is not given again, and nothing of its keys verifies
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from core.fleet import Leadership, NodeEntry, NodeState
from core.identity.keys import VERIFYING, Authority, KeyState, NodeKey, moved
from edge.errors import Conflict, EdgeError, InvalidGrant, InvalidQuery, NotFound, Unavailable
from edge.ports.identity_stores import JoinRecord
from edge.services.fleet.messages import JoinedBody
from edge.services.fleet.models import leadership_of, node_of, node_record
from edge.services.identity.audit import INSTALLATION, note
from edge.services.identity.models import key_of, key_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.ports.identity_stores import ControlDatabase, ControlUnit, VaultDatabase, VaultUnit
    from edge.services.fleet.messages import JoiningBody, JoiningKey
    from edge.services.identity.trust import Trust

TOKEN_PREFIX: Final = "skn_"  # noqa: S105  (so that scanners find what was published by mistake)
TOKEN_BYTES: Final = 24
"""192 random bits: nobody guesses one."""
TTL_S_DEFAULT: Final = 900
TTL_S_MAX: Final = 7 * 24 * 3_600
NODES_MAX: Final = 1_000
"""Removed ones too; every process knows all of them by heart."""
URL_LENGTH_MAX: Final = 256
KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_TOKEN: Final = re.compile(
    r"skn_([a-z0-9][a-z0-9-]{0,31})\.([a-z0-9][a-z0-9-]{0,31})\.[A-Za-z0-9_-]{32}", re.ASCII
)
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]{1,250}", re.ASCII)
_WORTHLESS: Final = "This token is not valid, or not valid any more."


@dataclass(frozen=True, slots=True)
class Invited:
    """A one-time token, and until when (Unix ms) it may be used."""

    token: str
    expires_ms: int


def is_node_name(text: str) -> bool:
    """Tell whether `text` may name a node or a region."""
    return _NAME.fullmatch(text) is not None


def named_in(token: str) -> tuple[str, str]:
    """Return the node and region that a token names; raises InvalidGrant."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise InvalidGrant(_WORTHLESS)
    return match[1], match[2]


class Membership:
    """Changes the fleet in the control database; only the primary can. `vault` None: reads only."""

    def __init__(
        self,
        control: ControlDatabase,
        vault: VaultDatabase | None,
        trust: Trust,
        *,
        entropy: Callable[[int], bytes],
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._vault = vault
        self._trust = trust
        self._entropy = entropy
        self._now_ms = now_ms

    async def found(self, own: NodeEntry, *, is_first: bool) -> Leadership:
        """Enter this node, and make it the first primary unless there is one already.

        Calling it at every start is harmless: addresses that have changed are entered. Returns who
        leads; raises Unavailable when this node was removed, or when nobody has led yet and it is
        not the first: its database is not that of its fleet.
        """

        def work(unit: ControlUnit) -> Leadership:
            before = unit.nodes.get(own.node)
            if before is not None and before.state != NodeState.JOINED.value:
                raise Unavailable(f"The node {own.node} was removed from the fleet.")
            joined_ms = own.joined_ms if before is None else before.joined_ms
            entry = node_record(replace(own, state=NodeState.JOINED, joined_ms=joined_ms))
            if entry != before:
                unit.nodes.put(entry)
            known = leadership_of(unit.nodes.leadership())
            if known is None and not is_first:
                raise Unavailable(
                    "This node is to lead a fleet whose control database it does not have: restore "
                    "a backup, or promote another node."
                )
            if known is not None and known.node != own.node:
                return known
            epoch = 1 if known is None else known.epoch
            leading = Leadership(epoch, own.node, own.url, own.grpc_url)
            if leading != known:
                unit.nodes.lead(epoch, own.node, own.url, own.grpc_url)
            return leading

        leading = await self._control.write(work)
        await self._trust.refresh()
        return leading

    async def lead(self, claim: Leadership) -> None:
        """Note who leads, unless a later claim is known; the claimant itself writes it.

        The keys of the primary before it vouch for its own region only from then on (M4).
        """

        def work(unit: ControlUnit) -> None:
            known = leadership_of(unit.nodes.leadership())
            if known is not None and claim.epoch < known.epoch:
                return
            unit.nodes.lead(claim.epoch, claim.node, claim.url, claim.grpc_url)
            before = None if known is None else unit.nodes.get(known.node)
            if before is None or before.node == claim.node or not before.region:
                return
            authority = Authority(regions=frozenset({before.region}))
            for key in map(key_of, unit.keys.all()):
                if key.node == before.node:
                    unit.keys.put(key_record(replace(key, authority=authority)))

        await self._control.write(work)
        await self._trust.refresh()

    async def invite(
        self, node: str, region: str, *, ttl_s: int = TTL_S_DEFAULT, actor: str, address: str = ""
    ) -> Invited:
        """Make a token that `node` joins with; its earlier ones are worth nothing any more.

        Raises InvalidQuery, Conflict (the node is there, or was removed), Unavailable (an edge).
        """
        if not (is_node_name(node) and is_node_name(region)):
            raise InvalidQuery("A node and a region are named by small letters, digits, hyphens.")
        if not 1 <= ttl_s <= TTL_S_MAX:
            raise InvalidQuery(f"A token lives between 1 s and {TTL_S_MAX} s.")
        vault, now_ms = self._primary_vault(), self._now_ms()
        secret = urlsafe_b64encode(self._entropy(TOKEN_BYTES)).decode()
        token = f"{TOKEN_PREFIX}{node}.{region}.{secret}"
        record = JoinRecord(_hash(token), node, region, "", now_ms + ttl_s * 1_000)

        def announce(unit: ControlUnit) -> None:
            _require_free(unit, node)
            note(
                unit, "node.invite", tenant=INSTALLATION, actor=actor, subject=node,
                now_ms=now_ms, address=address, region=region,
            )  # fmt: skip

        def keep(unit: VaultUnit) -> None:
            unit.joins.trim(now_ms=now_ms)
            unit.joins.add(record)

        await self._control.write(announce)
        await vault.write(keep)
        return Invited(token, record.expires_ms)

    async def join(self, joining: JoiningBody, *, address: str = "") -> JoinedBody:
        """Enter a new node and its keys.

        Raises InvalidGrant (a worthless token), InvalidQuery (keys or addresses that cannot be),
        Unavailable (an edge, or nobody leads yet).
        """
        vault, now_ms = self._primary_vault(), self._now_ms()
        digest = _hash(joining.token)
        record = await vault.read(lambda unit: unit.joins.get(digest))
        if record is None or record.expires_ms <= now_ms:
            raise InvalidGrant(_WORTHLESS)
        _require_addresses(joining)
        keys = [
            _new_key(record, joining.active, KeyState.ACTIVE, now_ms),
            _new_key(record, joining.standby, KeyState.STANDBY, now_ms),
        ]
        if keys[0].kid == keys[1].kid:
            raise InvalidQuery("The two keys are the same.")
        kids = " ".join(key.kid for key in keys)
        if not await vault.write(lambda unit: unit.joins.use(digest, kids)):
            raise InvalidGrant(_WORTHLESS)

        def work(unit: ControlUnit) -> Leadership:
            leading = leadership_of(unit.nodes.leadership())
            if leading is None:
                raise Unavailable("Nobody leads this fleet yet.")
            known = {key.kid: key_of(key) for key in unit.keys.all()}
            if all(key.kid in known for key in keys):
                return leading  # M2: the answer got lost
            _require_free(unit, record.node)
            if any(key.kid in known for key in keys):
                raise InvalidGrant(_WORTHLESS)
            entry = NodeEntry(
                record.node, record.region, joining.url, joining.grpc_url, NodeState.JOINED, now_ms
            )
            unit.nodes.put(node_record(entry))
            for key in keys:
                unit.keys.put(key_record(key))
            note(
                unit, "node.join", tenant=INSTALLATION, actor=record.node, subject=record.node,
                now_ms=now_ms, address=address, region=record.region, key=keys[0].kid,
            )  # fmt: skip
            return leading

        leading = await self._control.write(work)
        await self._trust.refresh()
        return JoinedBody(
            record.node, record.region, leading.epoch, leading.node, leading.url, leading.grpc_url
        )

    async def list(self) -> list[NodeEntry]:
        """Return every node by name, removed ones too."""
        return await self._control.read(lambda unit: [node_of(r) for r in unit.nodes.all()])

    async def revoke(self, node: str, *, actor: str, address: str = "") -> int:
        """Make all that a node's keys sign worth nothing; return how many keys were revoked.

        The node may be invited again. Raises NotFound, Conflict (the primary).
        """
        return await self._take_back(node, "node.revoke", actor=actor, address=address)

    async def remove(self, node: str, *, actor: str, address: str = "") -> int:
        """Take a node out for ever; return how many keys were revoked.

        Raises NotFound, Conflict (the primary).
        """
        return await self._take_back(node, "node.remove", actor=actor, address=address)

    async def _take_back(self, node: str, action: str, *, actor: str, address: str) -> int:
        now_ms = self._now_ms()

        def work(unit: ControlUnit) -> int:
            record = unit.nodes.get(node)
            if record is None:
                raise NotFound("There is no such node.")
            leading = leadership_of(unit.nodes.leadership())
            if leading is not None and leading.node == node:
                raise Conflict("This node is the primary: let another one take over first.")
            if action == "node.remove":
                unit.nodes.put(replace(record, state=NodeState.REMOVED.value))
            count = 0
            for stored in unit.keys.all():
                key = key_of(stored)
                if key.node == node and key.state is not KeyState.REVOKED:
                    state = moved(key.state, "revoke")
                    unit.keys.put(key_record(replace(key, state=state, changed_ms=now_ms)))
                    count += 1
            note(
                unit, action, tenant=INSTALLATION, actor=actor, subject=node,
                now_ms=now_ms, address=address,
            )  # fmt: skip
            return count

        count = await self._control.write(work)
        await self._trust.refresh()
        return count

    def _primary_vault(self) -> VaultDatabase:
        if self._vault is None:
            raise Unavailable("Only the primary takes nodes in.")
        return self._vault


def key_id(node: str, public: bytes) -> str:
    """Return the id of a node's key: it follows from the public half, so none is taken twice."""
    return f"{node}-{urlsafe_b64encode(sha256(public).digest()[:9]).decode()}"


def _hash(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()


def _new_key(record: JoinRecord, key: JoiningKey, state: KeyState, now_ms: int) -> NodeKey:
    if len(key.public) != KEY_BYTES or key.kid != key_id(record.node, key.public):
        raise InvalidGrant(_WORTHLESS)
    authority = Authority(regions=frozenset({record.region}))  # M4: trust refuses the operator's
    return NodeKey(key.kid, record.node, state, key.public, authority, now_ms, now_ms)


def _require_addresses(joining: JoiningBody) -> None:
    for url in (joining.url, joining.grpc_url):
        if url and (len(url) > URL_LENGTH_MAX or _URL.fullmatch(url) is None):
            raise InvalidQuery("A node is called at an address such as https://10.0.0.2:8788.")


def _require_free(unit: ControlUnit, node: str) -> None:
    """Refuse a name that was removed, or that is a node's whose keys are good (M5)."""
    record = unit.nodes.get(node)
    if record is None:
        if len(unit.nodes.all()) >= NODES_MAX:
            raise Conflict("The fleet has as many nodes as it can have.")
        return
    taken: EdgeError | None = None
    if record.state != NodeState.JOINED.value:
        taken = Conflict("A node of this name was removed; choose another name.")
    elif any((k := key_of(r)).node == node and k.state in VERIFYING for r in unit.keys.all()):
        taken = Conflict("There is a node of this name; revoke it first.")
    if taken is not None:
        raise taken
