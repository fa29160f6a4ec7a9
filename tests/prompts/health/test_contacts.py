"""E-mail addresses and phone numbers are found, and what merely looks like one is left alone."""

import pytest

from alignx.prompts.reporting.health.contacts import find, mask, maybe, redact

EMAILS = [
    "jane.doe@mail-server.org",
    "mailto:jane_doe+tag@sub.domain.co.uk",
    "(JANE@MAIL.COM)",
    "<j@x.de>,",
    "ask jane@mail.com. Then",
    "straße: jörg@web.de",
    "jörg@münchen.de",
]
NO_EMAILS = [
    "@jane said so",
    "ask @jane.doe or @mail.com",
    "jane@localhost",
    "user@example.com",
    "a@sub.example.org",
    "x@mail.invalid",
    "git@github.com:owner/repo",
    "https://medium.com/@jane.doe",
    "@jane@mastodon.social",
    "logo@2x.png",
    "pip install thing@1.2.3",
    "5 apples @ 3.50",
    "a @ b.com",
    "jane(at)mail.com",
]
PHONES = [
    "+44 20 7946 0958",
    "+4915112345678",
    "+49 170 1234567",
    "+49 1701234567",
    "0049 170 9384756",
    "+1 (212) 664-7665",
    "+1-212-664-7665",
    "(212) 664-7665",
    "212-664-7665",
    "212.664.7665",
    "Tel.: 030 1234567",
    "call me at 020 7946 0958",
    "phone: 0800-123-4567.",
    "WhatsApp 0151 23456789",
]
NO_PHONES = [
    "version 1.2.3.4 of 10.15.7",
    "on 2024-01-02 or 12-31-2020, 2020/11/22",
    "from 2010-2020 at 10:30-11:45",
    "$1,234,567.89 and € 212 664 7665",
    "ISBN 978-3-16-148410-0 or 0-306-40615-2",
    "ISBN 9783161484100",
    "192.168.100.200",
    "order 123456789012",
    "#212-664-7665",
    "212-664-76655 and 12-212-664-7665",
    "+20 000 000 users, +1,000,000 points, +5000000",
    "555-555-5555",
    "123-456-7890",
    "3.14159265358979",
    "call 911, press 0 now, 0.5 of 0.25",
    "pages 100-200 300-400",
    "123-45-6789",
    "2 664 7665 8 1 2 3",
]


@pytest.mark.parametrize("text", EMAILS)
def test_an_address_is_found_and_taken_out(text: str) -> None:
    assert len(find(text, "email")) == 1
    said, counts = redact(text)
    assert counts == {"email": 1, "phone": 0}
    assert "[e-mail]" in said
    assert "@" not in said


@pytest.mark.parametrize("text", NO_EMAILS)
def test_what_looks_like_an_address_is_none(text: str) -> None:
    assert find(text, "email") == []
    assert redact(text)[0] == text


@pytest.mark.parametrize("text", PHONES)
def test_a_phone_number_is_found_and_taken_out(text: str) -> None:
    assert len(find(text, "phone")) == 1
    said, counts = redact(text)
    assert counts == {"email": 0, "phone": 1}
    assert "[phone]" in said
    assert not any(character.isdigit() for character in said)


@pytest.mark.parametrize("text", NO_PHONES)
def test_what_looks_like_a_phone_number_is_none(text: str) -> None:
    assert find(text, "phone") == []
    assert redact(text)[0] == text


def test_only_what_is_named_is_taken_out() -> None:
    text = "a@mail.org 212-664-7665"
    assert redact(text, ("email",)) == ("[e-mail] 212-664-7665", {"email": 1})
    assert redact(text, ("phone",)) == ("a@mail.org [phone]", {"phone": 1})
    assert redact("Tel: 030 1234567!")[0] == "Tel: [phone]!"


def test_what_is_shown_of_a_contact_reaches_nobody() -> None:
    assert mask("jane.doe@mail.org") == "j•••@•••.org"
    assert mask("+44 20 7946 0958") == "+•• •• •••• ••••"


@pytest.mark.parametrize("text", [*EMAILS, *PHONES])
def test_the_fast_test_is_never_wrong_about_a_no(text: str) -> None:
    kinds = [kind for kind in ("email", "phone") if find(text, kind)]
    assert all(maybe(f"{'word ' * 30}{text}", kind) for kind in kinds)
    assert not maybe("No mail, 12 words and 3 numbers: 2024, 7.", "email")
    assert not maybe("No mail, 12 words and 3 numbers: 2024, 7.", "phone")


def test_long_texts_without_a_contact_are_read_in_no_time() -> None:
    for text in ("a." * 50_000 + "@", "1 " * 50_000, "a@" * 50_000, "(212) " * 20_000, "+1" * 50_000):
        assert redact(text)[0] == text
