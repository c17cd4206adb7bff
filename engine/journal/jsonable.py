"""Any Python value as JSON for the log: what JSON cannot say is described, never guessed, never raised.

A value that is no JSON value becomes a record: `$type`, and of `$value` (its parts), `$items` (where
order or text keys are missing), `$repr` (bounded), `$size` and `$digest` those that say something.
INVARIANT: `canonical(jsonable(value))` succeeds for every value.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from math import isfinite
from typing import Any, Final

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json

LIMIT_BYTES: Final = 1024 * 1024
"""What one value may take in the log; larger ones are kept by digest and size."""

_REPR_CHARACTERS: Final = 500
_LARGEST: Final = 2**53 - 1
_DEEPEST: Final = 48
_MOST_PARTS: Final = 10_000
"""A foreign object that says it has more parts than this is not asked to describe itself."""


def jsonable(
    value: object, *, limit_bytes: int = LIMIT_BYTES, hide: Callable[[str], str] | None = None
) -> Json:
    """Return `value` as JSON, at most about `limit_bytes` long; never raises.

    Args:
        hide: Hides what is secret in a text before it is cut; one that holds any has no digest.
    """
    if value is None or (type(value) is str and value.isascii() and len(value) <= limit_bytes // 2):
        return value
    try:
        if (copy := copied(value, limit_bytes=limit_bytes)) is not None:
            return copy
        walk = _Walk(limit_bytes, hide)
        said = walk.value(value, ())
        if walk.bytes_seen > limit_bytes:
            text = canonical(said)
            if len(text) > limit_bytes:
                return walk.bounded(_type_name(value), text, text.decode())
        return said
    except Exception:  # fails safe: the event is still recorded, with the type alone
        return {"$type": _type_name(value), "$repr": "(cannot be described)"}


def copied(value: object, *, limit_bytes: int = LIMIT_BYTES) -> Json | None:
    """Return a copy of a record or list of plain JSON, as `jsonable` does; None: it is something else."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return None
    try:
        return _copied(value, kind, limit_bytes - 8, 0)[0]
    except _OddError:  # the long way describes it
        return None


class _OddError(Exception):
    """It is not all plain JSON."""


def _copied(value: Any, kind: type, left: int, depth: int) -> tuple[Json, int]:
    """Return a copy of a list or record of plain JSON, and how many bytes are left then.

    The quick way for what most tools give: the same as `_Walk` gives, without a call for each part.

    Raises:
        _OddError: It holds something that is no plain JSON, or more than there was room for.
    """
    if depth >= _DEEPEST or left < 0:  # it may contain itself
        raise _OddError
    if kind is dict:
        copy = value.copy()
        for name in copy:
            if type(name) is not str or not _sayable(name):
                raise _OddError
            left -= len(name)
    else:
        copy = list(value)
    for place, part in copy.items() if kind is dict else enumerate(copy):
        kind_of_part = type(part)
        left -= 8
        if kind_of_part is str:
            if not part.isascii() and (4 * len(part) > left or not _sayable(part)):
                raise _OddError
            left -= len(part)
        elif kind_of_part is int:
            if not -_LARGEST <= part <= _LARGEST:
                raise _OddError
        elif kind_of_part is dict or kind_of_part is list or kind_of_part is tuple:
            copy[place], left = _copied(part, kind_of_part, left, depth + 1)
        elif kind_of_part is float:
            if not isfinite(part):
                raise _OddError
        elif part is not None and kind_of_part is not bool:
            raise _OddError
    if left < 0:
        raise _OddError
    return copy, left


