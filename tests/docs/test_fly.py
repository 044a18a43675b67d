"""fly.toml uses documented keys only, and says what the node and the Dockerfile do.

The keys are those of Fly.io's configuration reference as read in 2026-11.
"""

import re
import tomllib
from pathlib import Path

import pytest

from edge.controllers.gate import PUBLIC_PATHS
from edge.settings import parse_duration_s, read_settings

ROOT = Path(__file__).parents[2]
FLY = tomllib.loads((ROOT / "fly.toml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
CHECK = {
    "grace_period", "headers", "interval", "method", "path", "protocol", "timeout",
    "tls_server_name", "tls_skip_verify",
}  # fmt: skip
DOCUMENTED = {
    "": {
        "app", "build", "checks", "console_command", "deploy", "env", "experimental", "files",
        "http_service", "kill_signal", "kill_timeout", "metrics", "mounts", "primary_region",
        "processes", "restart", "services", "statics", "swap_size_mb", "vm",
    },
    "build": {"args", "build-target", "builder", "buildpacks", "dockerfile", "ignorefile", "image"},
    "deploy": {
        "max_unavailable", "release_command", "release_command_timeout", "release_command_vm",
        "seed_command", "strategy", "wait_timeout",
    },
    "http_service": {
        "auto_start_machines", "auto_stop_machines", "checks", "concurrency", "force_https",
        "http_options", "internal_port", "machine_checks", "min_machines_running", "processes",
        "tls_options",
    },
    "http_service.checks": CHECK,
    "http_service.concurrency": {"hard_limit", "soft_limit", "type"},
    "metrics": {"https", "path", "port", "processes"},
    "mounts": {
        "auto_extend_size_increment", "auto_extend_size_limit", "auto_extend_size_threshold",
        "destination", "initial_size", "processes", "scheduled_snapshots", "snapshot_retention",
        "source",
    },
    "vm": {
        "cpu_kind", "cpus", "gpu_kind", "gpus", "host_dedication_id", "kernel_args", "memory",
        "memory_mb", "persist_rootfs", "processes", "size",
    },
}  # fmt: skip


def tables(value, name=""):
    """Every table of the document with its dotted name; `env` holds names of our own."""
    if isinstance(value, list):
        for item in value:
            yield from tables(item, name)
    elif isinstance(value, dict) and name != "env":
        yield name, set(value)
        for key, inner in value.items():
            yield from tables(inner, f"{name}.{key}".lstrip("."))


@pytest.mark.parametrize(("name", "keys"), list(tables(FLY)))
def test_every_key_is_documented(name, keys):
    assert keys <= DOCUMENTED[name]


def test_the_environment_is_what_the_node_reads():
    settings = read_settings(FLY["env"])
    assert len(FLY["env"]) == len({key for key in FLY["env"] if key.startswith("SKERRY_")})
    for key, value in FLY["env"].items():
        name = key.removeprefix("SKERRY_").lower()
        assert str(getattr(settings, name)).lower() == value
    assert not settings.is_loopback
    assert settings.port == FLY["http_service"]["internal_port"] == FLY["metrics"][0]["port"]
    assert str(settings.data) == FLY["mounts"]["destination"]
    assert settings.drain_s < parse_duration_s(FLY["kill_timeout"])
    assert settings.are_metrics_public


def test_the_checked_path_needs_no_token():
    assert {check["path"] for check in FLY["http_service"]["checks"]} <= PUBLIC_PATHS


def test_the_image_has_what_it_copies_and_runs_without_root():
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    assert DOCKERFILE.count("\nFROM python:") == 2, "one stage builds, one runs"
    assert "\nUSER skerry\n" in DOCKERFILE
    assert '\nCMD ["skerry", "serve", "app.py"]' in DOCKERFILE
    assert FLY["build"]["dockerfile"] == "Dockerfile"
