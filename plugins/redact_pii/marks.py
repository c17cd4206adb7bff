"""Find what is personal in a text and put marks in its place; linear in the text's length.

Found are e-mail addresses, IBANs (ISO 13616: the country's length, and mod 97 as in ISO 7064), payment card
numbers (ISO/IEC 7812: 12 to 19 digits with Luhn's check digit) and telephone numbers (E.164, and as they are
commonly written).  Not found: names, postal addresses, and numbers whose check digits are wrong.  Done again,
it changes nothing.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

_SPACES = "\u00a0\u2007\u2009\u202f "
_DASHES = "\u2010\u2011\u2012\u2013\\-"
_LOCAL = r"\pL\pN\pM.!#$%&'*+/=?^_`{|}~\-"
_LABEL = r"[\pL\pN\pM\-]+"

_PATTERNS: Final = {
    "email": rf"[{_LOCAL}]+[@\x{{ff20}}]{_LABEL}(?:[.\x{{3002}}\x{{ff0e}}]{_LABEL})+",
    "iban": r"(?i)[A-Z]{2}[0-9]{2}",
    "digits": rf"\p{{Nd}}+(?:[{_SPACES}.{_DASHES}]{{1,3}}\p{{Nd}}+)*",
    "phone": (
        rf"(?:\+|\b00)[{_SPACES}]?\(?\p{{Nd}}(?:[{_SPACES}().{_DASHES}/]{{0,3}}\p{{Nd}}){{6,14}}"
        rf"|\(?\b0\p{{Nd}}(?:[{_SPACES}().{_DASHES}/]{{0,3}}\p{{Nd}}){{7,12}}"
        rf"|\(?\b[2-9]\p{{Nd}}{{2}}\)?[{_SPACES}.{_DASHES}]{{1,2}}\p{{Nd}}{{3}}[{_SPACES}.{_DASHES}]\p{{Nd}}{{4}}\b"
    ),
}

_GROUPS: Final = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ DJ ES MD PK RO SA SE SK TN VG YE",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS: Final = {country: length for length, names in _GROUPS.items() for country in names.split()}

Span = tuple[int, int]


def redacted(text: str) -> str:
    """Return the text with marks in the place of what is personal."""
    for mark, find in _FINDERS:
        text = _marked(text, mark, find(text))
    return text


def _marked(text: str, mark: str, spans: Iterator[Span]) -> str:
    parts, end = [], 0
    for start, stop in spans:
        parts += [text[end:start], mark]
        end = stop
    return "".join([*parts, text[end:]])


@cache
def _pattern(name: str) -> Any:
    import re2  # type: ignore[import-untyped]  # when it is first needed: the command line loads every plugin

    return re2.compile(_PATTERNS[name])


def _emails(text: str) -> Iterator[Span]:
    for found in _pattern("email").finditer(text):
        yield found.span()


def _ibans(text: str) -> Iterator[Span]:
    end = 0
    for found in _pattern("iban").finditer(text):
        start = found.start()
        if start < end:
            continue
        length = _IBAN_LENGTHS.get(found.group()[:2].upper())
        stop = None if length is None else _account(text, start, length)
        if stop is not None:
            end = stop
            yield start, stop


def _account(text: str, start: int, length: int) -> int | None:
    """Return where the account number ends that starts here; None if its check digits are wrong."""
    taken, at, gap = "", start, 0
    while len(taken) < length and at < len(text) and gap < 2:
        letter = text[at]
        if letter.isascii() and letter.isalnum():
            taken, gap = taken + letter.upper(), 0
        elif letter.isspace() or letter in "-.\u2010\u2011\u2013":
            gap += 1
        else:
            return None
        at += 1
    if len(taken) < length:
        return None
    number = "".join(str(int(letter, 36)) for letter in taken[4:] + taken[:4])
    return at if int(number) % 97 == 1 else None


def _cards(text: str) -> Iterator[Span]:
    for found in _pattern("digits").finditer(text):
        groups = _groups(text, *found.span())
        first = 0
        while first < len(groups):
            last = _card_from(groups, first)
            if last is None:
                first += 1
            else:
                yield groups[first][0], groups[last][1]
                first = last + 1


def _groups(text: str, start: int, stop: int) -> list[tuple[int, int, list[int]]]:
    """Return the runs of digits: start, end, digits."""
    groups: list[tuple[int, int, list[int]]] = []
    for at in range(start, stop):
        if not text[at].isdecimal():
            continue
        if groups and groups[-1][1] == at:
            groups[-1][2].append(int(text[at]))
            groups[-1] = (groups[-1][0], at + 1, groups[-1][2])
        else:
            groups.append((at, at + 1, [int(text[at])]))
    return groups


def _card_from(groups: list[tuple[int, int, list[int]]], first: int) -> int | None:
    """Return the last group of the longest card number that starts with the group `first`."""
    digits: list[int] = []
    best = None
    for last in range(first, len(groups)):
        if len(digits) + len(groups[last][2]) > 19:
            break
        digits += groups[last][2]
        if len(digits) >= 12 and digits[0] and _luhn(digits):
            best = last
    return best


def _luhn(digits: list[int]) -> bool:
    doubled = [digit if place % 2 == 0 else digit * 2 for place, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _phones(text: str) -> Iterator[Span]:
    end = 0
    for found in _pattern("phone").finditer(text):
        start, stop = found.span()
        if start < end or (start > end and (text[start - 1].isalnum() or text[start - 1] == "_")):
            continue
        while stop < len(text) and text[stop].isdecimal():
            stop += 1
        end = stop
        yield start, stop


_FINDERS: Final[tuple[tuple[str, Callable[[str], Iterator[Span]]], ...]] = (
    ("[email]", _emails),
    ("[iban]", _ibans),
    ("[card]", _cards),
    ("[phone]", _phones),
)
