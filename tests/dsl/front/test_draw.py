"""Drawn reports: exactly the form that the language's specification shows."""

import pytest

from ringfence.dsl.diagnostic import Diagnostic, as_json, draw
from ringfence.dsl.source import Source, Span
from tests.dsl.front.underlined import reports_of

SHOWN = """\
error[E003]: did not expect `alow` here
  --> support.fence:10:3
   |
10 |   alow when size(to) == 1
   |   ^^^^ a clause of a tool starts here
   = help: did you mean `allow`?"""


def _at(text: str, start: int, end: int, name: str = "x") -> Diagnostic:
    return Diagnostic("E003", "m", Span(start, end), Source(name, text))


def test_a_report_is_drawn_as_specified() -> None:
    text = "\n" * 8 + "tool send {\n  alow when size(to) == 1\n}\n"
    report = reports_of(text)[0]
    assert (
        draw(
            [
                Diagnostic(
                    report.code,
                    report.message,
                    report.span,
                    Source("support.fence", text),
                    report.label,
                    report.help,
                )
            ]
        )
        == SHOWN
    )


@pytest.mark.parametrize(
    ("text", "start", "end", "shown", "carets"),
    [
        ("\tab", 1, 3, "1 |     ab", "  |     ^^"),
        ("a\tb", 2, 3, "1 | a   b", "  |     ^"),
        ("日本 x", 3, 4, "1 | 日本 x", "  |      ^"),
        ("日本 x", 0, 2, "1 | 日本 x", "  | ^^^^"),
        ("ab\ncd", 1, 5, "1 | ab", "  |  ^"),
        ("", 0, 0, "1 |", "  | ^"),
        ("ab", 2, 2, "1 | ab", "  |   ^"),
        ("ab\n", 3, 3, "2 |", "  | ^"),
        ("a\u202eb", 2, 3, "1 | a\\u{202e}b", "  |          ^"),
    ],
)
def test_the_caret_stands_under_the_text(text: str, start: int, end: int, shown: str, carets: str) -> None:
    assert draw([_at(text, start, end)]).split("\n")[3:5] == [shown, carets]


def test_reports_are_sorted_by_place_and_capped() -> None:
    drawn = draw([_at("a\nb", 2, 3, "b"), _at("a\nb", 0, 1, "b"), _at("a", 0, 1, "a")], limit=2)
    assert [line.strip() for line in drawn.split("\n") if "-->" in line] == ["--> a:1:1", "--> b:1:1"]
    assert drawn.endswith("\n\n… and 1 more")


def test_json_says_the_same() -> None:
    (data,) = as_json([_at("a\nbc", 2, 4)])
    assert (data["file"], data["line"], data["column"], data["end_line"], data["end_column"]) == (
        "x",
        2,
        1,
        2,
        3,
    )
    assert (data["severity"], data["page"]) == ("error", f"docs/errors/{data['code']}.md")
