"""Text from a log, made fit for a terminal.

A model or a tool may have written it, so an attacker may have: escape sequences that rewrite the screen,
line breaks that forge a line of the report, bidirectional marks that turn a sentence round, and
characters nobody sees.  All of them are shown as escapes; what people can read stays as it is.
"""

import json
import unicodedata

from ringfence.dsl.plan import Json

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""The general categories that are escaped: controls, formats (bidirectional marks and zero-width
characters among them), surrogates, private and unassigned characters, line and paragraph separators."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def safe(text: object, *, limit: int | None = None) -> str:
    """Return `text` with every character that is not plainly visible escaped; at most `limit` long."""
    # SECURITY: every string that came out of a log or a ticket passes here on its way to a terminal.
    words = str(text)
    dropped = len(words) - limit if limit is not None and len(words) > limit else 0
    shown = words[:limit] if dropped else words
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(_visible(character) for character in shown)
    return f"{shown}… ({dropped} more characters)" if dropped else shown


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def value(thing: Json, *, limit: int = 200) -> str:
    """Return a JSON value on one line, fit for a terminal."""
    return safe(json.dumps(thing, ensure_ascii=False, default=str), limit=limit)


def document(thing: Json) -> str:
    """Return a JSON document for programs: ASCII only, so it is fit for a terminal as well."""
    return json.dumps(thing, indent=2, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")
