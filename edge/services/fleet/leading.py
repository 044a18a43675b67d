"""Who is the primary: claims heard, hand-over, forced promotion, and the end of an old primary.

Invariants
  L1  a node that hears of a higher epoch than its own commits nothing from then on
  L2  a hand-over loses nothing: writes stand still until the next primary has read everything
  L3  a node that was made primary before it was told to stop has a higher epoch than the old one
  L4  two primaries of one epoch, each promoted while the other could not be asked, do not stay so:
      the one whose name comes first goes on in the next epoch, and the other one hears of it
  L5  a node that no longer knows the keys of whoever leads asks, and so hears of it all the same
  L6  a node leads only with a whole copy of the fleet's own database: it would be another fleet
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from core.fleet import Leadership, NodeState, Role, further
from edge.errors import Conflict, EdgeError, NotFound, Unavailable
from edge.ports.fleet import CONTROL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from core.fleet import NodeEntry
    from edge.services.fleet.peers import Peers, PeerStatus

LEVEL_SECONDS_MAX: Final = 10.0
"""How long a hand-over waits for the next primary to have read everything, while writes stand."""
LEVEL_POLL_S: Final = 0.02
HEIR_SECONDS_MAX: Final = 10.0
"""How long a node that was told to lead is asked whether it has heard, while writes stand: longer
than it takes to start again in its new role."""
ANNOUNCE_DELAY_S: Final = 1.0
ASK_AROUND_SECONDS_MAX: Final = 5.0
"""A primary that starts asks the others for so long whether somebody else leads meanwhile."""
ASK_AROUND_DELAY_S: Final = 0.25
STRANGERS_EVERY_S: Final = 10.0
"""Refused calls make a node ask the others once in so long: whoever has no key makes it do no
more."""
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadingParts:
    """What leading stands on; the composition root fills it in.

    `nodes`: the fleet as the control database knows it; `restart`: note the new role on the disk
    and start again in it; `pause`: let every write wait outside (True) or in again; `fence_out`:
    never commit again; `commits`: batches by database, as this node has them;
    `missing`: databases of which it has no whole copy.
    """

    own: NodeEntry
    role: Role
    epoch: int
    nodes: Callable[[], list[NodeEntry]]
    leader: Callable[[], Leadership | None]
    peers: Peers
    sequences: Callable[[], Mapping[str, int]]
    commits: Callable[[], Awaitable[Mapping[str, int]]]
    restart: Callable[[Role, Leadership], None]
    pause: Callable[[bool], None]
    fence_out: Callable[[int], Awaitable[None]]
    vault: Callable[[], Awaitable[bytes]]
    missing: Callable[[], Awaitable[list[str]]]


class Leading:
    """One node's part in deciding who leads."""

    def __init__(self, parts: LeadingParts) -> None:
        self._parts = parts
        self._is_leaving = False
        self._one_at_a_time = asyncio.Lock()
        self._announcing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._wondering: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def epoch(self) -> int:
        """The epoch this node acts in."""
        return self._parts.epoch

    @property
    def role(self) -> Role:
        """The role this process was started in."""
        return self._parts.role

    @property
    def is_in_doubt(self) -> bool:
        """Whether this node is about to end in its role, or has heard of a later epoch."""
        return self._is_leaving or self._asking is not None

    def known(self) -> Leadership:
        """Return whom this node takes for the primary."""
        parts = self._parts
        own = Leadership(parts.epoch, parts.own.node, parts.own.url, parts.own.grpc_url)
        if parts.role is Role.PRIMARY:
            return own
        return parts.leader() or Leadership(parts.epoch, "", "", "")

    async def hear(self, claim: Leadership) -> Leadership:
        """Take note of who leads; returns whom this node takes for the primary then (L1)."""
        parts = self._parts
        known = self.known()
        if claim.epoch < max(parts.epoch, known.epoch):
            return known
        is_news = claim.epoch > parts.epoch
        if claim.node == parts.own.node:
            if is_news:
                self._become(Role.PRIMARY, claim)
            return claim
        if parts.role is Role.PRIMARY:
            if is_news:
                await self._step_down(claim)
                return claim
            return self._untied(claim) or known
        if is_news:
            self._become(Role.EDGE, claim)
        return claim

    def _untied(self, claim: Leadership) -> Leadership | None:
        """Go on in the next epoch if another primary of this one gives way (L4)."""
        own = self._parts.own
        if claim.epoch != self._parts.epoch or not claim.node or own.node > claim.node:
            return None
        _log.error("two-primaries", epoch=claim.epoch, other=claim.node)
        onward = Leadership(claim.epoch + 1, own.node, own.url, own.grpc_url)
        self._become(Role.PRIMARY, onward)
        return onward

    async def heard_epoch(self, epoch: int) -> None:
        """Take note of an epoch that another node has heard of, without knowing who leads (L1)."""
        parts = self._parts
        if parts.role is Role.PRIMARY and epoch > parts.epoch and not self._is_leaving:
            _log.error("fenced", epoch=parts.epoch, heard=epoch)
            await parts.fence_out(epoch)
            if self._asking is None:
                self._asking = asyncio.create_task(self._until_known(), name="ask-around")

    def wonder(self) -> None:
        """Somebody has called whose token is refused: ask the others whether another one leads.

        A node that was out of reach for a take-over and for what the new primary did to its keys
        refuses the very call that would tell it (L5).
        """
        if not self._is_closed and (self._wondering is None or self._wondering.done()):
            self._wondering = asyncio.create_task(self._wondered(), name="wonder")

    async def ask_around(self) -> None:
        """Before leading: has somebody else taken over meanwhile? Steps down if so.

        Waits a bounded time for some other node to answer; a fleet that does not answer at all
        leaves an old primary in doubt, which docs/OPERATIONS.md says.
        """
        parts = self._parts
        others = self._others()
        deadline = asyncio.get_running_loop().time() + ASK_AROUND_SECONDS_MAX
        while others:
            statuses = await parts.peers.statuses(others)
            claim = _leader_among(others, statuses, since=parts.epoch + 1)
            if claim is not None:
                await self._step_down(claim)
                return
            highest = max((s.epoch for s in statuses.values()), default=0)
            if highest > parts.epoch:
                await parts.fence_out(highest)
                raise Unavailable("Another primary has taken over, and does not answer yet.")
            if statuses or asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(ASK_AROUND_DELAY_S)

    async def promote(self, *, force: bool) -> Leadership:
        """Make this node the primary, whose predecessor is lost; raises Conflict when it is not.

        `force`: although the predecessor answers, another node has read further, or tenants are not
        copied here whole. Without the control database nobody leads (L6).
        """
        parts = self._parts
        async with self._one_at_a_time:
            if parts.role is Role.PRIMARY:
                raise Conflict("This node is the primary.")
            others = self._others()
            statuses = await parts.peers.statuses(others)
            if not force:
                self._require_lost(statuses)
            await self._require_whole(force=force)
            epochs = [parts.epoch, self.known().epoch, *(s.epoch for s in statuses.values())]
            claim = Leadership(max(epochs) + 1, parts.own.node, parts.own.url, parts.own.grpc_url)
            self._become(Role.PRIMARY, claim)
            return claim

    async def hand_over(self, node: str) -> Leadership:
        """Let another node lead; nothing is lost (L2). Raises NotFound, Conflict, Unavailable."""
        parts = self._parts
        async with self._one_at_a_time:
            if parts.role is not Role.PRIMARY:
                raise Conflict("This node is not the primary: ask the one that is.")
            heir = next((entry for entry in self._others() if entry.node == node), None)
            if heir is None:
                raise NotFound("There is no such node.")
            parts.pause(True)
            try:
                await self._until_level(heir)
                await parts.peers.give_vault(heir, await parts.vault())
                claim = Leadership(parts.epoch + 1, heir.node, heir.url, heir.grpc_url)
                await self._told(heir, claim)
            except BaseException:
                parts.pause(False)
                raise
            await self._step_down(claim)
            return claim

    def announce(self) -> None:
        """Tell every other node that this one leads, until each has heard it."""
        self._announcing = asyncio.create_task(self._announced(), name="announce")

    async def close(self) -> None:
        """Stop announcing and asking."""
        self._is_closed = True
        for task in (self._announcing, self._asking, self._wondering):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _wondered(self) -> None:
        parts, others = self._parts, self._others()
        try:
            statuses = await parts.peers.statuses(others)
            claim = _leader_among(others, statuses, since=parts.epoch)  # L4 also of this one
            if claim is not None:
                await self.hear(claim)
            await self.heard_epoch(max((s.epoch for s in statuses.values()), default=0))
        except EdgeError as error:
            _log.warning("asked-in-vain", reason=error.message)
        await asyncio.sleep(STRANGERS_EVERY_S)

    async def _until_known(self) -> None:
        """Fenced, and who leads is not known yet: ask until somebody says."""
        while not self._is_leaving:
            try:
                await self.ask_around()
            except EdgeError as error:
                _log.warning("fenced-without-a-leader", reason=error.message)
            await asyncio.sleep(ANNOUNCE_DELAY_S)

    async def _announced(self) -> None:
        waiting = {entry.node for entry in self._others()}
        while waiting:
            for entry in self._others():
                if entry.node not in waiting:
                    continue
                try:
                    heard = await self._parts.peers.announce(entry, self.known())
                except EdgeError:
                    continue
                is_rival = heard.node != self._parts.own.node
                if heard.epoch > self._parts.epoch or (
                    heard.epoch == self._parts.epoch and is_rival
                ):
                    await self.hear(heard)
                if self._is_leaving:
                    return
                waiting.discard(entry.node)
            waiting &= {entry.node for entry in self._others()}
            await asyncio.sleep(ANNOUNCE_DELAY_S)

    async def _told(self, heir: NodeEntry, claim: Leadership) -> None:
        """Tell the next primary; without an answer, ask until it says whether it has heard.

        Whoever went on without knowing might commit what the heir will never have. An heir that
        says nothing for so long is taken for one that has not heard.
        """
        peers = self._parts.peers
        try:
            await peers.announce(heir, claim)
        except EdgeError:
            deadline = asyncio.get_running_loop().time() + HEIR_SECONDS_MAX
            while asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(ASK_AROUND_DELAY_S)
                status = (await peers.statuses([heir])).get(heir.node)
                if status is not None and status.epoch >= claim.epoch:
                    return
            raise

    async def _until_level(self, heir: NodeEntry) -> None:
        """Wait until the next primary has every batch of every database."""
        parts = self._parts
        deadline = asyncio.get_running_loop().time() + LEVEL_SECONDS_MAX
        while True:
            status = await parts.peers.status(heir)
            wanted = await parts.commits()
            behind = [name for name, count in wanted.items() if status.commits.get(name) != count]
            if not behind:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"{heir.node} does not catch up with {', '.join(behind[:5])}.")
            await asyncio.sleep(LEVEL_POLL_S)

    def _require_lost(self, statuses: Mapping[str, PeerStatus]) -> None:
        leader = self.known().node
        found = statuses.get(leader)
        if found is not None and found.role == Role.PRIMARY:
            raise Conflict(f"The primary {leader} answers: hand over instead, or use force.")
        others = {name: s.sequences for name, s in statuses.items() if name != leader}
        ahead = further(self._parts.sequences(), others)
        if ahead:
            raise Conflict(f"{', '.join(ahead)} has read further: promote it instead.")

    async def _require_whole(self, *, force: bool) -> None:
        missing = await self._parts.missing()
        if CONTROL in missing or (missing and not force):
            raise Conflict(
                f"This node has no whole copy of {', '.join(missing[:5])}: promote another one, "
                "or wait until it is copied."
            )

    async def _step_down(self, claim: Leadership) -> None:
        if self._is_leaving:
            return
        _log.warning("stepping-down", epoch=self._parts.epoch, next=claim.epoch, to=claim.node)
        self._parts.pause(True)
        try:
            await self._parts.fence_out(claim.epoch)
        except EdgeError as error:
            _log.warning("fence-not-written", reason=error.message)  # the role on the disk holds
        self._become(Role.EDGE, claim)

    def _become(self, role: Role, claim: Leadership) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._parts.restart(role, claim)

    def _others(self) -> list[NodeEntry]:
        return [
            entry
            for entry in self._parts.nodes()
            if entry.node != self._parts.own.node and entry.state is NodeState.JOINED
        ]


def _leader_among(
    nodes: list[NodeEntry], statuses: Mapping[str, PeerStatus], *, since: int
) -> Leadership | None:
    """Return the claim of a node that says it leads in that epoch or a later one."""
    leading = [
        (status.epoch, name)
        for name, status in statuses.items()
        if status.epoch >= since and status.role == Role.PRIMARY
    ]
    if not leading:
        return None
    epoch, name = max(leading)
    entry = next(node for node in nodes if node.node == name)
    return Leadership(epoch, entry.node, entry.url, entry.grpc_url)