class _Walk:
    """One walk over one value, counting roughly what it will take."""

    def __init__(self, limit_bytes: int, hide: Callable[[str], str] | None) -> None:
        self.limit_bytes = limit_bytes
        self._hide = hide
        self.bytes_seen = 0

    def value(self, value: object, path: tuple[int, ...]) -> Json:
        # SECURITY: types are taken by `type`, and parts by the built-in type's own methods, so that a
        # subclass with hostile methods is read as what it holds.
        kind = type(value)
        self.bytes_seen += 8
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, int):
            return self._integer(int.__int__(value))  # type: ignore[arg-type]
        if issubclass(kind, float):
            return self._number(float.__float__(value))  # type: ignore[arg-type]
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._bytes(kind.__name__, bytes(value))  # type: ignore[call-overload]
        if id(value) in path:
            return {"$type": _type_name(value), "$repr": "(contains itself)"}
        if len(path) >= _DEEPEST:
            return {"$type": _type_name(value), "$repr": f"(deeper than {_DEEPEST} levels)"}
        return self._compound(value, kind, (*path, id(value)))

    def _compound(self, value: Any, kind: type, path: tuple[int, ...]) -> Json:
        if issubclass(kind, dict):
            return self._record(list(dict.items(value)), path)
        if issubclass(kind, list):
            return [self.value(part, path) for part in list.copy(value)]
        if issubclass(kind, tuple):
            return [self.value(part, path) for part in tuple.__iter__(value)]
        if issubclass(kind, (set, frozenset)):
            return self._set(kind, kind.__iter__(value), path)
        for parts in (_model_parts, _dataclass_parts, _mapping_parts):
            said = _attempt(parts, value)
            if said is not None:
                return {"$type": _type_name(value), "$value": self._record(said, path)}
        return self._described(value)

    def _record(self, items: list[tuple[object, object]], path: tuple[int, ...]) -> Json:
        keys = [str.__str__(key) if issubclass(type(key), str) else None for key, _ in items]
        if all(key is not None and _sayable(key) for key in keys) and len(set(keys)) == len(keys):
            self.bytes_seen += sum(map(len, keys))  # type: ignore[arg-type]
            return {key: self.value(part, path) for key, (_, part) in zip(keys, items, strict=True)}
        return {
            "$type": "dict",
            "$items": [[self.value(key, path), self.value(part, path)] for key, part in items],
        }

    def _set(self, kind: type, parts: Iterable[object], path: tuple[int, ...]) -> Json:
        said = sorted((self.value(part, path) for part in parts), key=canonical)
        return {"$type": kind.__name__, "$items": said}

    def _text(self, text: str) -> Json:
        self.bytes_seen += len(text)
        if not _sayable(text):
            return self.bounded("str", text.encode(errors="surrogatepass"), text)
        if len(text) > self.limit_bytes // 2:
            encoded = text.encode()
            if len(encoded) > self.limit_bytes:
                return self.bounded("str", encoded, text)
        return text

    def _integer(self, number: int) -> Json:
        if -_LARGEST <= number <= _LARGEST:
            return number
        encoded = hex(number).encode()
        self.bytes_seen += min(len(encoded), _REPR_CHARACTERS)
        short = number.bit_length() <= 1024  # longer ones are not turned to decimal: that is quadratic
        return (
            {"$type": "int", "$repr": str(number)}
            if short
            else self.bounded("int", encoded, encoded.decode())
        )

    def _number(self, number: float) -> Json:
        return number if isfinite(number) else {"$type": "float", "$repr": repr(number)}

    def _bytes(self, name: str, data: bytes) -> Json:
        self.bytes_seen += min(len(data), _REPR_CHARACTERS)
        if self._hide is not None:
            # SECURITY: what is secret may stand anywhere in them, and the cut may go through it.
            return self.bounded(name, data, data.decode("utf-8", "backslashreplace"), quoted=True)
        return self.bounded(name, data, repr(data[: _REPR_CHARACTERS // 4]))

    def _described(self, value: object) -> Json:
        name = _type_name(value)
        if type(value).__repr__ is object.__repr__:
            return {"$type": name}  # its repr would say an address, different in each process
        parts = _attempt(len, value)
        if parts is not None and parts > _MOST_PARTS:
            return {"$type": name, "$size": min(parts, _LARGEST), "$repr": "(too large to describe)"}
        text = _attempt(repr, value)
        if not isinstance(text, str):
            return {"$type": name, "$repr": "(cannot be described)"}
        self.bytes_seen += min(len(text), _REPR_CHARACTERS)
        sized = len(text) > _REPR_CHARACTERS
        return self.bounded(name, text.encode(errors="surrogatepass"), text, sized=sized)

    def bounded(self, name: str, data: bytes, text: str, *, sized: bool = True, quoted: bool = False) -> Json:
        """Return what stands for a value: its type, the beginning of its text, its size and its digest.

        Args:
            quoted: The text is that of bytes, of which the `repr` is shown.
        """
        shown = text
        if self._hide is not None and (shown := self._hide(text)) != text:
            # SECURITY: from the digest a short secret could be guessed.
            return {"$type": name, "$repr": _escaped(shown[:_REPR_CHARACTERS]), "$size": len(data)}
        begun = repr(data[: _REPR_CHARACTERS // 4]) if quoted else shown[:_REPR_CHARACTERS]
        said: dict[str, Json] = {"$type": name, "$repr": _escaped(begun)}
        if sized:
            said["$size"] = len(data)
        said["$digest"] = "sha256:" + sha256(data).hexdigest()
        return said


def _sayable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: described, not said
        return False
    return True


def _escaped(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _model_parts(value: Any) -> list[tuple[object, object]] | None:
    """Return what a pydantic model says of itself: excluded fields stay out, secrets stay masked."""
    if not hasattr(type(value), "__pydantic_serializer__"):
        return None
    dumped = value.model_dump(warnings=False) if hasattr(type(value), "model_dump") else None
    return list(dict.items(dumped)) if isinstance(dumped, dict) else None


def _dataclass_parts(value: Any) -> list[tuple[object, object]] | None:
    if not is_dataclass(value) or isinstance(value, type):
        return None
    return [(field.name, getattr(value, field.name, None)) for field in fields(value) if field.repr]


def _mapping_parts(value: object) -> list[tuple[object, object]] | None:
    return list(value.items()) if issubclass(type(value), Mapping) else None  # type: ignore[attr-defined]


def _attempt(work: Callable[[Any], Any], value: object) -> Any:
    try:
        return work(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # foreign code that fails, or even exits, only loses its own description
        return None


def _type_name(value: object) -> str:
    kind = type(value)
    module = type.__dict__["__module__"].__get__(kind)  # past a metaclass that answers otherwise
    name = type.__dict__["__qualname__"].__get__(kind)
    said = name if module == "builtins" or not isinstance(module, str) else f"{module}.{name}"
    return _escaped(said[:200])
