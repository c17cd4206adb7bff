"""The JSON Schema of everything in the log, made of the event classes themselves.

One exported line (`Event.line`) is one document: what every event has, and by its kind what the body holds.
The words come from the classes' own docstrings.  A field with a default may be missing: it was added later,
and a log from before it is as valid.  Any value may be *described* instead, as the journal does with what
JSON cannot say or what is too large.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from ringfence.dsl.plan import Json
from ringfence.engine.decision.events import KINDS, SCHEMA, TIMES
from ringfence.engine.seams.hookspecs import Event

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_HASH: Final = "^[0-9a-f]{64}$"
_FORMS: Final[Mapping[str, Mapping[str, Json]]] = {
    "id": {"type": "string", "pattern": ":[1-9][0-9]*$"},
    "seq": {"type": "integer", "minimum": 1},
    "kind": {"enum": sorted(KINDS)},
    "schema": {"const": SCHEMA},
    "hash": {"type": "string", "pattern": _HASH},
    "prev": {"type": "string", "pattern": _HASH},
    "digest": {"type": "string", "pattern": _HASH},
    "salt": {"type": "string", "pattern": "^([0-9a-f]{32})?$"},
    "body": {"type": ["object", "null"]},
}
"""What is known of an event's own fields beyond their types."""

_PLAIN: Final[Mapping[object, str]] = {str: "string", int: "integer", bool: "boolean"}

_DESCRIBED: Final[Json] = {
    "description": "What stands for a value that JSON cannot say, or that is too large: its type, and of its "
    "parts, text, size in bytes and digest those that say something.",
    "type": "object",
    "properties": {
        "$type": {"type": "string"},
        "$value": {"type": "object"},
        "$items": {"type": "array"},
        "$repr": {"type": "string"},
        "$size": {"type": "integer", "minimum": 0},
        "$digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    },
    "required": ["$type"],
    "additionalProperties": False,
}
_OR_DESCRIBED: Final[Json] = {"$ref": "#/$defs/described"}


def schema() -> dict[str, Json]:
    """Return the schema of one event, with the version of the bodies in its `$id`.

    Raises:
        OSError: The source of the event classes, which holds the words, is not installed.
    """
    envelope = _object(Event, own=_FORMS, described=False)
    return {
        "$schema": DIALECT,
        "$id": f"urn:ringfence:event:{SCHEMA}",
        "title": f"An event of Ringfence's audit log, version {SCHEMA}",
        **envelope,
        "required": [field.name for field in fields(Event)],
        "oneOf": [_of_kind(kind) for kind in KINDS],
        "$defs": {kind: _object(made) for kind, made in KINDS.items()} | {"described": _DESCRIBED},
    }


def _of_kind(kind: str) -> Json:
    body = {"anyOf": [{"$ref": f"#/$defs/{kind}"}, {"type": "null"}]}
    return {"properties": {"kind": {"const": kind}, "body": body}}


def _object(
    made: type[Any], *, own: Mapping[str, Mapping[str, Json]] | None = None, described: bool = True
) -> dict[str, Json]:
    """Return the schema of a dataclass: nothing but its fields, and all of those that have no default."""
    hints = get_type_hints(made)
    about, words = _words(made)
    properties: dict[str, Json] = {}
    for field in fields(made):
        form = (own or {}).get(field.name) or _form(field.name, hints[field.name], described=described)
        properties[field.name] = {**_said(words.get(field.name)), **form}
    return {
        **_said(about),
        "type": "object",
        "properties": properties,
        "required": [field.name for field in fields(made) if field.default is MISSING],
        "additionalProperties": False,
    }


def _form(name: str, hint: object, *, described: bool) -> dict[str, Json]:
    """Return what a field of this type may hold; raise TypeError for a type that no event had until now."""
    if hint is Any:
        return {}
    optional = get_origin(hint) is UnionType
    wanted = [part for part in get_args(hint) if part is not NoneType] if optional else [hint]
    forms = [_digits() if name in TIMES else _of_type(part) for part in wanted]
    if optional:
        forms.append({"type": "null"})
    if described:
        forms.append(_OR_DESCRIBED)
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _of_type(hint: object) -> dict[str, Json]:
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple and parts == (str, Ellipsis):
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, _OR_DESCRIBED]}}
    if origin is tuple and parts == (Any, Ellipsis):
        return {"type": "array"}
    if origin is Mapping:
        return {"type": "object"}
    raise TypeError(f"no JSON Schema is known for {hint}")


def _digits() -> dict[str, Json]:
    return {"type": "string", "pattern": "^-?[0-9]+$"}


def _said(text: str | None) -> dict[str, Json]:
    return {} if text is None else {"description": " ".join(text.split())}


def _words(made: type[Any]) -> tuple[str | None, dict[str, str]]:
    """Return the docstring of a class, and those that stand under its fields."""
    tree = ast.parse(inspect.getsource(sys.modules[made.__module__]))
    (found,) = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == made.__name__)
    words = {
        field.target.id: below.value.value
        for field, below in zip(found.body, found.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
    return ast.get_docstring(found), words
