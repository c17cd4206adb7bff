"""One layout for every policy: the same words and comments, on lines as the specification writes them.

The words of a text are never changed, only the white space between them, so that the meaning stays.

- One declaration, clause or step a line, clauses two columns in; the effect of a rule, an order or a
  guarantee stands under its name.  At most one blank line is kept, and none at the edges of a block.
- A statement that does not fit in 110 columns is broken before its `when`, `unless` and `because` and the
  like, else before `and` and `or`, else after commas.
- A comment stays where it stands: behind the word before it, or on a line of its own.
"""

from dataclasses import dataclass

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.format.breaks import Breaks
from ringfence.dsl.format.layout import Layout
from ringfence.dsl.format.nodes import alike
from ringfence.dsl.format.words import Word, words_of
from ringfence.dsl.parse import lexemes, parse
from ringfence.dsl.source import Source
from ringfence.dsl.syntax import Document

UNREADABLE = frozenset({"E001", "E002", "E003"})
"""After these some statement is not in the document: its words would be lost."""


@dataclass(frozen=True, slots=True)
class Formatted:
    """The text in the one layout, or why there is none."""

    text: str | None
    diagnostics: tuple[Diagnostic, ...]
    """What could not be read; empty if there is a text."""


def format_text(text: str, name: str = "policy.fence") -> Formatted:
    """Return a policy file's text in the one layout; one that cannot be read whole is refused."""
    document, found = parse(Source(name, text))
    unread = tuple(report for report in found if report.code in UNREADABLE)
    if unread:
        return Formatted(None, unread)
    words = _words(document)
    laid = Layout(words, Breaks(words)).text(document)
    again, _ = parse(Source(name, laid))
    if not (_told(words) == _told(_words(again)) and alike(document.declarations, again.declarations)):
        raise RuntimeError(f"the new layout of {name} says something else: this is a fault of the formatter")
    return Formatted(laid, ())


def _words(document: Document) -> list[Word]:
    return words_of(document.source.text, document.file, lexemes(document.source, document.file))


def _told(words: list[Word]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return every word and every comment at its place."""
    return [(word.text, word.trailing, tuple(comment.text for comment in word.comments)) for word in words]
