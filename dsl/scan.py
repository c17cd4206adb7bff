"""Text to lexemes.  What is no lexeme becomes one of kind ERROR, and a report.

Keywords are not told from names here: whether `rate` is a keyword depends on what the parser accepts
where it stands.  The patterns come from the grammar; the words around them (white space, comments,
what can go wrong) are here.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ringfence.dsl.diagnostic import Diagnostic
from ringfence.dsl.source import Source, Span
from ringfence.dsl.syntax import Constant, Count, Duration, Name, Pattern, Size, Text

LARGEST = 2**53 - 1  # the largest whole number that JSON carries everywhere (RFC 8785)
LONGEST_NS = 2**63 - 1  # 292 years: what a store's integer column holds

# SECURITY: characters that make a reviewer see another text than the parser does: controls, a carriage
# return alone, line separators, bidirectional controls, and everything invisible but the two joiners
# that Indic scripts and emoji need.  They are refused wherever they stand, also in comments and texts.
UNSAFE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    r"\ufff0-\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff\ud800-\udfff]|\r(?!\n)"
)
_NS = {"ms": 10**6, "second": 10**9, "minute": 60 * 10**9, "hour": 3600 * 10**9, "day": 86400 * 10**9}
_BYTES = {"byte": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
UNITS = (
    "ms",
    "second",
    "seconds",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "KB",
    "MB",
    "GB",
    "bytes",
)
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_INSTEAD = {
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=`",
    "'": "texts stand in double quotes",
    "`": "texts stand in double quotes",
    ";": "clauses need nothing between them",
    "-": 'names are of `a` to `z`, digits and `_`; another name is bound: `tool my_tool is "my-tool"`',
    "/": "comments begin with `#`; a pattern ends on the line it begins on",
    "“": "texts stand in straight double quotes",
    "”": "texts stand in straight double quotes",
}


class _Refused(Exception):
    """A lexeme that cannot be used: what is wrong, where in it, and how to mend it."""

    def __init__(self, code: str, message: str, start: int, end: int, help: str = "") -> None:
        self.code, self.message, self.start, self.end, self.help = code, message, start, end, help


@dataclass(slots=True)
class Lexeme:
    """One word of the text; `kind` is a terminal of the grammar, WORD or ERROR; `value` its syntax node."""

    kind: str
    text: str
    start: int
    end: int
    value: object = None

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)


class Scanner:
    """Cuts texts into lexemes; made once from the terminals of the grammar."""

    def __init__(self, patterns: Mapping[str, str], marks: Mapping[str, str]) -> None:
        """Take the pattern of each terminal in the order they are tried, and the marks (`{`, `==`)."""
        valued = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in patterns.items())
        longest_first = sorted(marks, key=len, reverse=True)
        self._marks = dict(marks)
        self._lexeme = re.compile(
            # possessive, so that no text makes it backtrack
            rf"(?:[ \t\r\n]++|\#[^\n]*+)*+(?:(?P<WORD>[^\W\d]\w*)|{valued}"
            rf"|(?P<MARK>{'|'.join(map(re.escape, longest_first))})|(?P<END>\Z)"
            r"""|(?P<OPEN>"[^\r\n]*)|(?P<BAD>'[^'\r\n{}]*'?|“[^”\r\n]*”?|.[^\s\w"\#(){}\[\],:.]*))""",
            re.DOTALL,
        )

    def scan(self, source: Source, file: Span) -> tuple[list[Lexeme], list[Diagnostic]]:
        """Return all lexemes of one file, and a report for each that is none."""
        lexemes: list[Lexeme] = []
        reports: list[Diagnostic] = []
        text, match, marks, add = source.text, self._lexeme.match, self._marks, lexemes.append
        position, end = file.start, file.end
        if text.startswith("\ufeff", position, end):  # a byte order mark costs its report, no statement
            position += 1
        while True:
            found = match(text, position, end)
            assert found is not None and found.lastgroup is not None  # BAD takes any character
            kind = found.lastgroup
            start, position = found.span(kind)
            if kind == "END":
                break
            word = found[kind]
            lexeme = Lexeme(kind, word, start, position)
            add(lexeme)
            if kind == "MARK":
                lexeme.kind = marks[word]
                lexeme.value = Name(word, lexeme.span)
                continue
            try:
                lexeme.value = _value(kind, word, start, position)
            except _Refused as refused:
                lexeme.kind = "ERROR"
                span = Span(refused.start, refused.end)
                reports.append(Diagnostic(refused.code, refused.message, span, source, help=refused.help))
        return lexemes, _one_a_line(source, reports) + _unsafe(source, file, lexemes)


