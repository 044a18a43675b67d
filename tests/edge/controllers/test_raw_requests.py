"""Requests that no HTTP library would send, over a real socket: never a 500, never a hang."""

import asyncio

import pytest

from tests.edge.controllers.test_stream import served, settings

__all__ = ["served", "settings"]

HEADS = [
    (b"GET /v1/rows/airfield/%ff HTTP/1.1\r\nhost: x", 404),
    (b"GET /v1/rows/airfield/%zz HTTP/1.1\r\nhost: x", 404),
    (b"GET /v1/rows/airfield/%2e%2e%2fx HTTP/1.1\r\nhost: x", 404),
    (b"GET /v1/spaces HTTP/1.1\r\nhost: b@d host", 400),
    (b"GET /v1/spaces HTTP/1.0", 200),
    (b"GET http://elsewhere/v1/spaces HTTP/1.1\r\nhost: x", 200),
    (b"GET * HTTP/1.1\r\nhost: x", 404),
    (b"TRACE / HTTP/1.1\r\nhost: x", 404),
    (b"BREW / HTTP/1.1\r\nhost: x", 400),
    (b"GET /\xff HTTP/1.1\r\nhost: x", 400),
    (b"GET /v1/spaces?\xff=1 HTTP/1.1\r\nhost: x", 400),
    (b"GET /v1/spaces HTTP/1.1\r\nhost: x\r\nx-request-id: \xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", 200),
    (b"POST /v1/sync/pull HTTP/1.1\r\nhost: x\r\ncontent-type: \xff\r\ncontent-length: 0", 415),
    (b"POST /v1/sync/pull HTTP/1.1\r\nhost: x\r\ncontent-length: -1", 400),
    (b"POST /v1/sync/pull HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999", 400),
    (b"GET /v1/sync/stream HTTP/1.1\r\nhost: x", 405),
    (b"nonsense", 400),
]


@pytest.mark.parametrize(("head", "status"), HEADS)
async def test_a_strange_request_is_answered(served, head, status):
    token = b"\r\nauthorization: Bearer " + served.token().encode()
    port = int(str(served.client.base_url).rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + token + b"\r\n\r\n")
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert line.split()[1] == str(status).encode(), line
