"""JSON for everything that passes: arguments, results, messages; total, so nothing escapes the record."""

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from langchain_core.messages import BaseMessage, message_to_dict
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json

Hide = Callable[[str], str] | None

_DEEPEST = 64
_REPR_CHARACTERS = 200


def json_of(value: object, _depth: int = 0, *, hide: Hide = None) -> Json:
    """Return `value` as JSON; what has no JSON form becomes a record of its type and the start of its repr.

    NaN and infinities stay what they are: the engine refuses them.

    Args:
        hide: Hides what is secret in a text before it is cut.
    """
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
        return value
    if _depth >= _DEEPEST:
        return opaque(value, hide)
    deeper = _depth + 1
    if isinstance(value, enum.Enum):
        return json_of(value.value, deeper, hide=hide)
    if isinstance(value, SecretStr | SecretBytes | Secret):
        # SECURITY: its stars would be decided, and the value behind them used.
        return json_of(value.get_secret_value(), deeper, hide=hide)
    if isinstance(value, Iterator):
        return opaque(value, hide)  # looking would use it up
    if isinstance(value, BaseMessage):
        return json_of(message_to_dict(value), deeper, hide=hide)
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return json_of({**fields, **(value.model_extra or {})}, deeper, hide=hide)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: json_of(getattr(value, field.name), deeper, hide=hide)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        named = {str(name): json_of(inner, deeper, hide=hide) for name, inner in value.items()}
        # Two keys that become one would hide a value from the policy.
        return named if len(named) == len(value) else opaque(value, hide)
    if isinstance(value, set | frozenset):
        return sorted((json_of(inner, deeper, hide=hide) for inner in value), key=repr)
    if isinstance(value, list | tuple):
        return [json_of(inner, deeper, hide=hide) for inner in value]
    try:
        return to_jsonable_python(value, fallback=partial(opaque, hide=hide), inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        return opaque(value, hide)  # fails closed: it fits no type of the language


def opaque(value: object, hide: Hide = None) -> dict[str, Json]:
    """Return the record of a value that has no JSON form."""
    try:
        shown = repr(value)
    except Exception:  # a broken repr must not keep a call from being recorded
        shown = "?"
    return {
        "$type": f"{type(value).__module__}.{type(value).__qualname__}",
        "$repr": (shown if hide is None else hide(shown))[:_REPR_CHARACTERS],
    }


def same(left: Json, right: Json) -> bool:
    """Say whether two JSON values are one value (`1` and `1.0` are, `1` and `true` are not)."""
    if _equal(left, right):
        return True
    try:
        return canonical(left) == canonical(right)
    except (ValueError, TypeError, RecursionError):
        return False  # fails closed: taken for different, so the tool's schema is asked again


def _equal(left: Json, right: Json) -> bool:
    """Say whether two values are equal and of the same types all through; far cheaper than their forms."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
