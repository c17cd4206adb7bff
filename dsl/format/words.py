"""The words of a file, each with the comments around it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ringfence.dsl.scan import Lexeme
from ringfence.dsl.source import Span

_COMMENT = re.compile(r"#[^\n]*")
_MEASURE = re.compile(r"([0-9]+)\s*([A-Za-z]+)")


@dataclass(slots=True)
class Comment:
    """A comment on a line of its own."""

    text: str
    blank: bool
    """A blank line stands before it."""


@dataclass(slots=True)
class Word:
    """One word, or the end of the file (an empty text)."""

    text: str
    start: int
    end: int
    blank: bool = False
    """A blank line stands before it, behind its comments."""
    comments: list[Comment] = field(default_factory=list)
    """Those on lines of their own before it."""
    trailing: str = ""
    """The comment behind it on its line."""


def words_of(text: str, file: Span, lexemes: Sequence[Lexeme]) -> list[Word]:
    """Return the words of a file and its end, with every comment."""
    words: list[Word] = []
    before = file.start
    for lexeme in lexemes:
        words.append(Word(_spelt(lexeme), lexeme.start, lexeme.end))
        _between(text[before : lexeme.start], words)
        before = lexeme.end
    words.append(Word("", file.end, file.end))
    _between(text[before : file.end], words)
    return words


def _spelt(lexeme: Lexeme) -> str:
    """Return the word as written, but for the space between a number and its unit."""
    if lexeme.kind in ("DURATION", "SIZE"):
        return _MEASURE.sub(r"\1 \2", lexeme.text)
    return lexeme.text


def _between(gap: str, words: list[Word]) -> None:
    """Attach what stands before the last of the words: comments and blank lines."""
    word = words[-1]
    at = 0
    for found in _COMMENT.finditer(gap):
        breaks = gap.count("\n", at, found.start())
        comment = found[0].rstrip()
        if at == 0 and not breaks and len(words) > 1:
            words[-2].trailing = comment
        else:
            word.comments.append(Comment(comment, breaks > 1))
        at = found.end()
    word.blank = gap.count("\n", at) > 1
