"""A tool as its server defines it: one text that is pinned, lines for people, and what is odd in it.

A definition is written by whoever runs the server, and the model obeys it.  Everything in it counts: a
sentence hidden in the description of a parameter steers as well as one in the description of the tool.
"""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import unified_diff
from hashlib import sha256
from itertools import islice

from ringfence.dsl.plan import Json
from ringfence.engine.seams.escape import escaped

Definition = dict[str, Json]
"""A tool as it came over the wire: name, title, description, schemas, annotations, icons, _meta."""

MOST_BYTES = 65_536
"""A longer definition, as JSON, is not pinned: nobody reads it."""
MOST_DEPTH = 64
"""Nor is one that is nested deeper."""
LONG_TEXT = 8_192
"""A text of more characters is odd: it takes a person to pin it."""

_MOST_NAMED = 10
_LINES_COMPARED = 3_000
_CHUNK = 120


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Who a definition came from: where the server is reached, and what it tells every model."""

    where: str
    """The command line or the URL."""
    instructions: str | None = None


class UnfitError(ValueError):
    """A definition that cannot be pinned: no JSON, too deep, or too long to be read."""


def definition_digest(server: str, identity: ServerIdentity, definition: Definition) -> str:
    """Return the digest that a person approves; it covers the definition and the server it came from.

    Raises:
        UnfitError: The definition cannot be pinned.
    """
    whole: Json = {"name": server, "server": asdict(identity), "tool": definition}
    return "sha256:" + sha256(_text(whole).encode("ascii")).hexdigest()


def _text(whole: Json) -> str:
    # Not RFC 8785: schemas in use hold integers beyond 2^53, which that form refuses.
    require_shallow(whole, MOST_DEPTH + 1)
    try:
        text = json.dumps(whole, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        raise UnfitError(f"it is no JSON: {error}") from error
    if len(text) > MOST_BYTES:
        raise UnfitError(f"it is {len(text):,} bytes long, and at most {MOST_BYTES:,} are pinned")
    return text


def require_shallow(value: Json, levels: int) -> None:
    """Raise UnfitError if a value has more levels, or names that are no text."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [part for outer in layer for part in _parts(outer)]
        if not layer:
            return
    raise UnfitError("it is nested too deep")


def _parts(value: Json) -> list[Json]:
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise UnfitError("it is no JSON: a name is no text")
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def oddities(definition: Definition) -> tuple[str, ...]:
    """Say why a person must look at a definition before the first model does; nothing: it is plain.

    What is said is fit for a terminal.
    """
    try:
        _text(definition)
    except UnfitError as error:
        return (escaped(str(error)),)
    found = (escaped(f"{where} {what}") for where, text in _texts(definition, "") for what in _odd(text))
    return tuple(islice(found, _MOST_NAMED))


def _texts(value: Json, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text, the names in a record included, with where it stands."""
    if isinstance(value, str):
        yield where or "it", value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield f"a name in {where or 'it'}", name
            yield from _texts(part, f"{where}.{name}"[-80:].lstrip("."))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part, where)


def _odd(text: str) -> Iterator[str]:
    if len(text) > LONG_TEXT:
        yield f"is {len(text):,} characters long"
    if text.isascii() and text.isprintable():
        return
    unseen = dict.fromkeys(
        f"U+{ord(character):04X}"
        for place, character in enumerate(text)
        if not _is_seen(character) and not _is_of_an_emoji(text, place)
    )
    if unseen:
        yield f"holds what nobody sees: {', '.join(islice(unseen, _MOST_NAMED))}"


_LAID_OUT = frozenset("\n\r\t \u00a0\u202f\u3000")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS = frozenset(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


def _is_seen(character: str) -> bool:
    """Say whether a character is drawn, or only parts words and lines.

    SECURITY: tag characters (U+E0000 and on) spell whole sentences that only a model reads, bidirectional
    controls show them in another order, and runs of variation selectors carry bytes.
    """
    if character in _LAID_OUT:
        return True
    if character in _BLANK or character in _SELECTORS:
        return False
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _is_of_an_emoji(text: str, place: int) -> bool:
    """Say whether this is the one selector, or the joiner, that an emoji is written with."""
    before = text[place - 1] if place else ""
    if text[place] == "\ufe0f":
        return bool(before) and (
            before in "#*0123456789" or unicodedata.category(before) in ("So", "Sm", "Sk")
        )
    after = text[place + 1 : place + 2]
    return (
        text[place] == "\u200d"
        and bool(before and after)
        and (before == "\ufe0f" or unicodedata.category(before) in ("So", "Sk"))
        and unicodedata.category(after) in ("So", "Sm")
    )


def changed_lines(before: Json, after: Json) -> list[str]:
    """Return a diff of two definitions, line by line; nothing of what differs is left out.

    A line may hold what steers a terminal: escape it.
    """
    old, new = list(_lines(before, "")), list(_lines(after, ""))
    if (
        max(len(old), len(new)) > _LINES_COMPARED
    ):  # comparing takes the square of it, and the text is a stranger's
        return [*(f"-{line}" for line in old), *(f"+{line}" for line in new)]
    return list(islice(unified_diff(old, new, lineterm="", n=2), 2, None))


def _lines(value: Json, indent: str) -> Iterator[str]:
    pairs = value.items() if isinstance(value, dict) else [("-", part) for part in value]
    for name, part in sorted(pairs) if isinstance(value, dict) else pairs:
        label = name if name.isidentifier() or name == "-" else json.dumps(name, ensure_ascii=False)
        if isinstance(part, dict | list) and part:
            yield f"{indent}{label}:"
            yield from _lines(part, indent + "  ")
        elif isinstance(part, str) and (len(part) > _CHUNK or "\n" in part):
            yield f"{indent}{label}:"
            for piece in _pieces(part):
                yield f"{indent}  {json.dumps(piece, ensure_ascii=False)}"
        else:
            yield f"{indent}{label}: {json.dumps(part, ensure_ascii=False)}"


def _pieces(text: str) -> Iterator[str]:
    """Cut a text after each end of a line, and a long line after each `_CHUNK` characters."""
    *whole, last = text.split("\n")
    for line in [*(f"{line}\n" for line in whole), last]:
        for start in range(0, len(line), _CHUNK):
            yield line[start : start + _CHUNK]
