"""Where tokens end, and the one spelling of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine.decision.recall.tokens import lexemes, number_in, number_key, spellings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   \n", []),
        ("...", [".", ".", "."]),
        ("Hello, world!", ["Hello", ",", " ", "world", "!"]),
        ("a \t\n b", ["a", " ", "b"]),
        ('say "hi" (now)', ["say", " ", '"', "hi", '"', " ", "(", "now", ")"]),
        ("a,b a.b a-b a/b:c", ["a,b", " ", "a.b", " ", "a-b", " ", "a/b:c"]),
        ("(bob@acme.example.)", ["(", "bob@acme.example", ".", ")"]),
        ("Eve@Evil.Example", ["Eve@evil.example"]),
        ("mailto:Bob@ACME.example", ["Bob@acme.example"]),
        ("<MAILTO:bob@acme.example>", ["<", "bob@acme.example", ">"]),
        ("HTTPS://Docs.ACME.example/A?b=C", ["https://docs.acme.example/A?b=C"]),
        ("http://x.example:80 http://x.example:8080", ["http://x.example/", " ", "http://x.example:8080/"]),
        ("https://x.example?q=1", ["https://x.example/?q=1"]),
        ("https://x.example/%7ea%2fb", ["https://x.example/~a%2Fb"]),
        ("Host.Example stays", ["Host.Example", " ", "stays"]),
        ("o'brien@x.example 'bob@x.example'", ["o'brien@x.example", " ", "'", "bob@x.example", "'"]),
        ("Bob's", ["Bob", "'", "s"]),
        ("e\u0301", ["\u00e9"]),
        ("bob\u200b@x.example", ["bob\u200b@x.example"]),
        ("\u202ebob", ["\u202ebob"]),
        ("a\u00a0b\u2028c", ["a", " ", "b", " ", "c"]),
        ("\ud800 x", ["\ud800", " ", "x"]),
        ("“Ann”，好。", ["“", "Ann", "”", "，好", "。"]),
    ],
)
def test_a_text_falls_into_these_lexemes(text: str, expected: list[str]) -> None:
    assert lexemes(text) == expected


@pytest.mark.parametrize(
    ("token", "number"),
    [
        ("1810", "1810"),
        ("$1,810.00", "1810"),
        ("-$5.50", "-5.5"),
        ("€10", "10"),
        ("10€", "10"),
        ("US$1,000,000", "1000000"),
        ("0", "0"),
        ("0.50", "0.5"),
        ("-0.0", "0"),
        ("1.810", "1.81"),
        ("1.810,00", None),
        ("1,81", None),
        ("1,8100", None),
        ("007", None),
        ("10:00", None),
        ("2026-11-23", None),
        ("10GB", None),
        ("1e5", None),
        ("+49", None),
        ("٣", None),
        ("9" * 41, None),
        ("", None),
    ],
)
def test_a_token_says_this_number(token: str, number: str | None) -> None:
    assert number_in(token) == number


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (1810, "1810"),
        (1810.0, "1810"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (1e22, "1" + "0" * 22),
        (1e-7, "0.0000001"),
        (float("nan"), None),
        (float("inf"), None),
        (2**53, None),
    ],
)
def test_a_number_has_one_key(value: float, key: str | None) -> None:
    assert number_key(value) == key


def test_an_integer_too_long_to_be_written_has_no_key() -> None:
    assert number_key(2**20_000) is None


def test_an_account_number_is_written_whole_or_in_groups_of_four() -> None:
    whole, groups = spellings("GB29NWBK60161331926819")
    assert whole == ["GB29NWBK60161331926819"]
    assert "".join(groups) == "GB29 NWBK 6016 1331 9268 19"
    assert spellings("GB29 NWBK 6016 1331 9268 19") == [whole, groups]
    assert spellings("GB29 NWB K601 6133 1926 819") == [lexemes("GB29 NWB K601 6133 1926 819")]
    assert spellings("gb29nwbk60161331926819") == [["gb29nwbk60161331926819"]]


def test_a_look_alike_that_composition_would_make_plain_is_no_spelling_of_anything() -> None:
    assert spellings("\u212a") == []  # the Kelvin sign, which NFC makes a K
    assert spellings("e\u0301") == spellings("\u00e9") == [["\u00e9"]]


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_lexing_is_total_and_lexing_again_changes_nothing(text: str) -> None:
    once = lexemes(text)
    assert lexemes("".join(once)) == once


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_number_is_found_in_what_it_is_written_as(number: int) -> None:
    assert (
        number_in(f"{number:,}") == number_in(str(number)) == number_key(number) == number_key(float(number))
    )
