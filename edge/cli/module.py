"""Loading an app: a Python file that has an App called `app`."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

from core.errors import CoreError
from core.schema.app import App
from edge.cli.failure import CommandError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "app"


def load_app(path: Path) -> App:
    """Run the module and return its App; raise CommandError with what is wrong with it."""
    if not path.is_file():
        raise CommandError(f"{path} is not a file")
    spec = spec_from_file_location(f"skerry_app_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is not a Python module")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except CoreError as error:
        raise CommandError(f"{path} declares an app that cannot be served: {error}") from error
    except Exception as error:
        where = f"{type(error).__name__}: {error}"
        raise CommandError(f"{path} cannot be loaded: {where}") from error
    app = getattr(module, NAME, None)
    if not isinstance(app, App):
        raise CommandError(f"{path} has no App called {NAME!r}")
    return app
