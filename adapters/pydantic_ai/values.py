"""JSON for everything that passes: arguments, results, messages; total, so nothing escapes the record."""

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pydantic import AliasChoices, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json

_DEEPEST = 64
_REPR_CHARACTERS = 200


def json_of(value: object, _depth: int = 0) -> Json:
    """Return `value` as JSON, with the names that a model's schema shows for its fields.

    What has no JSON form becomes a record of its type and the start of its repr.  NaN and infinities stay
    what they are: the engine refuses them.
    """
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
        return value
    if _depth >= _DEEPEST:
        return opaque(value)
    within: Callable[[object], Json] = partial(json_of, _depth=_depth + 1)
    if isinstance(value, enum.Enum):
        return within(value.value)
    if isinstance(value, SecretStr | SecretBytes | Secret):
        # SECURITY: its stars would be decided, and the value behind them used.
        return within(value.get_secret_value())
    if isinstance(value, Iterator):
        return opaque(value)  # looking would use it up
    if isinstance(value, RootModel):
        return within(value.root)
    if isinstance(value, BaseModel):
        known = type(value).model_fields
        fields = {_sent(name, field): getattr(value, name) for name, field in known.items()}
        extra = value.model_extra or {}
        # Two fields that become one would hide a value from the policy.
        is_clear = len(fields) == len(known) and not fields.keys() & extra.keys()
        return within({**fields, **extra}) if is_clear else opaque(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: within(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        named = {str(name): within(inner) for name, inner in value.items()}
        return named if len(named) == len(value) else opaque(value)
    if isinstance(value, set | frozenset):
        return sorted(map(within, value), key=repr)
    if isinstance(value, list | tuple):
        return list(map(within, value))
    try:
        return to_jsonable_python(value, fallback=opaque, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, TypeError, RecursionError):
        return opaque(value)  # fails closed: it fits no type of the language


def _sent(name: str, field: FieldInfo) -> str:
    """Return the name under which the schema of the tool shows a field."""
    alias = field.validation_alias if field.validation_alias is not None else field.alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


def opaque(value: object) -> dict[str, Json]:
    """Return the record of a value that has no JSON form."""
    try:
        shown = repr(value)
    except Exception:  # a broken repr must not keep a call from being recorded
        shown = "?"
    return {
        "$type": f"{type(value).__module__}.{type(value).__qualname__}",
        "$repr": shown[:_REPR_CHARACTERS],
    }


def same(left: Json, right: Json) -> bool:
    """Say whether two JSON values are one value (`1` and `1.0` are, `1` and `true` are not)."""
    if _equal(left, right):
        return True
    try:
        return canonical(left) == canonical(right)
    except (ValueError, TypeError, RecursionError):
        return False  # fails closed: taken for different


def _equal(left: Json, right: Json) -> bool:
    """Say whether two values are equal and of the same types all through; far cheaper than their forms."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
