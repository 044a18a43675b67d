"""A TCP relay in front of a node that can lose the answer to a push, after the node has given it.

For the phone this is a node that died between its commit and its answer.
"""

import asyncio

PUSH = b"POST /v1/sync/push"
CHUNK_BYTES = 65_536


class CutWire:
    """Relays connections; once armed, the next push is answered to nobody."""

    def __init__(self, port):
        """`port` is the node's."""
        self._target = port
        self._server = None
        self._is_armed = False
        self._wait_s = None
        self.was_cut = asyncio.Event()
        self._open = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_error):
        assert self._server is not None
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @property
    def url(self):
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def arm(self, *, wait_s=None):
        """Cut at the first byte of the next push's answer, or `wait_s` after the push was sent."""
        self.was_cut.clear()
        self._is_armed, self._wait_s = True, wait_s

    async def _relay(self, reader, writer):
        task = asyncio.current_task()
        self._open.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            self._open.discard(task)
            return
        is_doomed = asyncio.Event()
        ways = (
            asyncio.create_task(self._there(reader, far_writer, is_doomed)),
            asyncio.create_task(self._back(far_reader, writer, is_doomed)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the relay is being closed; the server would log it
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            far_writer.close()
            self._open.discard(task)

    async def _there(self, reader, writer, is_doomed):
        while chunk := await reader.read(CHUNK_BYTES):
            if self._is_armed and PUSH in chunk:
                self._is_armed = False
                is_doomed.set()
            writer.write(chunk)
            await writer.drain()
            if is_doomed.is_set() and self._wait_s is not None:
                await asyncio.sleep(self._wait_s)
                self.was_cut.set()
                return

    async def _back(self, reader, writer, is_doomed):
        while chunk := await reader.read(CHUNK_BYTES):
            if is_doomed.is_set():
                self.was_cut.set()
                return
            writer.write(chunk)
            await writer.drain()
