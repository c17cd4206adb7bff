"""What the settings call secret, found in texts: by RE2 patterns, and by the names of fields.

Linear in the text: RE2 never backtracks, and a text with more than `MOST_FINDS` places is hidden as a whole.
A text is looked at as it is and with its escapes undone (`u0073` and `x73` after a backslash), again and
again, since a JSON text may stand inside another.  Other encodings, base64 among them, are not undone.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ringfence.engine.decision.events import MARK

MOST_FINDS: Final = 256
"""Places of one pattern in one text; each may cost a look at the whole rest of it."""

_LAYERS: Final = 24
"""How often the escapes of a text are undone; each time at least halves the backslashes of an honest one."""

_SHORT: Final = 100
_CLEAN_AT_MOST: Final = 4096
"""Texts that are remembered as holding nothing: so long, and so many."""

_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.S
)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\sA-Za-z0-9_\-.]+")


class Secrets:
    """The patterns and names of a deployment; false if there are none.

    Args:
        patterns: RE2, each searched for anywhere in a text.
        names: Of arguments and fields; case, `_`, `-` and spaces in them do not count.
    """

    def __init__(self, patterns: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        patterns, named = tuple(patterns), tuple(names)
        self._patterns = tuple(_compiled(pattern) for pattern in patterns)
        self.names = frozenset(map(folded, named))
        self._written = tuple(_compiled(_written(name), captures=True) for name in named)
        self._any = {False: _union(patterns), True: _union([*patterns, *map(_written, named)])}
        """One pattern for all, asked first, since most texts hold nothing; None: it cannot be had."""
        self._clean: dict[bool, set[str]] = {False: set(), True: set()}
        """Short texts in which nothing was found: the same names and words come with every call."""

    def __bool__(self) -> bool:
        return bool(self._patterns or self.names)

    def is_name(self, name: str) -> bool:
        """Say whether what stands under this name is secret."""
        return bool(self.names) and folded(name) in self.names

    def text(self, text: str, *, values: Sequence[str] = (), free: bool = True) -> str:
        """Return the text with what is secret in it hidden; the very same text if nothing is.

        Args:
            values: Whole values that are known to be secret.
            free: It is anybody's text, so that `name=value` and the known values are looked for in it, too.
        """
        values = values if free else ()
        clean = self._clean[free]
        if not values and text in clean:
            return text
        data, said = text.encode("utf-8", "backslashreplace"), None
        known = [one.encode("utf-8", "backslashreplace") for one in _possible(values, text)]
        for _ in range(_LAYERS):
            spans = list(self._spans(data, known, free))
            if spans:
                data = said = _without(data, spans)
            if b"\\" not in data:
                break
            plain = _unescaped(data.decode()).encode("utf-8", "backslashreplace")
            if plain == data:
                break
            data = plain
        else:  # fails closed: what is behind that many escapes was put there to be hidden
            return MARK
        if said is not None:
            return said.decode()
        if not values and len(text) <= _SHORT:
            if len(clean) >= _CLEAN_AT_MOST:
                clean.clear()
            clean.add(text)
        return text

    def _spans(self, data: bytes, known: Sequence[bytes], free: bool) -> Iterator[tuple[int, int]]:
        """Yield where something secret stands."""
        union = self._any[free]
        if union is None or union.search(data) is not None:
            for pattern in self._patterns:
                yield from _found(pattern, data)
            for pattern in self._written if free else ():
                yield from _found(pattern, data, groups=4)
        if free:
            for value in known:
                at = data.find(value)
                while at >= 0:
                    yield at, at + len(value)
                    at = data.find(value, at + len(value))


def _possible(values: Sequence[str], text: str) -> Iterable[str]:
    """Return those that may stand in the text, whose escapes are not undone yet: that makes it no longer."""
    if text.isascii() and "\\" not in text:
        return [value for value in values if value in text]
    return [value for value in values if len(value) <= len(text)]


def folded(name: str) -> str:
    """Return the name as names are compared."""
    return "".join(sign for sign in name.casefold() if sign not in "_-. \t")


def _compiled(pattern: str, *, captures: bool = False) -> Any:
    import re2  # type: ignore[import-untyped]  # when it is first needed: most deployments name no secrets

    options = re2.Options()
    options.log_errors = False
    options.never_capture = not captures
    return re2.compile(pattern, options)


def _union(patterns: Sequence[str]) -> Any:
    """Return one pattern that finds something where one of these does; None: it cannot be had."""
    if len(patterns) < 2:
        return None
    try:
        return _compiled("|".join(f"(?:{pattern})" for pattern in patterns))
    except Exception:  # fails closed: each pattern is asked alone; two have a group of one name, perhaps
        return None


def _written(name: str) -> str:
    """Return the pattern of a name and its value in a text; the value is one of four groups, or the mark.

    A value in quotes ends with them, one in brackets with the text, any other with its line: rather too much
    is hidden than too little.
    """
    spelt = r"[_\-. ]?".join(re.escape(part) for part in _PARTS.findall(name) or [name])
    return (
        rf"(?is)(?:\b|_){spelt}[\"']?\s*(?:[:=]|=>)\s*"
        r"(?:\[redacted\]|\"((?:[^\"\\]|\\.)*)|'((?:[^'\\]|\\.)*)|([\[{(].*)|([^\r\n]+))"
    )


def _found(pattern: Any, data: bytes, *, groups: int = 0) -> Iterator[tuple[int, int]]:
    # Bytes spare the binding its table of character offsets.
    for count, match in enumerate(pattern.finditer(data)):
        if count == MOST_FINDS:
            yield 0, len(data)
            return
        for group in range(1, groups + 1) if groups else (0,):
            start, end = match.span(group)
            if end > start and data[start:end] != _MARK:
                yield start, end


_MARK = MARK.encode()


def _without(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    """Return the bytes with each stretch that the spans cover together replaced by the mark."""
    parts, done = [], 0
    spans.sort()
    start, end = spans[0]
    for first, last in (*spans[1:], (len(data) + 1, len(data) + 1)):
        if first <= end:
            end = max(end, last)
            continue
        parts += [data[done:start], _MARK]
        done, start, end = end, first, last
    return b"".join([*parts, data[done:]])


def _unescaped(text: str) -> str:
    said = _ESCAPE.sub(_sign, text)
    # Two halves of one character come together.
    return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sign(match: "re.Match[str]") -> str:
    code = match[1] or match[2] or match[3] or match[4]
    if code is not None:
        number = int(code, 16)
        return chr(number) if number <= 0x10FFFF else MARK
    return _PLAIN.get(match[5], match[5])
