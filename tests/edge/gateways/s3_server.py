"""A real S3-compatible server for tests: moto's, in a process of its own, on loopback."""

import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

from tests.conformance.sqld_process import free_address

READY_SECONDS_MAX = 30.0
BUCKET = "backups-of-tests"


@contextmanager
def s3_server(folder):
    """Yield the environment of a client; the server has one empty bucket."""
    host, _, port = free_address().partition(":")
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", port]
    with (folder / "s3.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://{host}:{port}"
    try:
        _make_bucket(url, process)
        yield {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
        }
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _make_bucket(url, process):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError("the S3 server did not start") from None
            time.sleep(0.05)
