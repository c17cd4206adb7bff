"""What people are shown cannot lie about itself."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.seams.escape import escaped, escaped_json
from ringfence.testing import question


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界 🐍", "Grüße, 世界 🐍"),
        ("\x1b[2Jgone", "\\u001b[2Jgone"),
        ("a\r\nb\tc", "a\\u000d\\u000ab\\u0009c"),
        ("\u202eelpmaxe", "\\u202eelpmaxe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("no\u00a0break", "no\\u00a0break"),
        ("hangul\u3164filler", "hangul\\u3164filler"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_has_no_shape_of_its_own_is_written_out(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    for shown in (escaped(text), escaped_json({text: [text]})):
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(st.text(), st.text())
def test_two_values_are_never_shown_alike(one: str, other: str) -> None:
    assert (escaped_json(one) == escaped_json(other)) == (one == other)


def test_what_is_cut_is_said() -> None:
    assert escaped_json("x" * 100, limit=10) == '"xxxxxxxxx [cut: 92 of 102 characters are not shown]'
    assert escaped_json("x" * 8, limit=10) == '"xxxxxxxx"'


def test_a_question_shows_everything_a_person_needs() -> None:
    asked = question("T-AAAA1111", arguments={"to": ["eve@x.example"], "body": "hi\u202e"})
    assert asked.text == "\n".join(
        [
            "T-AAAA1111: support wants to run send_email",
            '  to = ["eve@x.example"]',
            '  body = "hi\\u202e"',
            "  for: alice",
            "  asks: support_lead (group support-leads)",
            "  because: more than three recipients",
            "  answer within: 15 min 0 s",
        ]
    )


def test_a_question_says_what_is_not_there() -> None:
    asked = question(arguments={}, requester=None, group=None, because=None, expires_ns=None)
    assert asked.lines()[1:] == ["  (no arguments)", "  for: (not said)", "  asks: support_lead"]
