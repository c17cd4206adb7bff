"""JSON for everything that passes: arguments, results, messages; total, so nothing escapes the record."""

import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic import AliasChoices, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ringfence.dsl.plan import Json

Hide = Callable[[str], str]
"""Hides what is secret in a text."""
Own = Callable[[Any], Any]
"""Returns what a framework's own value says, to be read in its place; any other value as it is."""

_DEEPEST: Final = 64
_REPR_CHARACTERS: Final = 200


def json_of(value: object, *, own: Own | None = None, hide: Hide | None = None, whole: bool = False) -> Json:
    """Return `value` as JSON, with the names that a model's schema shows for its fields.

    What has no JSON form becomes a record of its type and the start of its repr.  NaN and infinities stay
    what they are: the engine refuses them.  Nothing is left out, masked or made alike that was not.

    Args:
        hide: Hides what is secret in a repr before it is cut; what is not cut is hidden where it is recorded.
        whole: Leave reprs whole: what is limited must be counted with all that the model could read.
    """
    if _is_scalar(value):
        return value
    return _Reader(own, hide, whole).value(value, 0)


def opaque(value: object, *, hide: Hide | None = None, whole: bool = False) -> dict[str, Json]:
    """Return the record of a value that has no JSON form."""
    try:
        shown = repr(value)
    except Exception:  # a broken repr must not keep a call from being recorded
        shown = "?"
    if hide is not None:
        shown = hide(shown)
    return {
        "$type": f"{type(value).__module__}.{type(value).__qualname__}",
        "$repr": shown if whole else shown[:_REPR_CHARACTERS],
    }


def _is_scalar(value: object) -> bool:
    return value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum))


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    own: Own | None
    hide: Hide | None
    whole: bool

    def value(self, value: Any, depth: int) -> Json:
        if _is_scalar(value):
            return value
        if depth >= _DEEPEST:
            return self._opaque(value)
        try:
            return self._compound(value, depth + 1)
        except Exception:  # fails closed: a value that cannot be read fits no type of the language
            return self._opaque(value)

    def _compound(self, value: Any, deeper: int) -> Json:
        if self.own is not None and (said := self.own(value)) is not value:
            return self.value(said, deeper)
        if isinstance(value, enum.Enum):
            return self.value(value.value, deeper)
        if isinstance(value, SecretStr | SecretBytes | Secret):
            # SECURITY: its stars would be decided, and the value behind them used.
            return self.value(value.get_secret_value(), deeper)
        if isinstance(value, Iterator):
            return self._opaque(value)  # looking would use it up
        if isinstance(value, RootModel):
            return self.value(value.root, deeper)
        if isinstance(value, BaseModel):
            return self._model(value, deeper)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {field.name: self.value(getattr(value, field.name), deeper) for field in fields}
        if isinstance(value, Mapping):
            named = {str(name): self.value(inner, deeper) for name, inner in value.items()}
            # SECURITY: two keys that become one would hide a value from the policy.
            return named if len(named) == len(value) else self._opaque(value)
        if isinstance(value, set | frozenset):
            return sorted((self.value(inner, deeper) for inner in value), key=repr)
        if isinstance(value, list | tuple | deque):
            return [self.value(inner, deeper) for inner in value]
        try:
            return to_jsonable_python(value, fallback=self._opaque, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError, TypeError, RecursionError):
            return self._opaque(value)  # fails closed: it fits no type of the language

    def _model(self, value: BaseModel, deeper: int) -> Json:
        # SECURITY: read field by field; its own dump may leave fields out, mask them or make them others.
        known = type(value).model_fields
        fields = {_sent(name, field): getattr(value, name) for name, field in known.items()}
        extra = value.model_extra or {}
        # SECURITY: two fields that become one would hide a value from the policy.
        is_clear = len(fields) == len(known) and not fields.keys() & extra.keys()
        return self.value({**fields, **extra}, deeper) if is_clear else self._opaque(value)

    def _opaque(self, value: object) -> dict[str, Json]:
        return opaque(value, hide=self.hide, whole=self.whole)


def _sent(name: str, field: FieldInfo) -> str:
    """Return the name under which the schema of the tool shows a field."""
    alias = field.validation_alias if field.validation_alias is not None else field.alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name
