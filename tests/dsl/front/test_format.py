"""The one layout: it keeps every word and comment, says the same, and changes nothing twice."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.format import format_text
from ringfence.dsl.format import layout as layout_stage
from ringfence.dsl.load import load_text
from ringfence.dsl.parse import lexemes, parse
from ringfence.dsl.source import Source
from tests.docs.pages import blocks, pages, policy_text
from tests.dsl.front.said import said
from tests.dsl.front.sentences import sentences
from tests.dsl.front.test_mistakes import POLICIES

ROOT = Path(__file__).parents[3]
FILES = sorted(
    path
    for folder in ("tests", "examples", "bench")
    for path in (ROOT / folder).rglob("*.fence")
    if "mistakes" not in path.stem and "broken" not in path.stem
)
BLOCKS = [block for page in pages() for block in blocks(page) if block.kind == "fence"]


def assert_laid_out(text: str) -> str:
    """Assert that a text has a layout that is kept; words and tree are compared by the formatter."""
    laid = format_text(text).text
    assert laid is not None
    assert format_text(laid).text == laid
    assert laid == "" or (laid.endswith("\n") and not laid.endswith("\n\n"))
    assert not any(line != line.rstrip() for line in laid.split("\n"))
    assert "\n\n\n" not in laid
    return laid


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_policy_of_the_repository_can_be_laid_out(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    laid = assert_laid_out(text)
    before, after = load_text(text).plan, load_text(laid).plan
    assert (before and before.digest) == (after and after.digest)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_policy_of_the_documentation_can_be_laid_out(block: object) -> None:
    text = policy_text(block)  # type: ignore[arg-type]  # pytest hands it on as an object
    if format_text(text).text is not None:
        assert_laid_out(text)


@pytest.mark.parametrize(
    ("text", "laid"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only", "# only\n"),
        ("language 1\r\n\r\n\r\npolicy p\r\n", "language 1\n\npolicy p\n"),
        (
            "tool a{stop after 5minutes result at most 64KB}",
            "tool a {\n  stop after 5 minutes\n  result at most 64 KB\n}\n",
        ),
        ("tool a{allow when(x)and not(y)}", "tool a {\n  allow when (x) and not (y)\n}\n"),
        (
            "tool a{allow when x in[1]and size ( x )<2}",
            "tool a {\n  allow when x in [1] and size(x) < 2\n}\n",
        ),
        ("agent a {\n\n  holds b\n\n\n  # c\n\n}", "agent a {\n  holds b\n\n  # c\n}\n"),
        ("agent a {} # c", "agent a {}  # c\n"),
        ("tool a { allow always }\n# c\ntool b {}", "tool a {\n  allow always\n}\n# c\ntool b {}\n"),
    ],
)
def test_the_layout_in_small(text: str, laid: str) -> None:
    assert format_text(text).text == laid


@pytest.mark.parametrize(
    "text", ["tool a { alow }", "tool a {", "x", '"', "\ufeff", "language 1 # \u202e", "\x00"]
)
def test_what_cannot_be_read_whole_has_no_layout(text: str) -> None:
    result = format_text(text)
    assert result.text is None
    assert {report.code for report in result.diagnostics} <= {"E001", "E002", "E003"}
    assert result.diagnostics


def test_other_mistakes_do_not_stand_in_the_way() -> None:
    assert (
        format_text("tool a { allow when x and y or z }").text == "tool a {\n  allow when x and y or z\n}\n"
    )


def test_a_layout_that_loses_a_word_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = layout_stage.Layout.text
    monkeypatch.setattr(
        layout_stage.Layout, "text", lambda self, document: whole(self, document).replace("not ", "")
    )
    with pytest.raises(RuntimeError, match="says something else"):
        format_text("tool a { allow when not x }")


@given(st.data())
@settings(max_examples=150)
def test_comments_and_line_breaks_anywhere_between_words_are_kept(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(POLICIES))
    source = Source("x", text)
    words = [lexeme.text for lexeme in lexemes(source, source.first)]
    gaps = data.draw(
        st.lists(
            st.sampled_from([" ", "  ", "\n", "\n\n\n", " # c\n", "# c \n# d\n", "\n # c\n\n", "\t"]),
            min_size=len(words),
            max_size=len(words),
        )
    )
    loose = "".join(word + gap for word, gap in zip(words, gaps, strict=True))
    laid = assert_laid_out(loose)
    assert laid.count("# c") == loose.count("# c")


@given(st.data())
@settings(max_examples=150)
def test_the_layout_depends_on_words_and_comments_alone(data: st.DataObject) -> None:
    source = Source("x", data.draw(st.sampled_from(POLICIES)))
    words = [lexeme.text for lexeme in lexemes(source, source.first)]
    gaps = data.draw(
        st.lists(st.sampled_from([" ", "   ", "\n", "\n    "]), min_size=len(words), max_size=len(words))
    )
    loose = "".join(word + gap for word, gap in zip(words, gaps, strict=True))
    assert format_text(loose).text == format_text(" ".join(words)).text


@given(sentences())
@settings(max_examples=150)
def test_every_sentence_of_the_grammar_is_read_and_its_layout_says_the_same(text: str) -> None:
    document, reports = parse(Source("x", text))
    assert {report.code for report in reports} <= {"E115", "E136"}  # `and` with `or`; an argument given twice
    laid = assert_laid_out(text)
    again, _ = parse(Source("x", laid))
    assert list(map(said, document.declarations)) == list(map(said, again.declarations))
    assert laid.count("# c") == text.count("# c")
    assert laid.count("# d") == text.count("# d")


@given(st.data())
@settings(max_examples=150)
def test_no_mutation_of_a_policy_makes_the_formatter_raise(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(POLICIES))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        new = data.draw(
            st.sampled_from(["#", "\n", " ", "(", ")", "{", "}", '"', "and", "# c\n", "\r\n", ",", "\t#"])
        )
        text = text[:at] + new + text[at + data.draw(st.integers(0, 4)) :]
    if format_text(text).text is not None:
        assert_laid_out(text)
