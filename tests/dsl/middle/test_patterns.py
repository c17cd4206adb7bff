"""A pattern matches a whole text, whichever way RE2 is asked."""

from types import SimpleNamespace

import pytest
import re2  # type: ignore[import-untyped]  # the binding ships no types
from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.checks import regex
from ringfence.dsl.checks.regex import full_match, pattern_mistake

PATTERNS = [
    "[a-z]+",
    "",
    "a|ab",
    "(a+)(b*)",
    ".*",
    "a$",
    "^a",
    "[^\\n]*",
    "é+",
    "\\pL+",
    "(?s).+",
    "a{2,3}",
    "\\bab\\b",
]


@given(st.sampled_from(PATTERNS), st.text("abé\n ", max_size=6) | st.text(max_size=6))
def test_the_quick_way_answers_as_the_public_one(pattern: str, subject: str) -> None:
    public = re2.compile(pattern, regex._OPTIONS).fullmatch(subject.encode()) is not None
    assert full_match(pattern)(subject) is public


def test_where_the_quick_way_is_not_there_the_public_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = re2.compile

    def compiled(text: str, options: object) -> SimpleNamespace:
        return SimpleNamespace(fullmatch=real(text, options).fullmatch)

    monkeypatch.setattr(re2, "compile", compiled)
    matches = full_match.__wrapped__("[a-z]+")
    assert matches("abc") and not matches("ab1") and not matches("abc\n")


def test_a_pattern_of_re2_alone_is_refused_with_its_reason() -> None:
    assert pattern_mistake("(?=a)") is not None
    assert pattern_mistake("[a-z]+") is None


def test_a_lone_surrogate_raises() -> None:
    with pytest.raises(UnicodeEncodeError):
        full_match(".*")("\ud800")
