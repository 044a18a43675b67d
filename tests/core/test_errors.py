"""Errors of the core: what they carry, and what is read of them in a log."""

import pytest

from core.errors import CoreError, FieldError, IdentifierError, Refusal


@pytest.mark.parametrize("kind", [FieldError, Refusal])
def test_a_refused_value_has_a_code_and_words(kind):
    error = kind("too-long", "text is longer than 9 bytes")
    assert (error.code, error.message) == ("too-long", "text is longer than 9 bytes")
    assert str(error) == "too-long: text is longer than 9 bytes"
    assert issubclass(kind, CoreError)


def test_a_bad_id_has_a_kind_and_itself():
    error = IdentifierError(kind="space", value="a b")
    assert (error.kind, error.value, str(error)) == ("space", "a b", "not a valid space: 'a b'")
