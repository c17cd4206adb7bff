"""Text for people that cannot lie about itself.

A terminal obeys control characters, and bidirectional ones show an address backwards ("Trojan
Source", CVE-2021-42574).  A person who approves must see what will be sent, so whatever has no shape
of its own is written out as `\\uXXXX`.
"""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line says what it has to say without loading the language
    from ringfence.dsl.plan import Json

# Controls, formats (bidirectional, zero-width), surrogates, private use, unassigned, line and
# paragraph separators, and spaces that look like the plain one or like nothing.
_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})

# Letters, symbols and marks by their category, yet drawn as nothing or as a blank (Unicode's
# Default_Ignorable_Code_Point, and the braille blank).
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code)
    for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(first, last + 1)
)


def escaped(text: str) -> str:
    """Return `text` on one line, with everything invisible or directional written as `\\uXXXX`."""
    # SECURITY: a question shown with raw control characters can be made to show another question.
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character == " " or (unicodedata.category(character) not in _SHAPELESS and character not in _BLANK)
        else _code(character)
        for character in text
    )


def escaped_json(value: "Json", *, limit: int | None = None) -> str:
    """Return `value` as JSON on one line, escaped; beyond `limit` characters it says how much is missing."""
    import json  # what only speaks texts goes without

    text = escaped(json.dumps(value, ensure_ascii=False, default=repr))
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]} [cut: {len(text) - limit} of {len(text)} characters are not shown]"


def _code(character: str) -> str:
    point = ord(character)
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
