"""A call's arguments, from the text that a model wrote to those that are decided and run.

The text is read strictly, and what it says must fit the schema that the model was shown: so nothing is left
for the tool to make another value of than was decided.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry

from ringfence.adapter import Json
from ringfence.dsl.canonical import canonical, loads_strict

_REFERENCES_AT_MOST: Final = 10_000
"""References that are followed for one call; between two of them a schema is looked at once."""


class UnfitError(ValueError):
    """The arguments are none, or fit no schema; the text says why, for people."""


class _TooFarError(Exception):
    """A schema sends its reader round and round: its parts may be the same part, twice each."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a tool takes, as its JSON schema says."""

    names: frozenset[str]
    defaults: dict[str, Json]
    validator: Validator

    @classmethod
    def of(cls, schema: Mapping[str, Any], *, strict: bool) -> "Parameters":
        """Read a schema.

        Args:
            strict: It is in the form in which every parameter is required; one that may be null may be left
                out all the same: the function has a default for it.
        """
        properties = schema.get("properties")
        named: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        checked = dict(schema)
        if strict:
            left_out = {name for name, one in named.items() if _may_be_null(one)}
            checked["required"] = [name for name in schema.get("required", ()) if name not in left_out]
        defaults = {
            name: one["default"]
            for name, one in named.items()
            if isinstance(one, Mapping) and "default" in one
        }
        # SECURITY: without a registry of its own, a reference would be fetched from wherever it points.
        return cls(frozenset(named), defaults, _kind(checked)(checked, registry=Registry()))

    def read(self, text: str, *, most_characters: int) -> dict[str, Json]:
        """Return the arguments that a text says, defaults applied.

        Raises:
            UnfitError: It is no JSON object, says a name twice, or does not fit the schema.
        """
        if len(text) > most_characters:
            raise UnfitError("the arguments are too large")
        return self.fit(read_object(text))

    def fit(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return these arguments, defaults applied; raise UnfitError if they do not fit."""
        arguments = {**copy.deepcopy(self.defaults), **given} if self.defaults else dict(given)
        _LEFT.set(_REFERENCES_AT_MOST)
        try:
            wrong = next(iter(self.validator.iter_errors(arguments)), None)
        except Exception as error:  # fails closed: a schema that cannot be followed fits nothing
            raise UnfitError(f"the tool's schema cannot be followed ({type(error).__name__})") from error
        if wrong is not None:
            raise UnfitError(f"{wrong.json_path}: breaks `{wrong.validator}` of the tool's schema")
        # In the order in which the log will have them: a replay finds the same argument wrong first.
        return {name: arguments[name] for name in sorted(arguments)}


def read_object(text: str) -> dict[str, Json]:
    """Return the JSON object that a model's text is; an empty one is an empty object.

    Raises:
        UnfitError: It is none, or Python and other readers would differ about it.
    """
    try:
        said = loads_strict(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"the arguments are no JSON that can be relied on: {error}") from error
    if not isinstance(said, dict):
        raise UnfitError("the arguments are no JSON object")
    return said


def written(arguments: Mapping[str, Json]) -> str:
    """Return arguments as the JSON text that a tool is handed."""
    return canonical(dict(arguments)).decode()


def _may_be_null(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kind, parts = schema.get("type"), schema.get("anyOf")
    if kind == "null" or (isinstance(kind, list) and "null" in kind):
        return True
    return isinstance(parts, list) and any(_may_be_null(part) for part in parts)


def _unchecked(*_: Any) -> Iterator[ValidationError]:
    """Leave a keyword to the tool itself.

    SECURITY: a server writes the patterns of its schemas, and Python's could be made to run for ever.
    """
    return iter(())


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if "patternProperties" in schema:
        return iter(())
    found: Iterator[ValidationError] = _ADDITIONAL(validator, allowed, instance, schema)
    return found


_ADDITIONAL = Draft202012Validator.VALIDATORS["additionalProperties"]
_CHECKS = {
    "pattern": _unchecked,
    "patternProperties": _unchecked,
    "unevaluatedProperties": _unchecked,
    "additionalProperties": _additional,
}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_LEFT: ContextVar[int] = ContextVar("ringfence_openai_agents_references")
_KINDS: dict[Any, type[Validator]] = {}


def _kind(schema: Mapping[str, Any]) -> type[Validator]:
    found = validator_for(schema, default=Draft202012Validator)
    if found not in _KINDS:
        counted = {name: _counted(check) for name, check in found.VALIDATORS.items() if name in _REFERENCES}
        _KINDS[found] = extend(found, {**_CHECKS, **counted})
    return _KINDS[found]


def _counted(follow: Any) -> Callable[..., Iterator[ValidationError]]:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _LEFT.get() - 1
        if left < 0:  # SECURITY: a server writes the schema
            raise _TooFarError
        _LEFT.set(left)
        yield from follow(validator, value, instance, schema) or ()

    return counted
