"""README.md is true: its blocks run in order, against a node of its own, and print what it says."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.crdt.registry import FIELD_TYPES
from edge.workers.fleet_dev import free_ports

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED = "127.0.0.1:8787"
SECONDS_MAX = 60


@dataclass(frozen=True)
class Block:
    language: str
    body: str


BLOCKS = [Block(*found) for found in BLOCK.findall(TEXT)]


def quick_start() -> list[Block]:
    section = TEXT.split("## Five minutes")[1].split("\n## ")[0]
    return [Block(*found) for found in BLOCK.findall(section)]


class Terminal:
    """A folder, a node that may be serving, and the commands of a reader."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self.folder = folder
        self.node: subprocess.Popen[bytes] | None = None
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
        self.environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SKERRY_PORT": self.address.rpartition(":")[2],
        }

    def write(self, body: str) -> None:
        name = re.match(r"# ([\w.]+)\n", body)
        assert name, "a Python block begins with the name of its file"
        (self.folder / name[1]).write_text(body.replace(DOCUMENTED, self.address), "utf-8")

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(DOCUMENTED, self.address)],
            cwd=self.folder, env=self.environment, timeout=SECONDS_MAX, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve(self, command: str) -> None:
        with (self.folder / "node.log").open("wb") as log:
            self.node = subprocess.Popen(
                command.split(), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self.address}/health/ready", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                assert self.node.poll() is None, (self.folder / "node.log").read_text()
                time.sleep(0.05)
        pytest.fail("the node was not ready in time")

    def close(self) -> None:
        if self.node is not None:
            self.node.terminate()
            self.node.wait(SECONDS_MAX)


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def test_the_quick_start_runs_and_prints_what_it_says(terminal):
    printed = ""
    answers = []
    compared = 0
    for block in quick_start():
        if block.language == "python":
            terminal.write(block.body)
        elif block.language == "text":
            assert printed == block.body
            compared += 1
        elif "make setup" in block.body:
            continue  # this test runs inside what it makes
        elif block.body.startswith("skerry serve"):
            terminal.serve(block.body)
        elif "curl" in block.body and shutil.which("curl") is None:
            continue
        else:
            printed = terminal.run(block.body)
            answers.append(printed)
    assert compared == 1
    assert '"title":"Soy milk"' in answers[-1] or shutil.which("curl") is None
    assert '"loser":{"value":"Oat milk"' in answers[-1] or shutil.which("curl") is None


def test_every_make_target_exists():
    names = re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.MULTILINE)
    assert {"demo", "test", "setup", "bench"} <= set(names)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(names) <= targets


def test_every_field_type_has_its_line():
    table = TEXT.split("## Field types")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(\w+)\(", table, re.MULTILINE))
    assert listed == {declared.__name__ for declared in FIELD_TYPES.values()}


def test_languages_of_blocks_are_known():
    assert {block.language for block in BLOCKS} <= {"python", "sh", "text"}


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT):
        assert (ROOT / target).exists(), target
