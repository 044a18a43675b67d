"""The `skerry` command. Exit codes: 0 done, 1 the node refused or failed, 2 used wrongly."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from core.errors import CoreError
from edge.cli.accounts import accounts
from edge.cli.audit import audit
from edge.cli.backup import backup, backups
from edge.cli.certs import certs
from edge.cli.conformance import conformance
from edge.cli.explain import explain
from edge.cli.failure import CommandError
from edge.cli.fleet import fleet
from edge.cli.keys import keys
from edge.cli.members import members
from edge.cli.node import node
from edge.cli.openapi import print_openapi
from edge.cli.primary import primary
from edge.cli.restore import restore
from edge.cli.serve import serve
from edge.cli.service_tokens import service_tokens
from edge.cli.status import status
from edge.cli.tenants import tenants
from edge.cli.token import token
from edge.cli.verify import verify
from edge.errors import EdgeError
from edge.settings import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2


def _version() -> str:
    from edge.controllers.docs import skerry_version  # noqa: PLC0415  (loads the framework)

    return skerry_version()


commands = App(
    name="skerry",
    help="An offline-first backend for mobile apps.",
    version=_version,
    result_action="return_value",
)
commands.command(serve)
commands.command(token)
commands.command(tenants)
commands.command(members)
commands.command(accounts)
commands.command(service_tokens)
commands.command(keys)
commands.command(audit)
commands.command(explain)
commands.command(backup)
commands.command(backups)
commands.command(restore)
commands.command(verify)
commands.command(fleet)
commands.command(node)
commands.command(primary)
commands.command(certs)
commands.command(status)
commands.command(conformance)
commands.command(print_openapi, name="openapi")


@commands.command
def version() -> None:
    """Print the version."""
    sys.stdout.write(_version() + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    try:
        commands(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(EXIT_USAGE)
    except (CommandError, SettingError, CoreError) as error:
        _complain(str(error))
        sys.exit(EXIT_USAGE)
    except EdgeError as error:
        _complain(error.message)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(message: str) -> None:
    sys.stderr.write(f"skerry: {message}\n")
