"""Core conditions spelt in the words of the language again, for `explain` and for people who debug."""

import json

from ringfence.dsl.plan import Json
from ringfence.dsl.types import size_text

_OPPOSITE = {"==": "!=", "in": "not in"}
_FUNCTIONS = {"count": "size", "bytes": "size"}


def spell(core: Json) -> str:
    """Return a core condition as an author would write it."""
    match core[0]:
        case "always" | "true":
            return "always"
        case "false":
            return "never"
        case "and" | "or" as word:
            return f" {word} ".join(_part(part) for part in core[1:])
        case "not":
            return _negated(core[1])
        case "true?":
            return _operand(core[1])
        case "present":
            return f"{_operand(core[1])} is present"
        case "matches":
            return f"{_operand(core[1])} matches /{core[2].replace('/', chr(92) + '/')}/"
        case "every" | "some" as word:
            return f"{word} {core[1]} in {_operand(core[2])} satisfies ({spell(core[3])})"
    return _pair(core, core[0])


def _pair(core: Json, word: str) -> str:
    _, left, right = core
    if left[0] == "bytes" and right[0] == "const" and isinstance(right[1], int):
        return f"{_operand(left)} {word} {size_text(right[1])}"
    return f"{_operand(left)} {word} {_operand(right)}"


def _part(core: Json) -> str:
    return f"({spell(core)})" if core[0] in ("and", "or") else spell(core)


def _negated(core: Json) -> str:
    if core[0] == "present":
        return f"{_operand(core[1])} is missing"
    if core[0] in _OPPOSITE:
        return _pair(core, _OPPOSITE[core[0]])
    return f"not ({spell(core)})"


def _operand(core: Json) -> str:
    match core[0]:
        case "const":
            return json.dumps(core[1], ensure_ascii=False)
        case "arg" | "var":
            return str(core[1])
        case "principal":
            return f"principal.{core[1]}"
    return f"{_FUNCTIONS.get(core[0], core[0])}({_operand(core[1])})"
