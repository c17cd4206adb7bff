"""A span as OpenTelemetry knows it, without its library: ids that follow from the log, texts of bounded size.

Ids are digests of what they stand for, so the same log gives the same spans wherever and however often
they are sent.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from ringfence.plugin import Json, escaped

Value = str | bool | int | float | tuple[str, ...]
"""What an attribute holds; integers fit 64 bits."""

NAME_LENGTH: Final = 200
"""Characters of a name or an id that are sent."""
CONTENT_LENGTH: Final = 8_192
"""Characters of one content attribute that are sent."""
_LIST_LENGTH: Final = 32
_INT64: Final = 2**63

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened during a span: an event of it, in OpenTelemetry's word."""

    name: str
    at_ns: int
    said: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended."""

    trace: int
    """128 bits."""
    id: int
    """64 bits."""
    parent: int | None
    name: str
    kind: Literal["internal", "client"]
    start_ns: int
    """Wall clock, nanoseconds since the Unix epoch."""
    end_ns: int
    attributes: Mapping[str, Value]
    moments: tuple[Moment, ...] = ()
    failed: bool = False
    """True: the status is an error, `error.type` says which; False: it is unset."""


def trace_id(root: str) -> int:
    """Return the id of the trace of the run `root`, which no other run started."""
    return _digest("trace", (root,), 16)


def span_id(run: str, *parts: str) -> int:
    """Return the id of a run's span, or of the part of the run that `parts` name."""
    return _digest("span", (run, *parts), 8)


def _digest(what: str, parts: tuple[str, ...], size: int) -> int:
    text = json.dumps(["ringfence", what, *parts]).encode("ascii")
    return int.from_bytes(sha256(text).digest()[:size]) or 1  # 0 means: no id


def name_of(value: Json) -> str | None:
    """Return a name fit for an attribute, cut, what could steer a reader written out; None: it is none."""
    return escaped(value[:NAME_LENGTH]) if isinstance(value, str) and value else None


def id_of(value: Json) -> str | None:
    """Return an id that a model or its provider gave; None if it is another text, which may say anything."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def names_of(values: object) -> tuple[str, ...]:
    """Return the names in a list, at most so many as are sent."""
    if not isinstance(values, (list, tuple)):
        return ()
    return tuple(name for value in values[:_LIST_LENGTH] if (name := name_of(value)) is not None)


def count_of(value: Json) -> int | None:
    """Return an integer that a span can hold, or None."""
    fits = type(value) is int and -_INT64 <= value < _INT64
    return value if fits else None


def content_of(value: Json) -> str:
    """Return a text as it is and any other value as JSON, valid UTF-8 and cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    whole = text[:CONTENT_LENGTH].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole if len(text) <= CONTENT_LENGTH else f"{whole}… ({len(text)} characters)"


def known(**attributes: Value | None) -> dict[str, Value]:
    """Return the attributes that are known, `__` in a name being a dot; an empty list is not."""
    return {
        name.replace("__", "."): value
        for name, value in attributes.items()
        if value is not None and value != ()
    }
