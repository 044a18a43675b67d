"""Who may ask how often: rates by kind of request and by subject, counted over all processes.

Limits delay, they lock nobody out. A refusal says how long to wait, and that is at most the time
one request takes of its period (a login: 30 seconds), however many requests were refused before:
those count for nothing, so nobody can push somebody else's turn away by asking more. Who hammers an
account from many addresses can still be there first when the turn comes; a device that has signed
in to the account before is therefore counted apart from strangers (`known_device`).

Invariants
  A1  a refused request is charged to none of its subjects
  A2  the told delay is enough when nobody else comes in between, and never exceeds DELAY_MS_MAX
  A3  keys are keyed hashes: nobody outside can tell which subjects share a place in the table
"""

from __future__ import annotations

import socket
from collections import Counter
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from core.errors import DeclarationError
from core.identity.limits import Rate, parse_rate
from edge.errors import RateLimited
from edge.ports.limits import KEY_BYTES, Charge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.ports.limits import LimitTable

DELAY_MS_MAX: Final = 3_600_000
"""No rate is slower than one request in an hour: longer than that is a lockout."""
SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 64
"""What BLAKE2b takes as a key."""
OVERRIDES_MAX: Final = 100
"""More than there are kinds and dimensions."""
_OFF: Final = "off"
_US_PER_MS: Final = 1_000
_NETWORK_BYTES: Final = 8
_MAPPED_IPV4: Final = bytes(10) + b"\xff\xff"


class LimitKind(StrEnum):
    """What is asked for."""

    REGISTER = "register"
    LOGIN = "login"
    CODE = "code"
    """A code or link by mail."""
    REFRESH = "refresh"
    PUSH = "push"
    PULL = "pull"
    STREAM = "stream"
    """A WebSocket; counted when it is opened."""
    ADMIN = "admin"
    REQUEST = "request"
    """Everything else."""


class Dimension(StrEnum):
    """Who is counted."""

    ACCOUNT = "account"
    DEVICE = "device"
    ADDRESS = "address"
    """An IPv4 address or an IPv6 /64, over all tenants. Thousands of phones of one carrier can
    share one: these limits only keep one place from taking the whole node."""


_ACCOUNT, _DEVICE, _ADDRESS = Dimension

DEFAULT_RATES: Final[Mapping[tuple[LimitKind, Dimension], Rate]] = MappingProxyType(
    {
        # Somebody whose answers get lost, or who mistypes, tries a few times.
        (LimitKind.REGISTER, _ACCOUNT): Rate(10, 600),
        # A shared tablet registers a team.
        (LimitKind.REGISTER, _DEVICE): Rate(20, 3_600),
        # A class registers at once behind one address; a machine gets 120 accounts an hour.
        (LimitKind.REGISTER, _ADDRESS): Rate(120, 3_600),
        # Ten typos, then one guess in 30 s: 2,880 a day from all strangers together.
        (LimitKind.LOGIN, _ACCOUNT): Rate(10, 300),
        # People who share a tablet sign in one after another.
        (LimitKind.LOGIN, _DEVICE): Rate(30, 300),
        # A shift begins behind one address. One password hash a second leaves the cores free.
        (LimitKind.LOGIN, _ADDRESS): Rate(300, 300),
        # Every one is a mail to somebody: three lost ones, then one each three minutes.
        (LimitKind.CODE, _ACCOUNT): Rate(5, 900),
        # As for accounts, for two people.
        (LimitKind.CODE, _DEVICE): Rate(10, 900),
        # A class again; and a mail provider that sees more than that calls us a spammer.
        (LimitKind.CODE, _ADDRESS): Rate(120, 900),
        # A person has some ten devices.
        (LimitKind.REFRESH, _ACCOUNT): Rate(600, 60),
        # One in minutes is honest; on a bad network each is repeated until its answer arrives.
        (LimitKind.REFRESH, _DEVICE): Rate(60, 60),
        # All phones of a carrier refresh once the node is back: 50 a second, 3,000 at once.
        (LimitKind.REFRESH, _ADDRESS): Rate(3_000, 60),
        # Two busy devices of one person, at their own limit.
        (LimitKind.PUSH, _ACCOUNT): Rate(10_000, 10),
        # A queue of a day offline goes out in full batches; one by one it is a burst of thousands.
        (LimitKind.PUSH, _DEVICE): Rate(5_000, 10),
        # A third of what a node can take.
        (LimitKind.PUSH, _ADDRESS): Rate(30_000, 10),
        # As two devices.
        (LimitKind.PULL, _ACCOUNT): Rate(5_000, 10),
        # A first sync of a million rows is 200 pages; pokes make a device pull now and then.
        (LimitKind.PULL, _DEVICE): Rate(3_000, 10),
        # A node serves some thousands of pulls a second.
        (LimitKind.PULL, _ADDRESS): Rate(20_000, 10),
        # A person may have 16 open; each of them may come back every second.
        (LimitKind.STREAM, _ACCOUNT): Rate(1_200, 60),
        # A phone on a train comes back every few seconds, sooner than its back-off at times.
        (LimitKind.STREAM, _DEVICE): Rate(300, 60),
        # A node holds 5,000; after a restart all of them come back at once.
        (LimitKind.STREAM, _ADDRESS): Rate(6_000, 60),
        # A script over a few hundred members, then ten a second.
        (LimitKind.ADMIN, _ACCOUNT): Rate(600, 60),
        (LimitKind.ADMIN, _DEVICE): Rate(600, 60),
        # Two operators in one office.
        (LimitKind.ADMIN, _ADDRESS): Rate(1_200, 60),
        # Reads of a screen come by dozens; no screen asks 300 times a second.
        (LimitKind.REQUEST, _ACCOUNT): Rate(5_000, 10),
        (LimitKind.REQUEST, _DEVICE): Rate(3_000, 10),
        # As pulls.
        (LimitKind.REQUEST, _ADDRESS): Rate(20_000, 10),
    }
)


