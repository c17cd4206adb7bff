"""Who is the same person: names that a reader would take for one another are one.

Quorums count people, and the requester may not answer.  Both would be void if another spelling of a name made
another person.  So names are compared by their face: width and style of letters, case, white space and what
is not drawn make no difference, and letters of other alphabets that look like Latin ones are those.
"""

import unicodedata
from typing import Final

NAME_AT_MOST: Final = 200
"""Characters of a name."""

_DRAWN_ALIKE: Final = str.maketrans(
    # Cyrillic, Greek and Armenian small letters, and a few Latin ones, that are drawn like plain Latin ones.
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u04cf\u0433\u051b\u051d\u0475"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5\u03c7\u03f2\u03f3"
    "\u0570\u0578\u057d\u0585\u0561\u0563\u0566"
    "\u0131\u0251\u0261\u0269",
    "aeopcyxijsdhlrqwvaeikvopuxcjhnuowqqiagi",
)


def face(name: str) -> str:
    """Return what a reader sees of a name: equal for names that are to be taken for one person's."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    drawn = "".join(c for c in plain if unicodedata.category(c) not in _NOT_DRAWN)
    return " ".join(drawn.translate(_DRAWN_ALIKE).split())


def same(one: str, other: str) -> bool:
    """Say whether two names are to be taken for one person's."""
    return face(one) == face(other)


_NOT_DRAWN: Final = frozenset({"Cf", "Cc", "Co", "Cn", "Cs", "Mn", "Me"})
"""Controls, formats, and marks: `dana` with an accent somewhere is no second Dana."""
