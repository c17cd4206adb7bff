"""The arguments of a call against the tool's own JSON Schema, within bounds, before the policy is asked.

The schema is a stranger's: it fetches nothing, its patterns run in linear time, and it takes so many steps.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # the binding ships no types
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Json

STEPS_AT_MOST: Final = 100_000
"""Keywords that are looked at for one call."""
_NAMES_DEPTH: Final = 16
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


class UnfitSchemaError(ValueError):
    """The schema itself cannot be used, so no arguments fit it."""


class _TooMuchError(Exception):
    """It took too many steps."""


class ArgumentSchema:
    """What a tool takes, as its server says."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        self._steps = 0
        kind = validator_for(self._schema, default=Draft202012Validator)
        counted: dict[str, Any] = {
            name: self._counted(_BOUNDED.get(name, check)) for name, check in kind.VALIDATORS.items()
        }
        try:
            kind.check_schema(self._schema)
        except (SchemaError, RecursionError, re2.error) as error:
            raise UnfitSchemaError("its input schema is no JSON Schema") from error
        # SECURITY: an empty registry retrieves nothing; a reference out of the schema fits nothing.
        self._validator = extend(kind, counted)(self._schema, registry=Registry())

    def mistake(self, arguments: Mapping[str, Json]) -> str | None:
        """Say where and why arguments do not fit, without their values; None: they do."""
        self._steps = 0
        try:
            found = next(self._validator.iter_errors(dict(arguments)), None)
        except _TooMuchError:  # fails closed: what cannot be checked does not fit
            return "the input schema takes too long to check"
        except (
            Unresolvable,
            RecursionError,
            re2.error,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
        ) as error:
            # fails closed: a schema that cannot be followed is fitted by nothing
            return f"the input schema cannot be followed ({type(error).__name__})"
        if found is None:
            return None
        path = "/".join(str(part) for part in found.absolute_path)
        return f"the arguments do not fit the input schema: `{found.validator}` at `/{path}`"[:300]

    def names(self, arguments: Mapping[str, Json]) -> frozenset[str]:
        """Return the names that the schema knows; where it takes any others by its own word, those given."""
        names, open_ended = _names(self._schema, self._schema, _NAMES_DEPTH)
        return frozenset(names | arguments.keys() if open_ended else names)

    def _counted(self, check: Any) -> Any:
        def one(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._steps += 1
            if self._steps > STEPS_AT_MOST:
                raise _TooMuchError
            yield from check(validator, value, instance, schema) or ()

        return one


def _names(schema: Any, root: Mapping[str, Any], depth: int) -> tuple[set[str], bool]:
    """Return the property names that stand anywhere at the top of a value, and whether others are welcome."""
    if not isinstance(schema, Mapping) or depth == 0:
        return set(), False
    properties = schema.get("properties")
    names = set(properties) if isinstance(properties, Mapping) else set()
    # Said so, not merely not said: an argument that nobody declared is denied otherwise.
    open_ended = schema.get("additionalProperties") not in (None, False) or "patternProperties" in schema
    parts = [one for key in ("allOf", "anyOf", "oneOf") for one in _list(schema.get(key))]
    parts += [schema[key] for key in ("if", "then", "else") if key in schema]
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#/"):
        parts.append(_inside(root, reference))
    for part in parts[:200]:
        more, opens = _names(part, root, depth - 1)
        names |= more
        open_ended = open_ended or opens
    return names, open_ended


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _inside(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for step in reference[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _matches(pattern: str, text: str) -> bool:
    # SECURITY: a stranger's pattern in `re` could hang the gateway for hours.
    return re2.search(pattern, text, options=_QUIET) is not None


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Any, patterns: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for name, value in instance.items():
                if _matches(pattern, name):
                    yield from validator.descend(value, part, path=name, schema_path=pattern)


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties") or {}
    patterns = schema.get("patternProperties") or {}
    for name, value in instance.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if isinstance(allowed, dict):
            yield from validator.descend(value, allowed, path=name)
        elif not allowed:
            yield ValidationError("is not among the properties", path=(name,))


def _unique(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list) and len({canonical(one) for one in instance}) < len(instance):
        yield ValidationError("has an element twice")


Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]
_BOUNDED: Final[Mapping[str, Check]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "uniqueItems": _unique,
}
"""Keywords whose own implementation runs a stranger's pattern in `re`, or takes the square of a list."""