def read_rates(text: str) -> Mapping[tuple[LimitKind, Dimension], Rate]:
    """Apply overrides such as `login.account=10/5m,push.device=off` to the defaults.

    Raises DeclarationError: an unknown name, a rate twice, or one slower than DELAY_MS_MAX allows.
    """
    rates = dict(DEFAULT_RATES)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if len(words) > OVERRIDES_MAX:
        raise DeclarationError(f"{len(words)} rates are more than {OVERRIDES_MAX}")
    seen: set[tuple[LimitKind, Dimension]] = set()
    for word in words:
        name, equals, rate = (part.strip() for part in word.partition("="))
        if not equals:
            raise DeclarationError(f"{word!r:.80}: write for example login.account=10/5m")
        subject = _subject(name)
        if subject in seen:
            raise DeclarationError(f"{name} is given twice")
        seen.add(subject)
        if rate == _OFF:
            rates.pop(subject, None)
            continue
        try:
            rates[subject] = _bounded(parse_rate(rate))
        except DeclarationError as error:
            raise DeclarationError(f"{name}: {error}") from None
    return MappingProxyType(rates)


def network_of(address: str) -> str:
    """Return what of an address is counted: IPv4 whole, IPv6 by its /64, anything else as it is.

    A household or phone has a /64 at least, and may use all its addresses.
    """
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    if packed.startswith(_MAPPED_IPV4):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED_IPV4) :])
    return packed[:_NETWORK_BYTES].hex()


class Limits:
    """The limits of a node; every process has its own object on the same table and `secret`.

    `now_us` is CLOCK_MONOTONIC in microseconds: the same for all processes, and never set back.
    """

    def __init__(
        self,
        table: LimitTable,
        rates: Mapping[tuple[LimitKind, Dimension], Rate],
        *,
        secret: bytes,
        now_us: Callable[[], int],
    ) -> None:
        assert SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX, "a secret is 16 to 64 bytes"
        self._table = table
        self._rates = {subject: _bounded(rate) for subject, rate in rates.items()}
        self._secret = secret
        self._now_us = now_us
        self.refused = Counter[str]()
        """Requests that this process has refused since its start, by kind."""

    def require(
        self,
        kind: LimitKind,
        *,
        tenant: str = "",
        account: str | None = None,
        device: str | None = None,
        address: str | None = None,
        known_device: str | None = None,
        cost: int = 1,
    ) -> None:
        """Count one request against each subject that is given; raises RateLimited, or Overloaded.

        `account` is what identifies the person before anything is proved (the mail address as it is
        stored, or an id). `known_device` is a device that has proved its key and has been signed in
        to this account before: it is counted apart from all others. A `cost` beyond what a rate can
        ever admit at once counts as just that much, so that a large request waits and gets through.
        """
        subjects: list[tuple[Dimension, tuple[str, ...]]] = []
        if account is not None:
            known = () if known_device is None else (known_device,)
            subjects.append((_ACCOUNT, (tenant, account, *known)))
        if device is not None:
            subjects.append((_DEVICE, (tenant, device)))
        if address is not None:
            subjects.append((_ADDRESS, (network_of(address),)))
        charges: list[Charge] = []
        for dimension, subject in subjects:
            rate = self._rates.get((kind, dimension))
            if rate is not None:
                key = self._key(kind, dimension, *subject)
                charges.append(Charge(key, rate, _cost(rate, cost)))
        if not charges:
            return
        delay_us = self._table.charge(charges, now_us=self._now_us())
        if delay_us > 0:
            self.refused[kind] += 1
            raise RateLimited(
                f"Too many requests of this kind ({kind}); wait and try again.",
                delay_ms=-(-delay_us // _US_PER_MS),
            )

    def _key(self, *parts: str) -> bytes:
        # Lengths keep the parts apart: they are whatever a client has sent.
        content = "".join([f"{len(part)}:{part}" for part in parts]).encode(errors="surrogatepass")
        return blake2b(content, digest_size=KEY_BYTES, key=self._secret).digest()


def _subject(name: str) -> tuple[LimitKind, Dimension]:
    kind, _, dimension = name.partition(".")
    try:
        return LimitKind(kind), Dimension(dimension)
    except ValueError:
        kinds, dimensions = ", ".join(LimitKind), ", ".join(Dimension)
        raise DeclarationError(
            f"{name!r:.80} is not a limit: one of {kinds}, a point, and one of {dimensions}"
        ) from None


def _bounded(rate: Rate) -> Rate:
    if rate.interval_us > DELAY_MS_MAX * _US_PER_MS:
        raise DeclarationError(
            f"{rate.count} in {rate.period_s} s is slower than one in {DELAY_MS_MAX // 1_000} s"
        )
    return rate


def _cost(rate: Rate, cost: int) -> int:
    """Return a cost that the rate admits, after a wait of at most DELAY_MS_MAX (A2)."""
    return max(1, min(cost, rate.count, DELAY_MS_MAX * _US_PER_MS // rate.interval_us))