def _value(kind: str, word: str, start: int, end: int) -> object:
    """Return the syntax node of one lexeme, or raise what is wrong with it."""
    span = Span(start, end)
    match kind:
        case "WORD":
            if not word.isascii():
                at = next(i for i, character in enumerate(word) if not character.isascii())
                raise _Refused("E001", _not_of_the_language(word[at]), start + at, start + at + 1)
            return Name(word, span)
        case "STRING":
            return Text(_unescaped(word, start), span)
        case "REGEX":
            return Pattern(word[1:-1].replace("\\/", "/"), span)
        case "INT":
            return Count(_whole(word, span), span)
        case "SIGNED":
            return Constant(_whole(word, span), span)
        case "NUMBER":
            _whole(word.partition(".")[0], span)
            return Constant(float(word), span)
        case "DURATION":
            return Duration(_measure(word, _NS, span, LONGEST_NS), span)
        case "SIZE":
            return Size(_measure(word, _BYTES, span, LARGEST), span)
        case "HOUR_MINUTE":
            return Text(word, span)
        case "OPEN":
            raise _Refused(
                "E001", "this text has no closing quote", start, end, "texts end on the line they begin on"
            )
        case _:
            broken = UNSAFE.search(word)
            if broken is not None:
                at = start + broken.start()
                raise _Refused("E001", _does_not_belong(broken[0]), at, at + 1)
            help = _INSTEAD.get(word[0], "")
            message = (
                _not_of_the_language(word) if len(word) == 1 else f"`{word}` is not a word of the language"
            )
            raise _Refused("E001", message, start, end, help)


def _whole(digits: str, span: Span) -> int:
    number = int(digits) if len(digits) < 20 else LARGEST + 1
    if abs(number) > LARGEST:
        raise _Refused(
            "E001", "this number is too large", span.start, span.end, f"numbers go up to {LARGEST}"
        )
    return number


def _measure(word: str, units: Mapping[str, int], span: Span, largest: int) -> int:
    digits = re.match(r"[0-9]+", word)
    assert digits is not None
    unit = word[digits.end() :].strip()
    amount = _whole(digits[0], span) * units[unit if unit in units else unit.removesuffix("s")]
    if amount > largest:
        raise _Refused("E001", "this amount is too large", span.start, span.end)
    return amount


def _unescaped(word: str, start: int) -> str:
    inner = word[1:-1]
    if "\\" not in inner:
        return inner
    for escape in _ESCAPE.finditer(inner):
        if escape[1] not in _ESCAPES:
            at = start + 1 + escape.start()
            help = 'a text knows `\\"`, `\\\\`, `\\n` and `\\t`'
            raise _Refused("E001", f"`{escape[0]}` is not an escape", at, at + 2, help)
    return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], inner)


def _name(character: str) -> str:
    return unicodedata.name(character, "")


def _not_of_the_language(character: str) -> str:
    if character.isascii():
        return f"`{character}` is not a character of the language"
    return f"`{character}` (U+{ord(character):04X} {_name(character)}) is not a character of the language"


def _does_not_belong(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Source.read hands on a byte that is not UTF-8
        return f"the byte 0x{code - 0xDC00:02X} is not UTF-8"
    return f"the invisible character {f'U+{code:04X} {_name(character)}'.strip()} does not belong in a policy"


def _one_a_line(source: Source, reports: list[Diagnostic]) -> list[Diagnostic]:
    """Keep the first report of each line: what follows a broken quote is broken because of it."""
    first: dict[int, Diagnostic] = {}
    for report in reports:
        first.setdefault(source.place(report.span).line, report)
    return list(first.values())


def _unsafe(source: Source, file: Span, lexemes: list[Lexeme]) -> list[Diagnostic]:
    """Report unsafe characters in texts and comments, the first of each line."""
    if UNSAFE.search(source.text, file.start, file.end) is None:
        return []
    reported = deque(lexeme.span for lexeme in lexemes if lexeme.kind == "ERROR")
    reports: list[Diagnostic] = []
    for found in UNSAFE.finditer(source.text, file.start, file.end):
        while reported and reported[0].end <= found.start():
            reported.popleft()
        if reported and reported[0].start <= found.start():
            continue
        span = Span(found.start(), found.start() + 1)
        help = "save the file as UTF-8 without a byte order mark" if found[0] == "\ufeff" else ""
        reports.append(Diagnostic("E001", _does_not_belong(found[0]), span, source, help=help))
    return _one_a_line(source, reports)
