"""What every start of a node works out anew although it depends on the code alone: worked out once.

Nodes of a simulation start often. Litestar parses the signature of each endpoint, makes two models
of each, adds one for OPTIONS, which nobody asks here, and looks for a plugin that is not there.
"""

import sys
from typing import Any

from litestar._kwargs import KwargsModel
from litestar._signature import SignatureModel
from litestar.enums import ScopeType
from litestar.routes import HTTPRoute
from litestar.routes.base import BaseRoute
from litestar.utils.signature import ParsedSignature

ABSENT_PLUGIN = "litestar.plugins.opentelemetry"


def remember(replace):
    """Let Litestar remember; models are remembered only where no dependency or DTO has a say."""
    signatures = _signatures(vars(ParsedSignature)["from_fn"].__func__)
    models = _models(vars(SignatureModel)["create"].__func__)
    readings = _readings(vars(KwargsModel)["create_for_signature_model"].__func__)
    replace(ParsedSignature, "from_fn", classmethod(signatures))
    replace(SignatureModel, "create", classmethod(models))
    replace(KwargsModel, "create_for_signature_model", classmethod(readings))
    replace(HTTPRoute, "__init__", _without_options)
    modules: dict[str, Any] = sys.modules
    modules[ABSENT_PLUGIN] = None


def _without_options(self, *, path, route_handlers):
    """Do what Litestar's own does, except for the endpoint for OPTIONS."""
    self.route_handlers = route_handlers
    self.route_handler_map = {}
    BaseRoute.__init__(
        self,
        methods=[method for handler in route_handlers for method in handler.http_methods],
        path=path,
        scope_type=ScopeType.HTTP,
        handler_names=[handler.handler_name for handler in route_handlers],
    )


def _code_of(function):
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    is_plain = code is not None and not function.__defaults__ and not function.__kwdefaults__
    return code if is_plain else function


def _signatures(parse):
    known = {}

    def from_fn(cls, fn, namespace):
        key = _code_of(fn)
        if key not in known:
            known[key] = parse(cls, fn, namespace)
        return known[key]

    return from_fn


def _models(make):
    known = {}

    def create(cls, *, dependency_name_set, fn, data_dto=None, **named):
        key = _code_of(fn)
        if key in known:
            return known[key]
        named |= {"dependency_name_set": dependency_name_set, "fn": fn, "data_dto": data_dto}
        model = make(cls, **named)
        if not dependency_name_set and data_dto is None:
            known[key] = model
        return model

    return create


def _readings(make):
    known = {}

    def create(cls, *, signature_model, dependencies, path_parameters, layered_parameters, **named):
        key = (signature_model, frozenset(path_parameters))
        if key in known and not dependencies and not layered_parameters:
            return known[key]
        named |= {"signature_model": signature_model, "path_parameters": path_parameters}
        named |= {"dependencies": dependencies, "layered_parameters": layered_parameters}
        model = make(cls, **named)
        if not dependencies and not layered_parameters:
            known[key] = model
        return model

    return create
