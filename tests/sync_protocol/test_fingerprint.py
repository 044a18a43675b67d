"""Fingerprints follow meaning, not the order of declaration."""

from core.schema.app import App
from sync_protocol.fingerprint import fingerprint, fingerprint_of


class Declared(App):
    def __init__(self) -> None:
        super().__init__("declared", version=1, spaces={})

    def describe(self):
        return {"b": 1, "a": {"d": [1, 2], "c": "ø"}}


def test_sixteen_hexadecimal_characters():
    assert fingerprint(Declared()) == fingerprint_of({"a": {"c": "ø", "d": [1, 2]}, "b": 1})
    assert len(fingerprint(Declared())) == 16
    assert int(fingerprint(Declared()), 16)


def test_any_difference_shows():
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": 2})
    assert fingerprint_of({"a": [1, 2]}) != fingerprint_of({"a": [2, 1]})
