"""What the redactor finds, what it leaves alone, and that it can be done twice."""

import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.plugins import redact_pii
from ringfence.plugins.redact_pii.marks import redacted
from ringfence.testing import RedactorContract


class TestPii(RedactorContract):
    def make(self) -> Callable[[str], str]:
        return redact_pii.pii

    secrets = ("bob@acme.example", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "+49 30 901820")
    harmless = ("order 12345678", "T-123456 on 2026-11-22 10:00", "192.168.100.200", "01.02.2026")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail bob@acme.example, or <Ann.O'x@sub.b-c.de>.", "mail [email], or <[email]>."),
        ("mailto:eve@acme.example?x", "mailto:[email]?x"),
        ("bücher@bücher.example", "[email]"),
        ("bob＠acme.example", "[email]"),
        ("GB82 WEST 1234 5698 7654 32 please", "[iban] please"),
        ("gb82west12345698765432", "[iban]"),
        ("GB82 WEST 1234 5698 7654 33", "GB82 WEST 1234 5698 7654 33"),
        ("two: DE89370400440532013000 NL91ABNA0417164300", "two: [iban] [iban]"),
        ("pay 4111 1111 1111 1111 now", "pay [card] now"),
        ("pay 4111-1111-1111-1111.", "pay [card]."),
        ("378282246310005", "[card]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("12 4111 1111 1111 1111 33", "12 [card] 33"),
        ("٤١١١١١١١١١١١١١١١", "[card]"),
        ("call +49 30 901820 or (555) 123-4567", "call [phone] or [phone]"),
        ("030/1234567 and 0301234567", "[phone] and [phone]"),
        ("tel. 0044 20 7946 0958", "tel. [phone]"),
        ("version 1.2.3.4, 2026-11-22, 12345678", "version 1.2.3.4, 2026-11-22, 12345678"),
        ("", ""),
    ],
)
def test_what_is_personal_is_marked(text: str, shown: str) -> None:
    assert redacted(text) == shown


PIECES = st.sampled_from(
    ["bob@acme.example", "GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "+49 30 901820", "a", "@", " ",
     "-", ".", "1", "0", "[", "]", "+", "(", "é", "[card]", "00"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(string.digits + " -.+()@a[]", max_size=60))
def test_done_again_it_changes_nothing(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_address_between_spaces_never_stays(before: str, after: str) -> None:
    assert "bob@acme.example" not in redacted(f"{before} bob@acme.example {after}")


def test_long_texts_of_almost_matches_are_read_once() -> None:
    for piece in ("a@", "1 ", "GB82", "+1 ", "4111 "):
        text = piece * 20_000
        assert len(redacted(text)) <= len(text)
