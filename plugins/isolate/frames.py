"""Frames between the guard and an isolate's worker: four bytes of length, then one JSON object in UTF-8.

What comes in was written by a process that runs hostile code, so nothing is trusted: a length is refused
before anything is allocated for it, nesting and the number of values are bounded before anything is decoded
(by the number of bytes and of brackets, where that is enough, else by a scan that knows what a string is),
and JSON is strict (no NaN, no infinity, no name twice).
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

HEADER_BYTES = 4
MAX_FRAME_BYTES = 16 << 20
"""Of one frame's JSON, either way."""
MAX_DEPTH = 200
"""Arrays and objects inside one another."""
MAX_TOKENS = 40_000
"""Brackets, commas, colons and quotes of one frame: large texts may come, millions of values not."""
_MAX_DIGITS = 1000

_OPENING = frozenset(b"[{")
_NEITHER_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_NO_TOKEN = bytes(byte for byte in range(256) if byte not in b"[]{},:")


class FrameError(ValueError):
    """These bytes are no frame, or this value cannot be one."""


def written(value: object, *, limit: int = MAX_FRAME_BYTES) -> bytes:
    """Return a value as one frame.

    Raises:
        FrameError: It is no JSON, or it is larger than the limit.
    """
    try:
        body = _ENCODER.encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:  # nothing is sent
        raise FrameError("not a JSON value") from error
    if len(body) > limit:
        raise FrameError(f"a frame of {len(body)} bytes, and at most {limit} are sent")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def length(header: bytes, *, limit: int = MAX_FRAME_BYTES) -> int:
    """Return how many bytes follow a header.

    Raises:
        FrameError: The header is cut short, or more would follow than the limit.
    """
    if len(header) != HEADER_BYTES:
        raise FrameError("a header that is cut short")
    size = int.from_bytes(header, "big")
    # SECURITY: refused before a byte is allocated for it.
    if not 2 <= size <= limit:
        raise FrameError(f"a frame of {size} bytes, and 2 to {limit} are taken")
    return size


def read(body: bytes, *, depth: int = MAX_DEPTH, tokens: int = MAX_TOKENS) -> dict[str, Any]:
    """Return the object that the bytes after a header hold.

    Raises:
        FrameError: They are no JSON object, or one that is too deep or of too many values.
    """
    value = _value(body, depth=depth, tokens=tokens)
    if type(value) is not dict:
        raise FrameError("not an object")
    return value


def checked(text: str, *, depth: int = MAX_DEPTH) -> None:
    """Check that a text is strict JSON: any value, of any number of parts, not too deep.

    Raises:
        FrameError: It is not.
    """
    try:
        body = text.encode("utf-8")
    except UnicodeEncodeError as error:  # half of a surrogate pair: no UTF-8 says it
        raise FrameError("not Unicode") from error
    _value(body, depth=depth, tokens=len(body))


def shallow(body: bytes, *, depth: int = MAX_DEPTH) -> bool:
    """Say whether there are too few brackets to be nested deeper, in strings or outside of them."""
    return body.count(b"[") + body.count(b"{") <= depth


def bounded(body: bytes, *, depth: int, tokens: int) -> None:
    """Check nesting and number of values of JSON that is not decoded yet, in time linear in its bytes.

    Raises:
        FrameError: There are more than the bounds, or a string has no end.
    """
    # Escaped backslashes first, from the left: what is left before a quote then escapes that quote.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = plain.count(b'"')
    if quotes % 2:
        raise FrameError("a string without an end")
    if quotes > tokens:
        raise FrameError("too many strings")
    outside = b"".join(plain.split(b'"')[::2])
    if quotes + len(outside.translate(None, _NO_TOKEN)) > tokens:
        raise FrameError("too many values")
    # SECURITY: the decoder is recursive; it never sees what is deeper.
    level = 0
    for byte in outside.translate(None, _NEITHER_BRACKET):
        level += 1 if byte in _OPENING else -1
        if level > depth:
            raise FrameError(f"nested deeper than {depth}")
        if level < 0:
            raise FrameError("a bracket too many")
    if level:
        raise FrameError("a bracket without an end")


def _value(body: bytes, *, depth: int, tokens: int) -> Any:
    # SECURITY: the decoder never sees what may be deeper.  Most bodies are so short, and have so few
    # brackets, that whatever is JSON in them is within the bounds.
    if len(body) <= tokens and shallow(body, depth=depth):
        try:
            return _decoded(body)
        except FrameError:  # the bounds are looked at first, and may have another reason
            pass
    bounded(body, depth=depth, tokens=tokens)
    return _decoded(body)


def _decoded(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except FrameError:
        raise
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        raise FrameError("not JSON") from error


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FrameError("a name twice in one object")
    return members


def _no_constant(word: str) -> NoReturn:
    raise FrameError(f"`{word}` is not JSON")


def _finite(digits: str) -> float:
    number = float(digits) if len(digits) <= _MAX_DIGITS else float("inf")
    if number in (float("inf"), float("-inf")):
        raise FrameError("a number out of range")
    return number


def _whole(digits: str) -> int:
    # SECURITY: reading an integer takes time that grows with the square of its digits.
    if len(digits) > _MAX_DIGITS:
        raise FrameError("a number out of range")
    return int(digits)


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
)
