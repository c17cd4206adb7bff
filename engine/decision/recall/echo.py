"""What a written text says in any of the ways in which a tool would give it back.

A model that may not invent a value can write it into an argument and have a tool repeat it: in the query of
a URL, percent-encoded, between commas, in a JSON text within a JSON text, in base64.  So what was written
is read loosely: undone where it is encoded, and cut at every mark that may stand around a value.  A value
that is sought for as an echo is read in the same way.
"""

import binascii
import html
import re
from base64 import b64decode, urlsafe_b64decode
from typing import Final
from urllib.parse import unquote_plus

_UNDONE: Final = 2
"""How often percent-encoding is undone."""
_MARKS = re.compile(
    r"(?<![0-9]),|,(?![0-9])"  # `1,810` is one number
    r"|-(?!\w)|(?<!\w)-(?![0-9])"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|[^\w@.,$¢£¤¥€-]+"
)
_HUGE = re.compile(r"&#[0-9]{10,}")
"""No character has such a number, and a longer one is none that Python reads."""
_SHORTEST: Final = 8
_PACKED = re.compile(r"[A-Za-z0-9+/_-]{8,}")


def loosely(text: str) -> str:
    """Return a text undone and cut at its marks, with white space for each."""
    plain = html.unescape(_HUGE.sub(" ", text)) if "&" in text else text
    for _ in range(_UNDONE):
        if "%" in plain or "+" in plain:
            plain = unquote_plus(plain, errors="replace")
    return _MARKS.sub(" ", plain).casefold()


def unpacked(text: str) -> str:
    """Return the texts that stand in it in base64, read loosely, one after another."""
    found = [part for whole in _PACKED.findall(text) for part in dict.fromkeys((whole, *whole.split("/")))]
    return " ; ".join(filter(None, (_unpack(part) for part in found if len(part) >= _SHORTEST)))


def _unpack(said: str) -> str:
    decode = urlsafe_b64decode if "-" in said or "_" in said else b64decode
    try:
        plain = decode(said + "=" * (-len(said) % 4)).decode()
    except (binascii.Error, ValueError):  # it was none
        return ""
    return loosely(plain) if plain.isprintable() else ""
