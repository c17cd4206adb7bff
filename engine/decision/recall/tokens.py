"""A text as lexemes: whole tokens, and the separators between them, in one spelling each.

A token ends at white space, quotes, brackets, or sentence punctuation that nothing but such a mark
follows; `- . _ @ / :` and everything else are inside.  A run of white space is one separator, every other
separator is a lexeme of its own.  So a value is a whole, token-delimited span of a text exactly if its
lexemes stand in the text's lexemes one after another.

One spelling each: NFC; hosts of URLs and domains of addresses in lower case, no `mailto:`, no default
port, an empty path as `/`, needless escapes undone (RFC 3986, 6.2).  Local parts and paths keep their
case.  Zero-width and bidirectional characters are inside a token like any letter, and look-alikes of other
scripts stay what they are, so neither ever matches plain text.
"""

import re
from decimal import Decimal
from math import isfinite
from unicodedata import normalize

from ringfence.dsl.canonical import LARGEST_INTEGER

_QUOTES = "\"'`´“”„‟‘’‚‛«»‹›＂＇"
_BRACKETS = "()[]{}<>（）［］｛｝＜＞「」『』【】〈〉《》〔〕⟨⟩"
_SENTENCE = ".,;:!?…。、，；：！？"
_DELIMITERS = frozenset(_QUOTES + _BRACKETS)
_SEPARATORS = frozenset(" " + _QUOTES + _BRACKETS + _SENTENCE)
_ENDS = re.escape(_QUOTES + _BRACKETS)
# SECURITY: the apostrophe of `o'brien@…` is inside: `brien@…` is another address.  The group is not
# possessive (nothing follows it): before 3.11.5, Python keeps what a failed turn of such a group has read.
_RUNS = re.compile(
    rf"\s++|[^\s{_ENDS}]++(?:(?<=\w)['’](?=\w[^\s{_ENDS}@]{{0,63}}@)[^\s{_ENDS}]++)*|[{_ENDS}]"
)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"http": ":80", "https": ":443"}

_CURRENCY = "$¢£¤¥֏؋৳฿₡₦₩₪₫€₱₴₸₹₺₽"
_NUMBER = re.compile(
    rf"(-?)(?:[A-Z]{{0,2}}[{_CURRENCY}])?(0|[1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+|[1-9][0-9]*)(\.[0-9]+)?[{_CURRENCY}]?"
)
_LONGEST_NUMBER = 40

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")


def lexemes(text: str) -> list[str]:
    """Return the text's tokens and separators, in order, without white space at either end."""
    found: list[str] = []
    for run in _RUNS.findall(text if text.isascii() else normalize("NFC", text)):
        first = run[0]
        if first in _DELIMITERS:
            found.append(run)
        elif first.isspace():
            found.append(" ")
        else:
            token = run.rstrip(_SENTENCE)
            if token:
                found.append(_spelling(token))
            found.extend(run[len(token) :])
    if found and found[-1] == " ":
        found.pop()
    return found[1:] if found and found[0] == " " else found


def is_token(lexeme: str) -> bool:
    """Say whether a lexeme is a token, not a separator."""
    return lexeme not in _SEPARATORS


def spellings(value: str) -> list[list[str]]:
    """Return the lexemes that a value may be written as; none if it can match nothing.

    An account number (IBAN, ISO 13616) is written whole or in groups of four.
    """
    if not value.isascii() and value not in (normalize("NFC", value), normalize("NFD", value)):
        return []  # SECURITY: a look-alike such as the Kelvin sign is made plain by NFC, in sources alone
    written = lexemes(value)
    if not any(map(is_token, written)):
        return []
    account = _account(written)
    if account is None:
        return [written]
    spaced = " ".join(account[start : start + 4] for start in range(0, len(account), 4))
    return [[account], lexemes(spaced)]


def _account(written: list[str]) -> str | None:
    """Return the account number that these lexemes are, without its spaces; None if they are none."""
    groups = written[::2]
    if written[1::2] != [" "] * (len(groups) - 1):
        return None
    if any(len(group) != 4 for group in groups[:-1]) or (len(groups) > 1 and len(groups[-1]) > 4):
        return None
    whole = "".join(groups)
    return whole if _IBAN.fullmatch(whole) else None


def number_in(token: str) -> str | None:
    """Return the number that a token says, as `number_key` writes it: `$1,810.00` is `1810`."""
    if len(token) > _LONGEST_NUMBER:
        return None
    found = _NUMBER.fullmatch(token)
    if found is None:
        return None
    sign, whole, fraction = found.groups(default="")
    fraction = fraction.rstrip("0").rstrip(".")
    plain = whole.replace(",", "") + fraction
    return plain if plain == "0" else sign + plain


def number_key(value: int | float) -> str | None:
    """Return the one spelling of a number; None for what is none, or beyond what JSON can say exactly."""
    if isinstance(value, int):
        return str(value) if -LARGEST_INTEGER <= value <= LARGEST_INTEGER else None
    if not isfinite(value):
        return None
    plain = format(Decimal(repr(value)), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def _spelling(token: str) -> str:
    """Return the one spelling of a token."""
    if "@" not in token and ":" not in token:
        return token
    if token[:7].lower() == "mailto:":
        token = token[7:]
    found = _URL.fullmatch(token)
    if found is not None:
        return _url(*found.groups())
    local, at, domain = token.rpartition("@")
    return f"{local}@{domain.lower()}" if local and at else token


def _url(scheme: str, authority: str, rest: str) -> str:
    scheme = scheme.lower()
    user, at, host = authority.rpartition("@")
    host = host.lower()
    if scheme in _PORTS:
        host = host.removesuffix(_PORTS[scheme]).removesuffix(":")
        if not rest.startswith("/"):
            rest = "/" + rest
    return f"{scheme}://{user}{at}{host}{_ESCAPE.sub(_escape, rest)}"


def _escape(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if character in _UNRESERVED else found[0].upper()
