"""DATA/role.json: what this node is to be, written by the node and carried out by its supervisor.

The node writes the file and ends with `EXIT_ROLE_CHANGED`; the supervisor then starts the node and
its sqld again in the new role. Without the file the settings decide.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from core.fleet import Role
from edge.settings import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.settings import Settings

EXIT_ROLE_CHANGED: Final = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, start again."""
NAME: Final = "role.json"
FILE_BYTES_MAX: Final = 16 * 1024
"""Two URLs and three words; a longer file is not one of ours."""
_TEXTS: Final = ("primary_url", "primary_grpc_url", "primary_node")


@dataclass(frozen=True, slots=True)
class NodeRole:
    """A role since an epoch (0: before the first take-over).

    `primary_url` is where the node calls the primary, `primary_grpc_url` where its sqld
    replicates from, `primary_node` whom it calls there: a call is good for one name alone. All are
    empty on a primary.
    """

    role: Role
    epoch: int
    primary_url: str
    primary_grpc_url: str
    primary_node: str = ""


class RoleFile:
    """The file; a reader sees the old role or the new one, whenever the power goes."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self._path = folder / name

    def read(self) -> NodeRole | None:
        """Return the role, or None without a file; raise SettingError when it is none of ours."""
        try:
            with self._path.open("rb") as file:
                encoded = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            return _parsed(encoded)
        except (ValueError, RecursionError) as error:
            raise SettingError(
                f"{self._path} does not hold the role of a node ({error}); "
                "remove it to start in the role that the settings name"
            ) from error

    def write(self, role: NodeRole) -> None:
        """Replace the role; it is on the disk when this returns."""
        content = {
            "role": role.role.value,
            "epoch": role.epoch,
            "primary_url": role.primary_url,
            "primary_grpc_url": role.primary_grpc_url,
            "primary_node": role.primary_node,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("wb") as file:
            file.write(json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        sync_folder(self._path.parent)


def read_role(settings: Settings) -> NodeRole:
    """Return what this node is to be: what its file says, else what the settings say.

    What the file leaves empty of the primary comes from the settings; raises SettingError.
    """
    written = RoleFile(settings.data).read()
    if written is None:
        return NodeRole(
            Role(settings.role),
            0,
            settings.primary_url,
            settings.primary_grpc_url,
            settings.primary_node,
        )
    return NodeRole(
        written.role,
        written.epoch,
        written.primary_url or settings.primary_url,
        written.primary_grpc_url or settings.primary_grpc_url,
        written.primary_node or settings.primary_node,
    )


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(encoded: bytes) -> NodeRole:
    if len(encoded) > FILE_BYTES_MAX:
        raise ValueError("it is too long")
    content = json.loads(encoded)
    found = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    epoch = found.get("epoch")
    texts = [found.get(name, "") for name in _TEXTS]
    if type(epoch) is not int or epoch < 0:
        raise ValueError("'epoch' is no whole number")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a URL or name is no text")
    return NodeRole(Role(found.get("role")), epoch, *texts)
