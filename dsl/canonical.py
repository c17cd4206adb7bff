"""Canonical JSON (RFC 8785) and digests of it: one form for policy digests, call digests and the log.

Most values need only what the standard library's encoder does in C, once floats that are whole are integers;
floats that need an exponent, the rarest names and everything odd go to `rfc8785`.  Both ways give the same
bytes (tested on all JSON).
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import rfc8785

from ringfence.dsl.plan import Json

LARGEST_INTEGER = 2**53 - 1
"""The integers that every JSON reader agrees on lie between this and its negative (RFC 8785, 3.2.2.3)."""

_SURROGATES = "\ud800"
"""Above it the order of UTF-16 units is another than that of code points."""

MOST_DEPTH = 100
"""`loads_strict` refuses what is nested deeper."""

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":")
)
_make: Any = getattr(json.encoder, "c_make_encoder", None)
_parts: Any = (
    _encoder.iterencode  # no C encoder here: slower, and the same text
    if _make is None
    else _make(None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", True, False, False)
)
quoted: Callable[[str], str] = json.encoder.encode_basestring
"""Writes a text as canonical JSON."""


def canonical(value: Json) -> bytes:
    """Return the RFC 8785 form, UTF-8; raise ValueError for what JSON cannot say (NaN, lone surrogates)."""
    try:
        if type(value) is str:
            return _text(value)
        if is_plain(value):
            return plain_form(value)
        try:
            (plain,) = _plain([value])
        except _OddError:
            return rfc8785.dumps(value)
        return plain_form(plain)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("nested too deep") from None
    except (
        AttributeError,
        TypeError,
    ) as error:  # rfc8785 sorts the names of a record before it looks at them
        raise ValueError("a value is no JSON") from error


_ESCAPED = bytes(range(32)) + b'"\\'
"""What the encoder writes otherwise than it stands in a text."""


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 100 and len(data.translate(None, _ESCAPED)) == len(data):
        return b'"%b"' % data  # a third of the encoder's time, which looks at each character twice
    return quoted(text).encode()


def plain_form(value: Json) -> bytes:
    """Return the RFC 8785 form of a value that `is_plain`; raise ValueError for lone surrogates."""
    return "".join(_parts(value, 0)).encode("utf-8")


def is_plain(value: Json) -> bool:
    """Say whether the C encoder writes the RFC 8785 form: no odd names, and no odd numbers.

    RFC 8785 sorts names by UTF-16 units, Python by code points; they agree below the surrogates.  Types are
    compared exactly: a subclass may write itself otherwise.
    """
    kind = type(value)
    if kind is dict:
        for name in value:
            if type(name) is not str or not (name.isascii() or max(name) < _SURROGATES):
                return False
        parts = value.values()
    elif kind is list or kind is tuple:
        parts = value
    else:
        parts = (value,)
    for part in parts:
        kind = type(part)
        if kind is str or part is None or kind is bool:
            continue
        if kind is int:
            if not -LARGEST_INTEGER <= part <= LARGEST_INTEGER:
                return False
            continue
        if kind is float:
            # Those that Python writes without an exponent and with a fraction, as RFC 8785 (3.2.2.3) does.
            if not 1e-4 <= abs(part) < 1e16 or part.is_integer():
                return False
            continue
        if kind is list:  # most are of texts alone: those are spared a call
            for element in part:
                if type(element) is not str:
                    break
            else:
                continue
        if not (kind is dict or kind is list or kind is tuple) or not is_plain(part):
            return False
    return True


class _OddError(Exception):
    """The C encoder does not write the RFC 8785 form."""


def _plain(value: Any) -> Any:
    """Return a list or a record with integers for floats that are whole: RFC 8785 writes both alike.

    Raises:
        _OddError: It is not plain then either.
    """
    kind = type(value)
    if kind is dict:
        for name in value:
            if type(name) is not str or not (name.isascii() or max(name) < _SURROGATES):
                raise _OddError
        copy: Any = value.copy()
    elif kind is list or kind is tuple:
        copy = list(value)
    else:
        raise _OddError
    for place, part in copy.items() if kind is dict else enumerate(copy):
        kind_of_part = type(part)
        if kind_of_part is str or part is None or kind_of_part is bool:
            continue
        if kind_of_part is float and part.is_integer():
            part = copy[place] = int(part)
        elif kind_of_part is float:
            if not 1e-4 <= abs(part) < 1e16:
                raise _OddError
            continue
        elif kind_of_part is not int:
            copy[place] = _plain(part)
            continue
        if not -LARGEST_INTEGER <= part <= LARGEST_INTEGER:
            raise _OddError
    return copy


def digest(value: Json) -> str:
    """Return `sha256:` and 64 hex digits of the canonical form."""
    return "sha256:" + sha256(canonical(value)).hexdigest()


def same(one: Json, other: Json) -> bool:
    """Say whether two values are the same JSON."""
    try:
        return alike(one, other) or canonical(one) == canonical(other)
    except (ValueError, RecursionError):
        return False  # fails closed: what cannot be compared is shown


_SCALARS = frozenset({str, int, float, bool, type(None)})


def alike(one: Json, other: Json) -> bool:
    """Return True only for values that are equal in their types as well; cheaper than canonical forms.

    False says nothing: 1 and 1.0, or a list and a tuple, are the same JSON.
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _SCALARS:
        return bool(one == other)
    if kind is dict:
        return bool(one.keys() == other.keys()) and all(
            map(alike, one.values(), [other[name] for name in one])
        )
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(map(alike, one, other))
    return False


def loads_strict(text: str | bytes) -> Json:
    """Return the JSON value that `text` says; every reader of it must see the same value.

    Raises:
        ValueError: It is no JSON or no UTF-8, a name stands twice in a record, or it holds NaN, an
            infinity, a lone surrogate, an integer beyond 2^53-1, or more than 100 levels.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")  # UnicodeDecodeError is a ValueError
    try:
        value = json.loads(
            text,
            object_pairs_hook=_record,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        _require_sound(value, 0)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Json]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name stands twice in a record")
    return record


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int:
    if len(digits) > 17 or not -LARGEST_INTEGER <= int(digits) <= LARGEST_INTEGER:
        raise ValueError("an integer is beyond 2^53-1")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _require_sound(value: Json, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            value.encode("utf-8")  # UnicodeEncodeError is a ValueError: a lone surrogate
    elif isinstance(value, list | dict):
        if depth == MOST_DEPTH:
            raise ValueError("nested too deep")
        if isinstance(value, dict):
            for name, element in value.items():
                _require_sound(name, depth)
                _require_sound(element, depth + 1)
        else:
            for element in value:
                _require_sound(element, depth + 1)
