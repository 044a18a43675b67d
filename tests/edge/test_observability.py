"""Logs and metrics: JSON lines, and nothing in them that a person sent."""

import io
import json
import logging
import math

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from edge.observability import (
    NODES_NAMED_MAX,
    TENANTS_NAMED_MAX,
    FleetReading,
    MailReading,
    Metrics,
    configure_logs,
    request_id,
)


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


def numbers(metrics):
    """Return the samples by name and labels, as Prometheus reads them."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name.removeprefix("skerry_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def edge_reading(**changed):
    known = {
        "is_primary": False,
        "epoch": 3,
        "is_sqld_up": True,
        "lags": {"main": (4, 750), "other": (0, 0)},
        "replica_age_ms": 750,
        "outbox_mutations": 12,
        "outbox_bytes": 3_400,
        "outbox_oldest_ms": 2_500,
        "breaker": "open",
        "accepted": 30,
        "drained": 18,
        "refused": 1,
    }
    return FleetReading(**{**known, **changed})


def test_an_edge_shows_its_replica_its_outbox_and_its_breaker():
    metrics = Metrics()
    metrics.follow_fleet(edge_reading)
    shown = numbers(metrics)
    assert shown["replica_lag_sequences", "main"] == 4
    assert shown["replica_lag_milliseconds", "main"] == 750
    assert shown["replica_lag_milliseconds", "other"] == 0
    assert shown["replica_lag_milliseconds_max",] == 750
    assert shown["replica_lag_sequences_max",] == 4
    assert shown["outbox_mutations",] == 12
    assert shown["outbox_bytes",] == 3_400
    assert shown["outbox_oldest_seconds",] == 2.5
    assert shown["breaker_state",] == 2
    outcomes = [shown[f"mutations_{name}_total",] for name in ("accepted", "drained", "refused")]
    assert outcomes == [30, 18, 1]
    assert (shown["epoch",], shown["is_primary",], shown["sqld_up",]) == (3, 0, 1)
    assert ("working_copy_rebuilds_total",) not in shown


def test_an_unknown_age_is_no_number():
    metrics = Metrics()
    metrics.follow_fleet(lambda: edge_reading(lags={"main": (4, None)}, replica_age_ms=None))
    shown = numbers(metrics)
    assert math.isnan(shown["replica_lag_milliseconds_max",])
    assert ("replica_lag_milliseconds", "main") not in shown
    assert shown["replica_lag_sequences", "main"] == 4


def test_a_primary_shows_what_has_left_it():
    metrics = Metrics()
    metrics.follow_fleet(
        lambda: FleetReading(
            is_primary=True,
            epoch=4,
            is_sqld_up=False,
            replicated={"main": 90, "other": 9},
            report_ages_ms={"ams": 200, "fra": 12_500},
            rebuilds=2,
        )
    )
    shown = numbers(metrics)
    assert shown["replicated_sequence", "main"] == 90
    assert shown["replicated_sequence_sum",] == 99
    assert shown["report_age_seconds", "fra"] == 12.5
    assert shown["report_age_seconds_max",] == 12.5
    assert shown["working_copy_rebuilds_total",] == 2
    assert (shown["epoch",], shown["is_primary",], shown["sqld_up",]) == (4, 1, 0)
    assert ("breaker_state",) not in shown


@pytest.mark.parametrize("is_primary", [True, False])
def test_a_great_fleet_makes_no_more_lines(is_primary):
    def lines(tenants, nodes):
        metrics = Metrics()
        reading = FleetReading(
            is_primary=is_primary,
            epoch=1,
            is_sqld_up=True,
            lags={f"t{n}": (n, n) for n in range(tenants)},
            replica_age_ms=7,
            replicated={f"t{n}": n for n in range(tenants)},
            report_ages_ms={f"n{n}": n for n in range(nodes)},
        )
        metrics.follow_fleet(lambda: reading)
        return numbers(metrics)

    few = lines(TENANTS_NAMED_MAX, NODES_NAMED_MAX)
    many = lines(10_000, 10_000)
    assert len(many) < len(few)
    name = "replicated_sequence_sum" if is_primary else "replica_lag_sequences_max"
    assert many[name,] > few[name,]


def test_a_reading_is_taken_anew_and_as_a_whole():
    readings = iter([edge_reading(epoch=1, accepted=1), edge_reading(epoch=2, accepted=2)])
    metrics = Metrics()
    metrics.follow_fleet(lambda: next(readings))
    assert numbers(metrics)["mutations_accepted_total",] == 1
    later = numbers(metrics)
    assert (later["epoch",], later["mutations_accepted_total",]) == (2, 2)


def test_refusals_and_mails_are_shown():
    metrics = Metrics()
    metrics.follow_refusals(lambda: {"login": 3, "push": 1})
    metrics.follow_mails(lambda: MailReading(waiting=2, sent=40, failed=1, dropped=0))
    shown = numbers(metrics)
    assert shown["limit_refusals_total", "login"] == 3
    assert shown["limit_refusals_total", "push"] == 1
    assert shown["mails_waiting",] == 2
    assert [shown["mails_total", name] for name in ("sent", "failed", "dropped")] == [40, 1, 0]


class FullDisk(io.StringIO):
    def write(self, text, /):
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch):
    before = logging.getLogger().handlers[:]
    monkeypatch.setattr("sys.stderr", FullDisk())
    configure_logs("info")
    try:
        structlog.stdlib.get_logger("t").error("told to nobody")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = before
