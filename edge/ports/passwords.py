"""The port to whatever turns passwords into hashes that are slow to guess from."""

from __future__ import annotations

from typing import Protocol


class PasswordHasher(Protocol):
    """Hashes and verifies passwords without holding up the event loop.

    Both raise Overloaded when too many passwords wait already, and Unavailable once closed.
    """

    async def hash(self, password: str) -> str:
        """Return an encoded hash with its own salt and parameters; raise InvalidQuery.

        InvalidQuery: the password is longer than a hasher takes, or is not Unicode.
        """
        ...

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Tell whether `hashed` was made of this password.

        None means that there is no such account: the same work is done, and the answer is False,
        so that the time it takes tells nobody which accounts there are.
        """
        ...

    def needs_rehash(self, hashed: str) -> bool:
        """Tell whether `hashed` was made with other parameters than are used today."""
        ...

    async def close(self) -> None:
        """Finish what is waiting and let go of the threads."""
        ...
