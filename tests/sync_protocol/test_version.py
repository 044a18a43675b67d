"""The protocol's version is pinned to what its messages look like."""

from sync_protocol.version import (
    PROTOCOL_FINGERPRINT,
    PROTOCOL_VERSION,
    _without_descriptions,
    protocol_fingerprint,
)


def test_messages_are_those_of_this_version():
    assert (PROTOCOL_VERSION, protocol_fingerprint()) == (1, PROTOCOL_FINGERPRINT), (
        "bump the version or make it additive"
    )


def test_docstrings_are_not_part_of_the_fingerprint():
    from sync_protocol.messages.hello import Hello

    before, Hello.__doc__ = Hello.__doc__, "Other words."
    try:
        assert protocol_fingerprint() == PROTOCOL_FINGERPRINT
    finally:
        Hello.__doc__ = before


def test_a_field_that_is_called_description_is_part_of_the_fingerprint():
    schema = {"description": {"type": "text", "description": "What it is."}, "items": [{"a": 1}]}
    assert _without_descriptions(schema) == {"description": {"type": "text"}, "items": [{"a": 1}]}
