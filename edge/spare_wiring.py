"""What happens to spare copies before anything of a node starts, when its role is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from core.fleet import Role
from edge.storage.spares import lead_with_spares, spare_all
from edge.workers.role_file import RoleFile
from edge.workers.role_folder import STARTED

if TYPE_CHECKING:
    from edge.settings import Settings
    from edge.workers.role_file import NodeRole

_log = structlog.stdlib.get_logger(__name__)


def prepare_spares(settings: Settings, role: NodeRole) -> None:
    """Make spares of what a replica of another primary will throw away, or lead with them.

    Called before the role is taken up, and may be repeated.
    """
    if role.role is Role.PRIMARY:
        for namespace in lead_with_spares(settings.data, settings.sqld_folder):
            _log.warning("leading-with-a-spare", database=namespace)
        return
    last = RoleFile(settings.data, STARTED).read()
    if last is None or last.role is not Role.EDGE or last == role:
        return
    try:
        spare_all(settings.data, settings.sqld_folder)
    except OSError as error:
        _log.warning("spares-not-kept", reason=str(error))
