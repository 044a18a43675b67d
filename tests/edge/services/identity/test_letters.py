"""Letters: the code alone on its line, and nothing that strangers could abuse."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gateways.mail_message import Address, to_message
from edge.services.identity import letters

TO = "ada@example.org"
SENDER = Address("Skerry", "no-reply", "example.org")


def all_letters(app, name, code="KX42-7QPM"):
    timed = {"app_name": app, "code": code, "minutes": 10}
    with_code = [
        letters.sign_in_code(TO, **timed),
        letters.verify_address(TO, **timed),
        letters.reset_password(TO, **timed),
        letters.invitation(TO, app_name=app, space=name, role=name, code=code, inviter=name),
    ]
    return with_code, [
        letters.already_registered(TO, app_name=app),
        letters.session_ended(
            TO, app_name=app, device_name=name, at=datetime(2026, 11, 24, 5, 6, tzinfo=UTC)
        ),
        letters.account_deleted(TO, app_name=app),
    ]


def test_the_code_stands_alone_and_only_in_the_text():
    with_code, without = all_letters("Airfields", "Ada")
    for mail in with_code:
        assert mail.text.split("\n\n")[1] == "KX42-7QPM"
        assert mail.text.count("KX42-7QPM") == 1
        assert "KX42" not in mail.subject
    for mail in with_code + without:
        assert mail.to == TO
        assert "Airfields" in mail.subject
        assert mail.text.endswith(".\n")
        assert len(mail.text) < 800


def test_they_say_what_happened():
    (sign_in, _, _, invitation), (_, ended, _) = all_letters("Airfields", "Ada's phone")
    assert "10 minutes" in sign_in.text
    assert '"Ada\'s phone" was signed out of Airfields on 2026-11-24 05:06 UTC' in ended.text
    assert invitation.text.count('"Ada\'s phone"') == 3
    one = letters.sign_in_code(TO, app_name="A", code="1", minutes=1)
    assert "for 1 minute." in one.text


def test_times_are_told_in_utc():
    at = datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    mail = letters.session_ended(TO, app_name="A", device_name="d", at=at)
    assert "2026-11-23 22:30 UTC" in mail.text


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("Jérôme O'Neill", "Jérôme O'Neill"),
        ("J.R. Smith", "J. R. Smith"),
        ("iPhone 15.2", "iPhone 15.2"),
        ("win at https://evil.example/now", "win at https evil. example/now"),
        ("pay//evil.example", "pay evil. example"),
        ("evil。example", "evil。 example"),
        ('end" of quotation', "end' of quotation"),
        ("two\r\n\r\nparagraphs", "two paragraphs"),
        ("\u202egnidaeh\u202c", "gnidaeh"),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("x" * 61, "x" * 59 + "…"),
        (" \x00\n ", "(no name)"),
        ("", "(no name)"),
    ],
)
def test_a_name_is_one_bounded_line_without_links(given_name, shown):
    mail = letters.session_ended(
        TO, app_name="A", device_name=given_name, at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert f'Your device "{shown}" was' in mail.text


@given(app=st.text(max_size=300), name=st.text(max_size=300))
def test_whatever_the_names_are_the_mail_can_be_sent(app, name):
    for group in all_letters(app, name):
        for mail in group:
            to_message(mail, sender=SENDER)
            assert len(mail.text) < 1_500
            assert "://" not in mail.text or "://" in app
            controls = {unicodedata.category(character) for character in mail.text}
            assert not controls & {"Cs", "Zl", "Zp"}
            assert "\n\n\n" not in mail.text


@pytest.mark.parametrize("code", ["12 34\n56", " 1", "1" * 100])
def test_a_code_of_more_than_a_line_is_our_mistake(code):
    with pytest.raises(AssertionError):
        letters.sign_in_code(TO, app_name="A", code=code, minutes=1)
