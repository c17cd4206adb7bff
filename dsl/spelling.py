"""Core conditions spelt in the words of the language again, for `explain` and for people who debug."""

import json
from collections.abc import Sequence

from ringfence.dsl.plan import Json
from ringfence.dsl.types import DAYS, duration_text, size_text

_OPPOSITE = {"==": "!=", "in": "not in"}
_FUNCTIONS = {"count": "size", "bytes": "size"}


def spell(core: Json, levels: Sequence[str] = ()) -> str:
    """Return a core condition as an author would write it; `levels` are the plan's, lowest first."""
    match core[0]:
        case "always" | "true":
            return "always"
        case "false":
            return "never"
        case "and" | "or" as word:
            return f" {word} ".join(_part(part, levels) for part in core[1:])
        case "not":
            return _negated(core[1], levels)
        case "true?":
            return _operand(core[1], levels)
        case "present":
            return f"{_operand(core[1], levels)} is present"
        case "matches":
            return f"{_operand(core[1], levels)} matches /{core[2].replace('/', chr(92) + '/')}/"
        case "every" | "some" as word:
            return f"{word} {core[1]} in {_operand(core[2], levels)} satisfies ({spell(core[3], levels)})"
        case "after":
            return f"after {_event(core[1], levels)}{_extent(core[2])}"
        case "since":
            return (
                f"after {_event(core[1], levels)}{_extent(core[2])} with no {_event(core[3], levels)} since"
            )
        case "ordered":
            same = f" (same {core[3]})" if core[3] is not None else ""
            return f"in order after {' then '.join(_event(event, levels) for event in core[2])}{same}"
        case "carries":
            return f"{_operand(core[1], levels)} carries {_level(core[2], levels)}"
        case "comes_from" | "comes_only_from" as word:
            sources = ", ".join(_origin(origin) for origin in core[2])
            return f"{_operand(core[1], levels)} {word.replace('_', ' ')} [{sources}]"
        case "during":
            return _hours(core[1])
    return _pair(core, core[0], levels)


def _pair(core: Json, word: str, levels: Sequence[str]) -> str:
    _, left, right = core
    if left[0] == "bytes" and right[0] == "const" and isinstance(right[1], int):
        return f"{_operand(left, levels)} {word} {size_text(right[1])}"
    return f"{_operand(left, levels)} {word} {_operand(right, levels)}"


def _event(event: Json, levels: Sequence[str]) -> str:
    if event[0] == "reading":
        return f"reading {_level(event[1], levels)}"
    kind, name = event[1]
    target = name if kind == "tool" else f"any tool that needs {name}"
    if len(event) == 2:
        return target
    groups = [
        (f"{', '.join(tools)} " if len(event[2]) > 1 else "", spell(where or ["always"], levels))
        for where, tools in event[2]
    ]
    return f"{target} where ({'; '.join(f'{tools}{where}' for tools, where in groups)})"


def _level(rank: int, levels: Sequence[str]) -> str:
    return levels[rank] if rank < len(levels) else f"level {rank}"


def _extent(extent: Json) -> str:
    match extent:
        case ["within", ms]:
            return f" within {duration_text(ms * 1_000_000)}"
        case ["run"]:
            return " within this run"
    return ""


def _origin(origin: Json) -> str:
    match origin:
        case ["set", values]:
            return json.dumps(values, ensure_ascii=False)
        case ["tool", tool]:
            return str(tool)
        case ["field", tool, path]:
            return ".".join((tool, *path))
    return str(origin[0])


def _hours(hours: Json) -> str:
    days = ", ".join(DAYS[day] for day in hours["days"])
    return f"during {days} {hours['from']} to {hours['to']} in {json.dumps(hours['zone'])}"


def _part(core: Json, levels: Sequence[str]) -> str:
    return f"({spell(core, levels)})" if core[0] in ("and", "or") else spell(core, levels)


def _negated(core: Json, levels: Sequence[str]) -> str:
    if core[0] == "present":
        return f"{_operand(core[1], levels)} is missing"
    if core[0] in _OPPOSITE:
        return _pair(core, _OPPOSITE[core[0]], levels)
    return f"not ({spell(core, levels)})"


def _operand(core: Json, levels: Sequence[str]) -> str:
    match core[0]:
        case "const":
            return json.dumps(core[1], ensure_ascii=False)
        case "arg" | "var":
            return str(core[1])
        case "principal":
            return f"principal.{core[1]}"
        case "field":
            return ".".join((_operand(core[1], levels), *core[2]))
        case "as":
            return _operand(core[2], levels)
        case "call":
            return f"{core[1]}({', '.join(_operand(part, levels) for part in core[2])})"
        case "calls":
            return f"calls to {_event(core[1], levels)}{_extent(core[2])}"
    return f"{_FUNCTIONS.get(core[0], core[0])}({_operand(core[1], levels)})"
