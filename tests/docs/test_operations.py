"""docs/OPERATIONS.md: its commands parse, its settings are the node's, its names exist."""

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from cyclopts.exceptions import CycloptsError

from edge.cli import commands
from edge.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
FLY = tomllib.loads((ROOT / "fly.toml").read_text("utf-8"))
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
TOLERANCE = 0.3
"""Runs of one machine differ by as much."""
METRIC_SOURCES = ("edge/observability.py",)
FLYCTL = {
    "deploy", "launch", "logs", "machine clone", "machine list", "machine stop", "machine start",
    "machine destroy", "machine status", "machine restart", "machine update", "secrets import",
    "secrets set", "secrets list", "secrets deploy", "ssh console", "ssh sftp", "volumes list",
    "volumes destroy", "volumes fork", "volumes extend", "status", "scale count", "ips list",
    "checks list", "config validate", "storage create", "image show", "releases", "sftp get",
}  # fmt: skip
"""Commands of flyctl that its documentation lists (https://fly.io/docs/flyctl/)."""


def lines() -> list[str]:
    joined = "".join(BLOCKS).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def skerry_commands() -> list[tuple[str, ...]]:
    found = []
    for line in lines():
        if not line.startswith(("skerry ", "on ")):
            continue
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words[:1] == ["skerry"]:
            found.append(tuple(words[1:]))
        elif words[:1] == ["on"] and len(words) > 2:
            found.append(tuple(words[2:]))
    return found


def rows(title: str) -> list[list[str]]:
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|", 2)] for line in table[1:]]


def shown(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{value}`" if str(value) else "empty"


@pytest.mark.parametrize("words", sorted(set(skerry_commands())), ids=" ".join)
def test_a_skerry_command_is_one_that_the_node_has(words):
    try:
        commands.parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        pytest.fail(f"skerry {' '.join(words)}: {error}")


def test_the_manual_tells_of_every_command_of_a_fleet():
    told = {words[0] for words in skerry_commands()}
    assert told >= {"certs", "node", "primary", "status", "backup", "restore", "verify", "keys"}


@pytest.mark.parametrize("line", sorted({line for line in lines() if line.startswith("fly ")}))
def test_a_fly_command_is_documented(line):
    words = shlex.split(line.partition(" | ")[0])[1:]
    assert " ".join(words[:2]) in FLYCTL or words[0] in FLYCTL


def test_every_setting_has_its_line_and_its_default():
    standing = {name.strip("`"): default for name, default, _ in rows("Settings")}
    defaults = Settings()
    real = {
        f"SKERRY_{field.name.upper()}": shown(getattr(defaults, field.name))
        for field in fields(Settings)
    }
    assert standing == real


def test_every_metric_that_is_watched_exists():
    source = "".join((ROOT / path).read_text("utf-8") for path in METRIC_SOURCES)
    named = set(re.findall(r"`?skerry_([a-z_]+)", TEXT))
    suffixes = re.compile(r"_(total|bucket|count|sum)$")
    assert named
    for name in named:
        assert f'"{name}"' in source or f'"{suffixes.sub("", name)}"' in source, name


def test_ports_and_time_limits_are_those_of_fly_toml():
    assert f":{FLY['env']['SKERRY_INTERNAL_PORT']}" in TEXT
    assert FLY["env"]["SKERRY_SQLD_GRPC"].rpartition(":")[2] in TEXT


@pytest.mark.parametrize("row", rows("Capacity"), ids=lambda row: row[0])
def test_a_figure_is_one_that_was_measured(row):
    results = {r["name"]: r for r in json.loads((ROOT / "bench" / "results.json").read_text())}
    name, value = row[0], float(row[1].replace(",", ""))
    measured = results[name]["value"]
    assert abs(value - measured) <= TOLERANCE * measured, measured


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_links_lead_somewhere(target):
    assert (ROOT / "docs" / target).exists()
