"""What the host knows of a tool whose body it brings: beside the policy, the source of words and types."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ringfence.dsl.plan import Json

ANY_RECORD = "{ [name: string]: any }"

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_KINDS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "object": ANY_RECORD,
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Hosted:
    """One tool as the host brings it."""

    description: str = ""
    """Said where the policy says nothing."""
    defaults: Mapping[str, Json] = field(default_factory=dict)
    """What is filled in where a call leaves it out."""
    must_be_given: frozenset[str] = frozenset()
    """Parameters that code may not leave out, whatever the policy says."""
    schema: Mapping[str, Json] = field(default_factory=dict)
    """JSON Schema of the arguments, for a tool whose `takes` says nothing."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the object that a tool takes."""

    name: str
    type: str
    optional: bool
    remark: str = ""

    def __str__(self) -> str:
        told = f" // {self.remark}" if self.remark else ""
        return f"{_member_name(self.name)}{'?' if self.optional else ''}: {self.type};{told}"


def members_of(hosted: Hosted) -> Iterator[Member]:
    """Yield the members of the object that a JSON Schema describes; what has no plain type in it is `any`."""
    required = frozenset(hosted.schema.get("required") or ()) | hosted.must_be_given
    for name, one in (hosted.schema.get("properties") or {}).items():
        yield Member(name, _type(one), name not in required)


def _member_name(name: str) -> str:
    if name == "__proto__":
        # A literal `{ __proto__: … }` would set the prototype; the computed name is a member like any other.
        return '["__proto__"]'
    return name if _NAME.fullmatch(name) else json.dumps(name)


def _type(schema: Json) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    choices = schema.get("anyOf")
    if isinstance(choices, list) and choices:
        return " | ".join(dict.fromkeys(_type(one) for one in choices))
    kind = schema.get("type")
    if kind == "array":
        one = _type(schema.get("items"))
        return f"({one})[]" if " | " in one else f"{one}[]"
    return _KINDS.get(kind, "any") if isinstance(kind, str) else "any"
