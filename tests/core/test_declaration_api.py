"""What an app imports from `core` is there, and nothing else is promised."""

import core
from core.crdt.registry import FIELD_TYPES


def test_all_names_exist_and_are_sorted():
    assert all(hasattr(core, name) for name in core.__all__)
    assert list(core.__all__) == sorted(core.__all__)


def test_every_field_type_is_exported():
    assert {declared.__name__ for declared in FIELD_TYPES.values()} <= set(core.__all__)
