"""A circuit breaker: after some failures in a row the other side is left alone for a moment.

    closed --THRESHOLD failures--> open --OPEN_S later--> half-open --one call succeeds--> closed
                                     ^------------------------'  it fails

The states and their table are purgatory's. Two things are added: while the circuit is half open one
call goes through and no more, and time is monotonic, so that a wall clock that is set back does not
keep the circuit open.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import HALF_OPENED, OPENED, HalfOpenedState

from edge.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker

BreakerState: TypeAlias = Literal["closed", "half-open", "open"]
THRESHOLD: Final = 5
"""One lost packet is no outage; five calls in a row are."""
OPEN_S: Final = 2.0
"""Phones are answered at once meanwhile; one call in two seconds costs nobody anything."""


class Breaker:
    """One circuit. Only Unavailable is a failure; a refusal shows that the other side is there."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._factory = AsyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=OPEN_S)
        self._circuit: AsyncCircuitBreaker | None = None
        self._opened_at = 0.0
        self._is_probing = False

    @property
    def state(self) -> BreakerState:
        """Where the circuit stands: once OPEN_S are over it is half open, asked or not."""
        if self._circuit is None:
            return "closed"
        state = self._circuit.context.state
        if state == OPENED:
            return "open" if self._clock() - self._opened_at < OPEN_S else "half-open"
        return "half-open" if state == HALF_OPENED else "closed"

    @property
    def is_open(self) -> bool:
        """Whether a call would be refused without being made."""
        state = self.state
        return state == "open" or (state == "half-open" and self._is_probing)

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[None]:
        """Make one call inside; raises Unavailable at once while the circuit is open."""
        circuit = self._circuit
        if circuit is None:
            circuit = self._circuit = await self._factory.get_breaker(self._name)
        if self.is_open:
            raise Unavailable("The primary is away; it is tried again in a moment.")
        if circuit.context.state == OPENED:
            circuit.context.set_state(HalfOpenedState())
        is_probe = circuit.context.state == HALF_OPENED
        self._is_probing = self._is_probing or is_probe
        try:
            await circuit.__aenter__()
            try:
                yield
            except Unavailable as error:
                await self._failed(circuit, error)
                raise
            except Exception:
                await circuit.__aexit__(None, None, None)
                raise
            await circuit.__aexit__(None, None, None)
        finally:
            # A call that was cancelled says nothing: the next one is the probe.
            if is_probe:
                self._is_probing = False

    async def _failed(self, circuit: AsyncCircuitBreaker, error: Unavailable) -> None:
        was_open = circuit.context.state == OPENED
        await circuit.__aexit__(type(error), error, None)
        if circuit.context.state == OPENED and not was_open:
            self._opened_at = self._clock()
