"""Canonical JSON (RFC 8785) and digests of it: one form for policy digests, call digests and the log."""

from hashlib import sha256

import rfc8785

from ringfence.dsl.plan import Json


def canonical(value: Json) -> bytes:
    """Return the RFC 8785 form, UTF-8; raise ValueError for what JSON cannot say (NaN, lone surrogates)."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def digest(value: Json) -> str:
    """Return `sha256:` and 64 hex digits of the canonical form."""
    return "sha256:" + sha256(canonical(value)).hexdigest()
