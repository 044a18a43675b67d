"""A stream whose reader never reads: it is dropped, and nobody else notices."""

import re
import socket
import time

from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from sync_protocol.codec import encode
from sync_protocol.fingerprint import fingerprint
from sync_protocol.messages.hello import Hello
from sync_protocol.version import PROTOCOL_VERSION
from tests.e2e.node_process import NodeProcess
from tests.e2e.phones import NORTH, eventually, phone_of, settle
from tests.e2e.survey import Note
from tests.e2e.survey import app as survey

SUBPROTOCOL = Subprotocol("skerry.v1.msgpack")
SEND_TIMEOUT_SECONDS = 2
PUSH_SECONDS_MAX = 3.0
PUSHES = 60


def deaf_stream(node, person):
    """Open a stream, say hello, and never read again; the socket's buffers are small."""
    endpoint = socket.socket()
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    endpoint.connect(("127.0.0.1", node.port))
    protocol = ClientProtocol(
        parse_uri(f"ws://127.0.0.1:{node.port}/v1/sync/stream"), subprotocols=[SUBPROTOCOL]
    )
    request = protocol.connect()
    request.headers["Authorization"] = f"Bearer {node.token(person)}"
    protocol.send_request(request)
    endpoint.sendall(b"".join(protocol.data_to_send()))
    protocol.receive_data(endpoint.recv(2_048))
    assert protocol.handshake_exc is None
    hello = Hello(
        protocol=PROTOCOL_VERSION, app=survey.name, schema_version=1,
        fingerprint=fingerprint(survey), installation="deaf", clock=0,
    )  # fmt: skip
    protocol.send_binary(encode(hello))
    endpoint.sendall(b"".join(protocol.data_to_send()))
    return endpoint


def streams(node):
    """Return how many streams the node counts."""
    text = node.ask("GET", "/metrics").text
    found = re.search(r"^skerry_streams (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


async def test_a_reader_that_never_reads_is_dropped_and_holds_nobody_up(tmp_path):
    with NodeProcess(
        data=tmp_path / "node",
        stream_send_timeout_s=SEND_TIMEOUT_SECONDS,
        stream_ping_interval_s=2 * SEND_TIMEOUT_SECONDS,
    ) as node:
        for person in ("ada", "ben", "deaf"):
            node.set_member(NORTH, person)
        ada = phone_of(node, tmp_path, "ada")
        ben = phone_of(node, tmp_path, "ben", background=True)
        deaf = deaf_stream(node, "deaf")
        async with ben:
            await eventually(lambda: streams(node) == 2)
            slowest = 0.0
            for number in range(PUSHES):
                ada.insert(Note, space=NORTH, id=f"note-{number}", text="x" * 60_000)
                started = time.monotonic()
                status = await ada.sync()
                slowest = max(slowest, time.monotonic() - started)
                assert status.pending == 0
            assert slowest < PUSH_SECONDS_MAX
            await eventually(lambda: len(ben.rows(Note)) == PUSHES)
            await eventually(lambda: streams(node) == 1, seconds=30)
            assert (await settle(ada)) == ben.digests()
        deaf.close()
        await ada.close()
