"""Logs and metrics: JSON lines, and nothing in them that a person sent."""

import io
import json
import logging

import pytest
import structlog

from edge.observability import TENANTS_NAMED_MAX, Metrics, configure_logs, request_id


@pytest.fixture
def logs(monkeypatch):
    before = logging.getLogger().handlers[:]
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    configure_logs("info")
    yield lambda: [json.loads(line) for line in stderr.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before


def fail(token):
    raise RuntimeError("it failed")


def test_a_traceback_holds_no_values(logs):
    try:
        fail("sesame-token")
    except RuntimeError as error:
        structlog.stdlib.get_logger("t").error("request-failed", exc_info=error)
        logging.getLogger("t").exception("failed")
    own, foreign = logs()
    assert own["event"] == "request-failed"
    assert own["exception"][0]["exc_type"] == "RuntimeError"
    assert foreign["event"] == "failed"
    assert "sesame-token" not in json.dumps([own, foreign])


def test_the_server_says_nothing_of_connections(logs):
    logging.getLogger("uvicorn.error").info('127.0.0.1 - "WebSocket /v1/sync/stream?token=x"')
    assert logs() == []


@pytest.mark.parametrize("offered", [None, "", "short", "x" * 65, "new\nline-in-it", "ä" * 10])
def test_a_malformed_request_id_is_replaced(offered):
    assert request_id(offered) != offered
    assert request_id("well-formed.id:1") == "well-formed.id:1"


def test_tenants_are_named_only_while_they_are_few():
    metrics = Metrics()
    metrics.follow_sequences(lambda: {"main": 7, "other": 3})
    assert 'skerry_sequence{tenant="main"} 7.0' in metrics.text().decode()
    metrics.follow_sequences(lambda: {f"t{n}": 1 for n in range(TENANTS_NAMED_MAX + 1)})
    text = metrics.text().decode()
    assert "skerry_sequence{" not in text
    assert f"skerry_sequence_sum {TENANTS_NAMED_MAX + 1}.0" in text


def test_an_unheard_of_method_makes_no_label():
    metrics = Metrics()
    metrics.answered("BREW", "(none)", 405, 0.1)
    assert 'method="other"' in metrics.text().decode()
