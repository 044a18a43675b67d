"""The adapter: a program that puts a client behind JSON lines on standard input and output.

docs/howto/write-a-client.md describes the lines. One request is open at a time; every wait is
bounded, and the process is ended by its own id.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from contextlib import suppress
from typing import IO, Any, Final

LINE_PROTOCOL: Final = 1
"""What the first request and its answer say."""
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest answer is a view of a few thousand rows; the largest message of the protocol fits."""
ANSWER_SECONDS_MAX: Final = 40.0
"""A sync against an unwilling server takes the longest; beyond it the adapter hangs."""
END_SECONDS_MAX: Final = 5.0
"""An adapter ends when its standard input does; afterwards it is ended."""
LAST_WORDS_BYTES_MAX: Final = 2_000


class AdapterError(Exception):
    """The adapter answered a request with an error."""

    def __init__(self, request: str, code: str, message: str) -> None:
        super().__init__(f"{request} was answered with the error {code}: {message}")
        self.code = code


class AdapterGone(Exception):
    """The adapter has ended, or says what is no answer."""


class Adapter:
    """One running adapter; it is started with the first request, and again after it was ended."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.name = ""
        self.capabilities: tuple[str, ...] = ()
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: IO[bytes] | None = None
        self._request = 0

    @property
    def is_running(self) -> bool:
        """Whether the program has been started and not ended."""
        return self._process is not None

    async def start(self) -> None:
        """Start the program and learn what it can do; raise AdapterGone when it is none of ours."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `end`)
        try:
            program, *arguments = shlex.split(self.command)
            self._process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._stderr,
                limit=LINE_BYTES_MAX,
            )
        except (OSError, ValueError) as problem:
            self._stderr.close()
            raise AdapterGone(f"{self.command} cannot be started: {problem}") from problem
        answer = await self._ask("start", {"protocol": LINE_PROTOCOL})
        if not isinstance(answer, dict) or answer.get("protocol") != LINE_PROTOCOL:
            raise AdapterGone(f"start is answered with protocol {LINE_PROTOCOL}, not {answer!r}")
        self.name = str(answer.get("name", ""))
        self.capabilities = tuple(map(str, answer.get("capabilities", ())))

    async def ask(self, request: str, **arguments: Any) -> Any:  # noqa: ANN401  (JSON both ways)
        """Send one request and return its result.

        Raises AdapterError for an error it answers, AdapterGone when there is no answer.
        """
        if self._process is None:
            await self.start()
        return await self._ask(request, arguments)

    async def _ask(self, request: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        try:
            answer = await asyncio.wait_for(self._answer(request, arguments), ANSWER_SECONDS_MAX)
        except TimeoutError:
            await self.end()
            raise AdapterGone(f"{request}: no answer within {ANSWER_SECONDS_MAX:g} s") from None
        except (OSError, ValueError) as problem:
            words = self._last_words()
            await self.end()
            raise AdapterGone(f"{request}: {problem}{words}") from problem
        except asyncio.CancelledError:
            # The answer would be taken for that of the next request.
            await self.end()
            raise
        error = answer.get("error")
        if error is not None:
            raise AdapterError(request, str(error.get("code")), str(error.get("message")))
        return answer.get("result")

    async def _answer(self, request: str, arguments: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._request += 1
        line = {"id": self._request, "do": request, **arguments}
        process.stdin.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        await process.stdin.drain()
        read = await process.stdout.readline()
        if not read:
            raise ValueError("the adapter has ended")
        answer = json.loads(read)
        if not isinstance(answer, dict) or answer.get("id") != self._request:
            raise ValueError(f"not an answer to request {self._request}: {read[:200]!r}")
        return answer

    async def end(self) -> None:
        """Close its standard input, and end the process when that does not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS_MAX)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._stderr is not None:
            self._stderr.close()

    def _last_words(self) -> str:
        if self._stderr is None or self._stderr.closed:
            return ""
        self._stderr.seek(0, 2)
        self._stderr.seek(max(self._stderr.tell() - LAST_WORDS_BYTES_MAX, 0))
        words = self._stderr.read().decode(errors="replace").strip()
        return f"; its last words: {words}" if words else ""


def folder_for_phones() -> tempfile.TemporaryDirectory[str]:
    """Make a folder in which an adapter may keep its phones' files."""
    return tempfile.TemporaryDirectory(prefix="skerry-conformance-", ignore_cleanup_errors=True)
