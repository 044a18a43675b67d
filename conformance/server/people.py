"""Who the phones belong to: tokens and memberships, which the protocol itself does not give."""

from __future__ import annotations

import asyncio
import shlex
from typing import Final, Protocol

COMMAND_SECONDS_MAX: Final = 30.0
"""A command that starts a program and asks a server takes a second."""


class SetUpFailed(Exception):
    """A token or a membership was not to be had."""


class People(Protocol):
    """Gives tokens, and puts people into spaces where `can_manage` says that it is able to."""

    can_manage: bool

    async def token(self, person: str) -> str:
        """Return an access token of a person."""
        ...

    async def set_member(self, space: str, person: str, role: str) -> None:
        """Make the space if it is new, and give a person a role in it."""
        ...

    async def remove_member(self, space: str, person: str) -> None:
        """Take a person out of a space."""
        ...


class CommandPeople:
    """People by commands: `TOKEN_COMMAND person` prints a token, `MEMBER_COMMAND set space person
    role` and `MEMBER_COMMAND remove space person` change memberships. `tokens` are given ones.
    """

    def __init__(
        self, *, tokens: dict[str, str], token_command: str = "", member_command: str = ""
    ) -> None:
        self._tokens = dict(tokens)
        self._token_command = token_command
        self._member_command = member_command
        self.can_manage = bool(member_command)

    async def token(self, person: str) -> str:
        """Return the given token, else what the command prints."""
        if person not in self._tokens:
            if not self._token_command:
                raise SetUpFailed(f"there is no token for {person}: give one, or a token command")
            self._tokens[person] = (await _run(self._token_command, person)).strip()
        return self._tokens[person]

    async def set_member(self, space: str, person: str, role: str) -> None:
        """Run the command."""
        await _run(self._member_command, "set", space, person, role)

    async def remove_member(self, space: str, person: str) -> None:
        """Run the command."""
        await _run(self._member_command, "remove", space, person)


async def _run(command: str, *arguments: str) -> str:
    line = [*shlex.split(command), *arguments]
    try:
        process = await asyncio.create_subprocess_exec(
            *line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as problem:
        raise SetUpFailed(f"{shlex.join(line)}: {problem}") from problem
    try:
        output, errors = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise SetUpFailed(
            f"{shlex.join(line)} takes longer than {COMMAND_SECONDS_MAX:g} s"
        ) from None
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip()[-500:]
        raise SetUpFailed(f"{shlex.join(line)} ended with {process.returncode}: {words}")
    return output.decode()
