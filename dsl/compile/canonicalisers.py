"""From a declared type to the closure that gives the one canonical value, or refuses.

Strict: nothing is coerced.  `"250"` is no integer and True is no number; 5.0 is the integer 5, because
JSON knows one kind of number (RFC 8785) and a model's 5.0 and 5 must not be two calls.
"""

from collections.abc import Callable
from datetime import date as Date
from math import isfinite
from typing import Any

from ringfence.dsl.compile import addresses
from ringfence.dsl.plan import Canonicaliser, Json, UnfitError
from ringfence.dsl.types import DECLARABLE, LARGEST, Type, size_text


def text(value: Json) -> str:
    """Return a text that UTF-8 can carry, unchanged."""
    if type(value) is not str:
        raise UnfitError("expected a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnfitError("a text has no lone surrogates") from error
    return value


def line(value: Json) -> str:
    """Return a text without line breaks, of Unicode's kinds too."""
    one = text(value)
    if one and one.splitlines() != [one]:
        raise UnfitError("expected a single line")
    return one


def integer(value: Json) -> int:
    """Return an integer within 2^53-1; an integral float is one."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise UnfitError("expected an integer")
    if not -LARGEST <= value <= LARGEST:
        raise UnfitError("an integer is within 2^53-1")
    return value


def number(value: Json) -> int | float:
    """Return a finite number; an integral one as an int, which is how canonical JSON writes it."""
    if type(value) is int:
        return integer(value)
    if type(value) is not float or not isfinite(value):
        raise UnfitError("expected a number")
    return integer(value) if value.is_integer() else value


def boolean(value: Json) -> bool:
    """Return True or False; nothing else counts as one."""
    if value is True or value is False:
        return bool(value)
    raise UnfitError("expected true or false")


def date(value: Json) -> str:
    """Return an ISO 8601 calendar date, `2026-11-23`."""
    if (
        type(value) is not str
        or len(value) != 10
        or not value.isascii()
        or value[4] != "-"
        or value[7] != "-"
    ):
        raise UnfitError("expected a date such as 2026-11-23")
    try:
        return Date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise UnfitError("expected a date such as 2026-11-23") from error


def lowered(value: Json) -> str:
    """Return a text that is in lower case already: the only kind that `lower(…)` can equal."""
    one = text(value)
    if one != one.lower():
        raise UnfitError("`lower` never gives upper-case letters")
    return one


_DEEPEST = 40
"""Levels in a record: less than what the log can describe."""


def record(value: Json) -> dict[str, Json]:
    """Return a record of any JSON values under text names; numbers in it have one form each."""
    if type(value) is not dict:
        raise UnfitError("expected a record")
    plain: dict[str, Json] = _plain(value, 0)
    return plain


def _plain(value: Json, depth: int) -> Json:
    if depth > _DEEPEST:
        raise UnfitError("it is nested too deep")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return text(value)
    if kind is int or kind is float:
        return number(value)
    if kind is list:
        return [_plain(element, depth + 1) for element in value]
    if kind is dict:
        return {text(name): _plain(element, depth + 1) for name, element in value.items()}
    raise UnfitError("it holds a value that is no JSON")


KINDS: dict[str, Callable[[Json], Any]] = {
    "text": text,
    "line": line,
    "integer": integer,
    "number": number,
    "count": number,
    "bytes": number,
    "boolean": boolean,
    "email": addresses.email,
    "url": addresses.url,
    "date": date,
    "host": addresses.host_name,
    "domain": addresses.mail_domain,
    "lowered": lowered,
    "record": record,
}

AS_IS: dict[Canonicaliser, type] = {text: str, integer: int}
"""See `Parameter.as_is`."""

_DECLARED: dict[Canonicaliser, Type] = {KINDS[kind]: Type(kind) for kind in DECLARABLE}


def canonicaliser(declared: Type) -> Canonicaliser:
    """Return the closure that checks a value against its declared type, bound included."""
    one = KINDS[declared.kind]
    if declared.is_list:
        made = _list_of(one, declared.at_most)
    elif declared.at_most is not None:
        made = _bounded(one, declared.at_most, declared.unit == "bytes")
    else:
        return one
    made.declared = declared  # type: ignore[attr-defined]  # a function takes any attribute
    return made


def declared_of(canonical: Canonicaliser) -> Type | None:
    """Return the type that a canonicaliser was made of; None: it does not say it."""
    return _DECLARED.get(canonical) or getattr(canonical, "declared", None)


def _list_of(one: Canonicaliser, at_most: int | None) -> Canonicaliser:
    def canonical_list(value: Json) -> list[Json]:
        if type(value) is not list:
            raise UnfitError("expected a list")
        if at_most is not None and len(value) > at_most:
            raise UnfitError(f"at most {at_most} elements")
        if one is text:
            for element in value:
                if type(element) is not str or not element.isascii():
                    break
            else:
                return value.copy()
        return [one(element) for element in value]

    return canonical_list


def _bounded(one: Canonicaliser, at_most: int, in_bytes: bool) -> Canonicaliser:
    def bounded(value: Json) -> str:
        if one is text and type(value) is str and value.isascii() and len(value) <= at_most:
            return value
        # The raw length first, so that a huge value costs nothing; no value grows shorter in characters.
        if type(value) is str and len(value) > max(4 * at_most, 4096):
            raise UnfitError("far too long")
        canonical: str = one(value)
        length = len(canonical.encode()) if in_bytes else len(canonical)
        if length > at_most:
            raise UnfitError(f"at most {size_text(at_most) if in_bytes else f'{at_most} characters'}")
        return canonical

    return bounded
