"""Canonical JSON (RFC 8785) and digests of it: one form for policy digests, call digests and the log."""

from hashlib import sha256
from json import JSONEncoder

import rfc8785

from ringfence.dsl.plan import Json

_LARGEST = 2**53 - 1
_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def canonical(value: Json) -> bytes:
    """Return the RFC 8785 form, UTF-8; raise ValueError for what JSON cannot say (NaN, lone surrogates)."""
    try:
        # Without floats and with ASCII keys the standard encoder, which is written in C, gives the very
        # same bytes; most values are like that.
        return _encode(value).encode() if _plain(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def _plain(value: Json) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_LARGEST <= value <= _LARGEST)
    if kind is list:
        return all(map(_plain, value))
    if kind is dict:
        return all(type(key) is str and key.isascii() for key in value) and all(map(_plain, value.values()))
    return False


def digest(value: Json) -> str:
    """Return `sha256:` and 64 hex digits of the canonical form."""
    return "sha256:" + sha256(canonical(value)).hexdigest()
