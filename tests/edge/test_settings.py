"""Settings: where they come from, and what an operator is told about a bad one."""

from pathlib import Path

import pytest

from edge.settings import SettingError, Settings, parse_duration_s, read_settings


def test_flags_win_over_the_environment_and_that_over_defaults():
    environment = {"SKERRY_PORT": "1", "SKERRY_HOST": "0.0.0.0", "OTHER": "x"}
    settings = read_settings(environment, port=2, data=None)
    assert (settings.port, settings.host, settings.data) == (2, "0.0.0.0", Path("skerry-data"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("HOST", ""),
        ("HOST", "a b"),
        ("DATA", ""),
        ("TENANTS", ""),
        ("TENANTS", "main,../x"),
        ("SYNCHRONOUS", "off"),
        ("WORKERS", "0"),
        ("TOKEN_LIFETIME_S_MAX", "1 year"),
        ("TOKEN_LIFETIME_S_MAX", "31d"),
        ("ORIGINS", "app.example.org"),
        ("ORIGINS", "https://app.example.org/path"),
        ("METRICS_PUBLIC", "maybe"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(SettingError, match=f"SKERRY_{name}"):
        read_settings({f"SKERRY_{name}": value})


def test_every_setting_can_come_from_the_environment():
    from dataclasses import fields

    from edge.settings import _PARSERS

    assert {field.name for field in fields(Settings)} == set(_PARSERS)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("2d", 172_800)]
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("host", "is_public"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("x", False)]
)
def test_metrics_are_public_only_on_loopback(host, is_public):
    assert Settings(host=host).are_metrics_public is is_public
    assert Settings(host=host, metrics_public=False).are_metrics_public is False
