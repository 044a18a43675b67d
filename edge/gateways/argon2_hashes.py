"""Password hashes by Argon2id (RFC 9106), on argon2-cffi, in threads of their own.

Invariants
  H1  every `verify` of an acceptable password is one Argon2 computation, whether there is a hash,
      none, or one that cannot be read
  H2  at most `concurrency` computations run and WAITING_PER_THREAD_MAX per thread wait; memory is
      bounded by `concurrency` times `memory_kib`

The C library is called without the interpreter lock, so that threads use all cores. The default
parameters are those of the OWASP Password Storage Cheat Sheet: Argon2id with 19 MiB, 2 iterations
and 1 lane.
"""

from __future__ import annotations

import asyncio
import os
import unicodedata
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, TypeVar

from argon2 import Parameters, extract_parameters, low_level
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from edge.errors import InvalidQuery, Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

TYPED_CHARACTERS_MAX: Final = 1_024
"""Room for PASSWORD_CHARACTERS_MAX of them each followed by three marks; bounds normalising."""
PASSWORD_CHARACTERS_MAX: Final = 256
"""Longer than any password manager makes; counted when normalised, as the rules for new ones do."""
PASSWORD_BYTES_MAX: Final = 1_024
"""Four bytes for each of the characters; the first step of Argon2 reads them all."""
WAITING_PER_THREAD_MAX: Final = 64
"""A second or two of work, at 15 to 30 ms each: whoever would wait longer is told to come back."""
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
"""RFC 9106, section 4."""
HASH_CHARACTERS_MAX: Final = 512
"""Ours have 97; what is longer was not made by any hasher that the node has had."""
MEMORY_KIB_MAX: Final = 1_048_576
TIME_COST_MAX: Final = 64
PARALLELISM_MAX: Final = 64
"""Far above what a node is given: a damaged record must not take its memory or its time."""
_VERSION: Final = 0x13
"""The version of Argon2 that RFC 9106 describes, and the one that `hash_secret` makes."""

_Answer = TypeVar("_Answer")


class Argon2Hashes:
    """A hasher of passwords; see `edge.ports.passwords.PasswordHasher`.

    `concurrency` is the number of threads; None: one for each core that this process may use.
    Hashes with other parameters are verified with theirs: until they are renewed, the time that
    takes differs from the time for an account that is not there.
    """

    def __init__(
        self,
        *,
        memory_kib: int = 19_456,
        time_cost: int = 2,
        parallelism: int = 1,
        concurrency: int | None = None,
    ) -> None:
        threads = _cores() if concurrency is None else concurrency
        self._parameters = Parameters(
            type=low_level.Type.ID,
            version=_VERSION,
            salt_len=SALT_BYTES,
            hash_len=HASH_BYTES,
            time_cost=time_cost,
            memory_cost=memory_kib,
            parallelism=parallelism,
        )
        self._dummy = _dummy(self._parameters)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = BoundedSemaphore(threads * (1 + WAITING_PER_THREAD_MAX))

    async def hash(self, password: str) -> str:
        """Return a hash that names its parameters; raise InvalidQuery for an impossible password.

        It is in the PHC string format: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
        """
        secret = _secret(password)
        if secret is None:
            raise InvalidQuery("The password is too long, or is not Unicode text.")
        return await self._run(lambda: self._hash(secret))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Tell whether `hashed` was made of this password; see H1."""
        secret = _secret(password)
        if secret is None:
            return False  # The same for every account: nothing is learnt from the time.
        encoded, is_real = self._dummy, False
        if hashed is not None and _readable(hashed) is not None:
            encoded, is_real = hashed.encode("ascii"), True
        return await self._run(lambda: self._matches(encoded, secret)) and is_real

    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether `hashed` is not of today's parameters, or cannot be read."""
        return _readable(hashed) != self._parameters

    async def close(self) -> None:
        """Finish what waits, which H2 bounds, and end the threads."""
        await asyncio.to_thread(self._executor.shutdown)

    def _hash(self, secret: bytes) -> str:
        parameters = self._parameters
        return low_level.hash_secret(
            secret,
            os.urandom(SALT_BYTES),
            time_cost=parameters.time_cost,
            memory_cost=parameters.memory_cost,
            parallelism=parameters.parallelism,
            hash_len=parameters.hash_len,
            type=parameters.type,
        ).decode("ascii")

    def _matches(self, encoded: bytes, secret: bytes) -> bool:
        try:
            return low_level.verify_secret(encoded, secret, low_level.Type.ID)
        except VerifyMismatchError:
            return False
        except VerificationError:  # the C library could not read the hash, and computed nothing
            if encoded != self._dummy:
                self._matches(self._dummy, secret)
            return False

    async def _run(self, work: Callable[[], _Answer]) -> _Answer:
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many people are signing in.")
        try:
            future = self._executor.submit(work)
        except RuntimeError:  # the executor was shut down
            self._places.release()
            raise Unavailable("The node is stopping.") from None
        # Freed by the computation, not by the request: an abandoned one still uses its thread.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _secret(password: str) -> bytes | None:
    """Return the bytes that are hashed: NFKC (NIST SP 800-63B, 5.1.1.2) in UTF-8."""
    if len(password) > TYPED_CHARACTERS_MAX:
        return None
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) > PASSWORD_CHARACTERS_MAX:
        return None
    try:
        secret = normal.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return secret if len(secret) <= PASSWORD_BYTES_MAX else None


def _readable(hashed: str) -> Parameters | None:
    """Return a hash's parameters if it can be verified within the bounds."""
    if len(hashed) > HASH_CHARACTERS_MAX or not hashed.isascii():
        return None
    try:
        found = extract_parameters(hashed)
    except InvalidHashError:
        return None
    is_bounded = (
        found.type is low_level.Type.ID
        and 0 < found.memory_cost <= MEMORY_KIB_MAX
        and 0 < found.time_cost <= TIME_COST_MAX
        and 0 < found.parallelism <= PARALLELISM_MAX
    )
    return found if is_bounded else None


def _dummy(parameters: Parameters) -> bytes:
    """Return a hash of no password: its digest is random, so nothing had to be computed for it."""
    salt, digest = (
        b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (parameters.salt_len, parameters.hash_len)
    )
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return f"$argon2id$v={parameters.version}${costs}${salt}${digest}".encode()
