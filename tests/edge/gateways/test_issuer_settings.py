"""The setting that says which issuers of ID tokens are trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gateways.id_tokens import PRESETS, JwtIdTokens, parse_issuers
from edge.gateways.issuer_settings import is_fetchable
from edge.ports.issuers import Issuer


def test_presets_and_urls_are_read():
    assert parse_issuers(" google=one|two , https://login.example.org/t=aud=1,") == (
        Issuer(
            "https://accounts.google.com",
            ("one", "two"),
            "https://www.googleapis.com/oauth2/v3/certs",
        ),
        Issuer("https://login.example.org/t", ("aud=1",)),
    )
    assert parse_issuers("apple=org.example.app")[0].issuer == "https://appleid.apple.com"
    assert parse_issuers("") == ()
    assert all(preset.audiences == () for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("google", "not of the form"),
        ("=aud", "not of the form"),
        ("google=", "client id"),
        ("google=a||b", "client id"),
        ("google=a|a", "twice"),
        ("google=a,google=b", "twice"),
        ("google=a,https://accounts.google.com=b", "twice"),
        ("facebook=a", "not an issuer"),
        ("http://login.example.org=a", "https"),
        ("https://user@login.example.org=a", "https"),
        ("https://login.example.org?x=a", "https"),
        ("https://login.example.org#x=a", "https"),
        ("https://:443=a", "https"),
        ("https://login.example.org:x=a", "https"),
        ("ftp://login.example.org=a", "https"),
        ("https://löschen.example=a", "https"),
        ("google=" + "|".join(str(n) for n in range(21)), "client ids"),
        ("google=" + "x" * 256, "client id"),
        (",".join(f"https://{n}.example=a" for n in range(21)), "issuers"),
        ("x" * 20_001, "characters"),
    ],
)
def test_a_mistake_is_told_at_the_start(text, words):
    with pytest.raises(ValueError, match=words):
        parse_issuers(text)


@pytest.mark.parametrize(
    "issuer",
    [
        Issuer("https://login.example.org", ()),
        Issuer("https://login.example.org", ("a",), "http://login.example.org/keys"),
        Issuer("https://login.example.org", ("a",), "http://127.0.0.1/keys"),
    ],
)
def test_a_verifier_takes_no_issuer_that_the_setting_would_not(issuer):
    with pytest.raises(ValueError, match="issuer"):
        JwtIdTokens([issuer])


@pytest.mark.parametrize(
    ("url", "named_by", "expected"),
    [
        ("https://a.example/keys", None, True),
        ("https://a.example/keys", "https://b.example", True),
        ("http://localhost:8080/keys", None, True),
        ("http://127.0.0.53/keys", "http://127.0.0.1", True),
        ("http://[::1]:80/keys", None, True),
        ("http://127.0.0.1/keys", "https://b.example", False),
        ("http://localhost.evil.example/keys", None, False),
        ("http://127.0.0.1.evil.example/keys", None, False),
        ("http://127.0.0.1@evil.example/keys", None, False),
        ("http://2130706433/keys", None, False),
        ("https://a.example\\@b.example/keys", None, False),
        ("https://a.example/\nkeys", None, False),
        ("https://" + "a" * 500, None, False),
        ("https://[::1", None, False),
        ("https://a.example:99999/", None, False),
        ("HTTPS://a.example/keys", None, True),
        ("//a.example/keys", None, False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url, named_by, expected):
    assert is_fetchable(url, named_by=named_by) is expected


@given(st.text(alphabet="htps:/.=|,[]@?#\\ \na1%ß\x00", max_size=60))
def test_no_setting_raises_anything_but_value_errors(text):
    try:
        parse_issuers(text)
    except ValueError:
        return
