"""The arguments of a call: one canonical value of each, or why they do not fit."""

from collections.abc import Mapping

from ringfence.dsl.canonical import canonical
from ringfence.dsl.plan import Canonicaliser, Json, UnfitError

MOST_BYTES = 1024 * 1024
"""Arguments whose canonical JSON is larger are denied, and recorded by digest and size only."""

_DEEPEST = 40
"""Levels in one argument: less than what the log can describe, so what was decided is what is recorded."""
_LARGEST = 2**53 - 1


Takes = Mapping[str, tuple[Canonicaliser, bool, type | None, int]]
"""Parameter -> (what makes its canonical value, whether it is optional, `Parameter.as_is`, its weight)."""


def canonical_arguments(
    takes: Takes | None,
    required: frozenset[str],
    given: Mapping[str, Json],
    schema_names: frozenset[str] | None,
) -> dict[str, Json]:
    """Return the canonical arguments; an optional one that is absent or None is absent.

    An argument that is not taken but stands in the bound tool's schema passes as given; no clause can
    name it.  Without `takes` the schema gives the names; unbound, any arguments fit.

    Raises:
        UnfitError: With what does not fit, without repeating any value.
    """
    weight = 2
    arguments: dict[str, Json] = {}
    for name, value in given.items():
        parameter = takes.get(name) if takes is not None else None
        if parameter is not None:
            canonical_value, optional, as_is, own_weight = parameter
            weight += own_weight
            kind = type(value)
            if kind is as_is:
                # The usual value is its own canonical form, which is what `canonical_value` would find out.
                if as_is is str:
                    if value.isascii():
                        weight += 6 * len(value)
                        arguments[name] = value
                        continue
                elif -_LARGEST <= value <= _LARGEST:
                    arguments[name] = value
                    continue
            elif value is None and optional:
                continue
            try:
                fit = canonical_value(value)
            except UnfitError as error:
                raise UnfitError(f"`{name}`: {error}") from None
        else:
            _require_known(name, takes is not None, schema_names)
            weight += 7 * len(name) + 40
            fit = value
        kind = type(fit)
        if kind is str:
            weight += 6 * len(fit)
            if not fit.isascii():
                _require_unicode(fit)
        elif kind is int:
            if not -_LARGEST <= fit <= _LARGEST:
                raise UnfitError(f"{_shown(name)} is an integer beyond 2^53-1")
        elif kind is list:
            for element in fit:
                if type(element) is str and element.isascii():
                    weight += 6 * len(element) + 4
                else:
                    weight += _weight(element, 2) + 1
        elif kind is not bool:
            weight += _weight(fit, 1)
        arguments[name] = fit
    if not required <= arguments.keys():
        lacking = ", ".join(f"`{name}`" for name in sorted(required - arguments.keys()))
        raise UnfitError(f"{lacking} is missing")
    # The weight is never less than the size (a parameter's own one stands for its name, punctuation and a
    # scalar); only what may be too large is measured exactly.
    if weight > MOST_BYTES and len(canonical(arguments)) > MOST_BYTES:
        raise UnfitError(f"the arguments are larger than {MOST_BYTES} bytes")
    return arguments


def _require_known(name: object, takes: bool, schema_names: frozenset[str] | None) -> None:
    """Refuse a name that is neither taken nor in the schema; without either, any text is a name."""
    if not isinstance(name, str):
        raise UnfitError("an argument's name is no text")
    if (takes and schema_names is None) or (schema_names is not None and name not in schema_names):
        raise UnfitError(f"{_shown(name)} is not taken")
    _require_unicode(name)


def _weight(value: Json, depth: int) -> int:
    """Return an upper bound of the value's size in canonical JSON; raise UnfitError if it is no JSON."""
    if depth > _DEEPEST:
        raise UnfitError("it is nested too deep")
    if value is None or isinstance(value, bool):
        return 6
    if isinstance(value, str):
        if not value.isascii():
            _require_unicode(value)
        return 6 * len(value) + 3
    if isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise UnfitError("an integer is beyond 2^53-1")
        return 18
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise UnfitError("a number is not finite")
        if _LARGEST < abs(value) < 1e21 and value.is_integer():
            # RFC 8785 writes it as an integer, so the log's reader would see another value than was decided.
            raise UnfitError("a number is an integer beyond 2^53-1")
        return 27
    if isinstance(value, list):
        return 3 + sum(_weight(element, depth + 1) + 1 for element in value)
    if isinstance(value, dict):
        total = 3
        for name, element in value.items():
            if not isinstance(name, str):
                raise UnfitError("a name in a record is no text")
            _require_unicode(name)
            total += 6 * len(name) + 4 + _weight(element, depth + 1)
        return total
    raise UnfitError("it holds a value that is no JSON")


def _require_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UnfitError("a text holds a lone surrogate") from None


def _shown(name: str) -> str:
    """Return the name for a reason: the model chose it, so bounded and escaped."""
    return "`" + name[:60].encode("unicode_escape").decode("ascii") + "`"
