"""How a report looks to people: what, where, why, how; and to machines: JSON."""

import unicodedata
from collections.abc import Iterable

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.source import Source, Span

_TAB = 4
_WIDEST = 160  # of a drawn line; what is beyond stands in the file


def drawn(diagnostic: Diagnostic) -> str:
    """Return one report: the message, the place, the line with the span underlined, and the help."""
    kind = "error" if diagnostic.is_error else "warning"
    first = f"{kind}[{diagnostic.code}]: {diagnostic.message}"
    notes = (f"help: {diagnostic.help}",) if diagnostic.help else ()
    return drawing(first, diagnostic.source, diagnostic.span, diagnostic.label, notes)


def drawing(first: str, source: Source, span: Span, label: str = "", notes: Iterable[str] = ()) -> str:
    """Return what stands at a place: a first line, the place, the line underlined, and notes below it."""
    end = source.file(span).end
    span = Span(min(span.start, end), min(max(span.end, span.start), end))
    place = source.place(span)
    line = source.line(span)
    before = _visible(line[: place.column - 1])
    start = _width(before)
    marked = _visible(line[place.column - 1 : place.column - 1 + span.end - span.start], start)
    rest = _visible(line[place.column - 1 + span.end - span.start :], start + _width(marked))
    # a span over several lines is underlined to the end of its first one
    carets = "^" * max(1, _width(marked))
    shown = before + marked + rest
    if start > _WIDEST:
        cut = before[-_WIDEST // 2 :]
        shown, start = "…" + cut + marked + rest, 1 + _width(cut)
    if len(shown) > 2 * _WIDEST:
        shown = shown[: 2 * _WIDEST] + "…"
        carets = carets[: max(1, _width(shown) - start)]
    number = str(place.line)
    margin = " " * len(number)
    rows = [
        _visible(first),
        f"{margin}--> {_visible(place.file)}:{place.line}:{place.column}",
        f"{margin} |",
        f"{number} | {shown}".rstrip(),
        f"{margin} | {' ' * start}{carets} {_visible(label)}".rstrip(),
    ]
    rows += [f"{margin} = {_visible(note)}" for note in notes]
    return "\n".join(rows)


def ordered(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the reports sorted by file and place."""
    return sorted(
        diagnostics, key=lambda report: (report.source.name, report.span, report.code, report.message)
    )


def _visible(text: str, column: int = 0) -> str:
    """Return text as it may go to a terminal: tabs as spaces, controls and invisible characters spelt out."""
    parts: list[str] = []
    for character in text:
        if character == "\t":
            shown = " " * (_TAB - column % _TAB)
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown = f"\\u{{{ord(character):x}}}"
        else:
            shown = character
        parts.append(shown)
        column += _width(shown)
    return "".join(parts)


def _width(text: str) -> int:
    """Return how many cells of a terminal a visible text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
