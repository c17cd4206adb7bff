"""Strangers' words in the text of a policy: quoted, commented or named, and never more than that."""

import re

from ringfence.dsl.scan import UNSAFE
from ringfence.engine.seams.escape import escaped

_COLUMNS = 100
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
_LONGEST_NAME = 60
NAME = re.compile(r"[a-z_][a-z0-9_]{0,79}")
"""Names that are taken over as they are."""


def quoted(text: str) -> str | None:
    """Return a text as the language writes it; None: it holds what no policy may."""
    written = "".join(_ESCAPES.get(character, character) for character in text)
    return None if UNSAFE.search(written) else f'"{written}"'


def comment(text: str, *, cut: int = _COLUMNS) -> str:
    """Return a comment of one line; what is invisible, or could end it, is written out.

    SECURITY: a comment ends with its line, so nothing that could end a line is left in it.
    """
    shown = escaped(" ".join(text[: 10 * cut].split()))
    shown = UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)
    return f"# {shown if len(shown) <= cut and len(text) <= 10 * cut else shown[: cut - 1] + '…'}"


def words_of(name: str) -> list[str]:
    """Return the words of a name: `sendMail`, `send-mail` and `send_mail` are `send`, `mail`."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name[:1000])
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


class Names:
    """Names that are given away, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """Return the name, or one like it that nobody has."""
        name, number = wanted, self._last.get(wanted, 1)
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        self._last[wanted] = number
        return name

    def reserve(self, names: "set[str]") -> None:
        """Give these away."""
        self._taken |= names


def name_like(text: str) -> str:
    """Return a name of the language that is like a text."""
    name = "_".join(words_of(text))[:_LONGEST_NAME].strip("_") or "tool"
    return name if name[0].isalpha() else f"_{name}"
