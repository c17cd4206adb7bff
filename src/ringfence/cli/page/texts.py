"""Texts of a log, made fit to be read: bounded, and with everything that has no shape written out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from ringfence.dsl.plan import Json
from ringfence.engine.seams.escape import escaped

LINE = 300
"""Characters of what stands on one line."""
BLOCK = 6_000
"""Characters of a text of several lines."""
WHOLE = 1_500_000
"""Characters of all texts of a page together; what comes after is cut to `SPENT` characters each."""
SPENT = 120

_DEEPEST = 24
"""Nested lists and records; deeper ones are said to be there."""
_WIDEST = 400
"""Members of one list or record."""
_WIDE = 88
"""Characters of a line of JSON."""
_FOLDED_LINES = 12
_FOLDED_CHARACTERS = 700


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the log: escaped, and cut if it was too long."""

    shown: str
    missing: int = 0
    """How many characters are not shown."""

    @property
    def folded(self) -> bool:
        """True if it is long enough to be shown when somebody asks for it."""
        return len(self.shown) > _FOLDED_CHARACTERS or self.shown.count("\n") >= _FOLDED_LINES

    @property
    def first(self) -> str:
        """Its beginning, on one line."""
        line = " ".join(self.shown[:240].split())
        return f"{line[:110]}…" if len(line) > 110 else line


def visible(text: str) -> str:
    """Return a text of several lines: line breaks and tabs stay, all else without a shape is written out."""
    # SECURITY: the last gate to the page; a value that turns the writing round would be shown as another.
    if text.isascii() and text.isprintable():
        return text
    return "\n".join("\t".join(map(escaped, line.split("\t"))) for line in text.split("\n"))


class Texts:
    """Makes the texts of one page and counts what was cut."""

    def __init__(self, *, whole: int = WHOLE) -> None:
        self._left = whole
        self.cut = 0
        """How many texts are not shown to their end."""

    def line(self, value: Json, limit: int = LINE) -> str:
        """Return a value on one line; what is cut is said."""
        text = value if isinstance(value, str) else _json(value)
        shown = escaped(text[:limit])
        if len(text) <= limit:
            return shown
        self.cut += 1
        return f"{shown}… [{len(text) - limit} more characters]"

    def block(self, value: Json, limit: int = BLOCK) -> Text:
        """Return a value on as many lines as it has, a record or a list as JSON."""
        text = value if isinstance(value, str) else _laid_out(_pruned(value, _DEEPEST))
        limit = min(limit, max(self._left, SPENT))
        shown = text[:limit]
        self._left -= len(shown)
        missing = len(text) - len(shown)
        self.cut += missing > 0
        return Text(visible(shown), missing)

    def given(self, arguments: Json) -> str:
        """Return arguments as a call would write them, on one line."""
        if not isinstance(arguments, Mapping):
            return self.line(arguments, 120)
        said = [
            f"{escaped(str(name)[:60])}={escaped(_json(value)[:80])}"
            for name, value in islice(arguments.items(), 8)
        ]
        line = ", ".join(said)
        return f"{line[:170]}…" if len(line) > 170 else line


def _json(value: Json) -> str:
    return _one_line(_pruned(value, _DEEPEST))


def _one_line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)


def _laid_out(value: Json, inset: str = "") -> str:
    """Return JSON with a line for each member of what does not fit on one line."""
    line = _one_line(value)
    if len(inset) + len(line) <= _WIDE or not isinstance(value, Mapping | list) or not value:
        return line
    below = inset + "  "
    if isinstance(value, Mapping):
        members = [f"{_one_line(name)}: {_laid_out(inner, below)}" for name, inner in value.items()]
    else:
        members = [_laid_out(inner, below) for inner in value]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opening}\n{below}" + f",\n{below}".join(members) + f"\n{inset}{closing}"


def _pruned(value: Json, depth: int) -> Json:
    """Return a value without what is nested too deep or has too many members, and say what was there."""
    if isinstance(value, Mapping):
        if depth == 0:
            return f"[cut: a record of {len(value)}, nested deeper than {_DEEPEST}]"
        few = {str(name): _pruned(inner, depth - 1) for name, inner in islice(value.items(), _WIDEST)}
        if len(value) > _WIDEST:
            few["[cut]"] = f"{len(value) - _WIDEST} more members"
        return few
    if isinstance(value, list | tuple):
        if depth == 0:
            return f"[cut: a list of {len(value)}, nested deeper than {_DEEPEST}]"
        some = [_pruned(inner, depth - 1) for inner in value[:_WIDEST]]
        return [*some, f"[cut: {len(value) - _WIDEST} more]"] if len(value) > _WIDEST else some
    return value
