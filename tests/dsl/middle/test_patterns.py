"""A pattern matches a whole text, whichever way RE2 is asked."""

import re
from types import SimpleNamespace

import pytest
import re2  # type: ignore[import-untyped]  # the binding ships no types
from hypothesis import given, settings
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


ONE = st.sampled_from(["a", "b", "/", " ", "-", r"\/", r"\.", r"\*", "[a-c]", "[ab_]", "[a-b.0-9]", "[./]"])
TIMES = st.sampled_from(["", "", "", "{2}", "{0}"])
ROW = st.lists(st.tuples(ONE, TIMES).map("".join), max_size=4).map("".join)
LOOSE = st.tuples(ONE, st.sampled_from(["+", "*", "?"])).map("".join) | st.just("")


@settings(max_examples=500)
@given(st.tuples(ROW, LOOSE, ROW).map("".join), st.data())
def test_a_plain_pattern_says_the_same_in_both_engines(pattern: str, data: st.DataObject) -> None:
    assert regex._PLAIN.fullmatch(pattern)
    fitting = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)
    for subject in (data.draw(fitting), data.draw(st.text("abc/. -*\n_0é", max_size=8))):
        assert full_match(pattern)(subject) is regex._matching(pattern)(subject)


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b+", "(a+)+", "a|b", ".", "a.b", "^a", "a$", "[^a]", r"\d", r"\w", r"\b", "[[:alpha:]]",
        "a+?", "a++", "a{1,2}", "(?i)a", "é", "[é]", r"[\d]", r"\x41", r"\pL", "a\n", "[a-]", "[]a]",
        "[a--b]", "a{2}+", "a{100}",
    ],
)  # fmt: skip
def test_no_other_pattern_is_left_to_python(pattern: str) -> None:
    assert regex._PLAIN.fullmatch(pattern) is None


def test_where_the_quick_way_is_not_there_the_public_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = re2.compile

    def compiled(text: str, options: object) -> SimpleNamespace:
        return SimpleNamespace(fullmatch=real(text, options).fullmatch)

    monkeypatch.setattr(re2, "compile", compiled)
    matches = full_match.__wrapped__("[^0-9]+")
    assert matches("abc\n") and not matches("ab1")


def test_a_pattern_of_re2_alone_is_refused_with_its_reason() -> None:
    assert pattern_mistake("(?=a)") is not None
    assert pattern_mistake("[a-z]+") is None


def test_a_lone_surrogate_raises() -> None:
    with pytest.raises(UnicodeEncodeError):
        full_match(".*")("\ud800")
