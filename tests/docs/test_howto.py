"""Each how-to is done as written, in a copy of the repository: files, changed lines, commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:#|//) ([\w./]+)\n")
SECONDS_MAX = 300


def copied(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "*.db", "*.sock")
    for name in ("core", "sync_protocol", "conformance", "edge", "clients", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def changed(text: str, diff: str) -> str:
    """Apply hunks separated by @@ lines; what is removed or left alone must occur exactly once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        assert all(line[0] in " +-\n" for line in lines), hunk
        old = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
        new = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
        assert text.count(old) == 1, f"not found once:\n{old}"
        text = text.replace(old, new)
    return text


def parameter(page: Path):
    marks = [pytest.mark.slow] if page.stem == "add-a-field-type" else []
    return pytest.param(page, id=page.stem, marks=marks)


@pytest.mark.parametrize("page", [parameter(page) for page in PAGES])
def test_a_how_to_works_as_written(page, tmp_path):
    if page.stem == "write-a-client" and shutil.which("node") is None:
        pytest.skip("its example is for Node.js, which is not here")
    copy = copied(tmp_path)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "clients" / "python")]),
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    commands, printed = 0, ""
    for language, body in BLOCK.findall(page.read_text("utf-8")):
        if language == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", body], cwd=copy, env=environment,
                timeout=SECONDS_MAX, check=False, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            commands, printed = commands + 1, done.stdout
            continue
        if language == "text":
            assert printed == body, "what the command before it printed"
            continue
        named = NAMED.match(body)
        assert named, "a block begins with the name of its file"
        path, rest = copy / named[1], body[named.end() :]
        if language in {"python", "js"}:
            assert not path.exists()
            path.write_text(rest, "utf-8")
        else:
            assert language == "diff"
            path.write_text(changed(path.read_text("utf-8"), rest), "utf-8")
    assert commands


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(PAGES) == 9
    for page in PAGES:
        assert f"docs/howto/{page.name}" in readme
