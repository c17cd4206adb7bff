"""What a core condition mentions of the session, so that only this is remembered."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ringfence.dsl.checks.fold import TRUE
from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.compile.recalled import watch_key
from ringfence.dsl.plan import Happening, Json, Watch

ToolsNeeding = Callable[[str], Iterable[str]]
"""Capability -> the tools that need it."""

_WATCHED = ("after", "since", "calls", "ordered")
_TRACED = ("comes_from", "comes_only_from")


@dataclass(frozen=True, slots=True)
class Mentions:
    """What a condition asks besides the arguments and the principal."""

    history: bool = False
    labels: bool = False
    """A level is named: `carries …`, `after reading …`."""
    provenance: bool = False
    functions: frozenset[str] = frozenset()
    """Declared functions, by what the plan calls them."""
    calendars: bool = False

    @property
    def memory(self) -> bool:
        """True if the session must be remembered to decide it."""
        return self.history or self.labels or self.provenance


def mentions(core: Json) -> Mentions:
    """Return what a core condition (or operand) asks for, its parts included."""
    words: set[str] = set()
    functions: set[str] = set()
    for atom in _atoms(core):
        words.add(atom[0])
        if atom[0] == "call":
            functions.add(atom[1])
    watched = list(_watched(core))
    return Mentions(
        history=bool(watched),
        labels="carries" in words
        or any(event[0] == "reading" for atom in watched for event in _events(atom)),
        provenance=not words.isdisjoint(_TRACED),
        functions=frozenset(functions),
        calendars="during" in words,
    )


def watches_of(core: Json, needing: ToolsNeeding) -> Iterator[Watch]:
    """Yield each thing of history that a core condition mentions; the same key may come twice.

    Args:
        needing: The tools that `any tool that needs C` stands for.
    """
    for atom in _watched(core):
        happenings = tuple(_happening(event, needing) for event in _events(atom))
        extent: Json = ["session"] if atom[0] == "ordered" else atom[2]
        yield Watch(
            key=watch_key(atom),
            kind="order" if atom[0] == "ordered" else atom[0],
            events=happenings,
            within_ns=extent[1] * 1_000_000 if extent[0] == "within" else None,
            in_run=extent[0] == "run",
            same=atom[3] if atom[0] == "ordered" else None,
        )


def _happening(event: Json, needing: ToolsNeeding) -> Happening:
    if event[0] == "reading":
        return Happening({}, event[1])
    if len(event) > 2:
        return Happening(
            {
                tool: None if where is None or where == TRUE else bounded(where)
                for where, tools in event[2]
                for tool in tools
            }
        )
    kind, name = event[1]
    return Happening(dict.fromkeys((name,) if kind == "tool" else needing(name)))


def _events(atom: Json) -> list[Json]:
    match atom[0]:
        case "ordered":
            return list(atom[2])
        case "since":
            return [atom[1], atom[3]]
    return [atom[1]]


def _watched(core: Json) -> Iterator[Json]:
    return (atom for atom in _atoms(core) if atom[0] in _WATCHED)


def _atoms(core: Json) -> Iterator[Json]:
    """Yield every condition and operand in a core form; what stands inside an event is not of this call."""
    yield core
    parts: Iterable[Json]
    match core[0]:
        case "and" | "or" | "not":
            parts = core[1:]
        case "every" | "some":
            parts = core[2:]
        case "call":
            parts = core[2]
        case "as":
            parts = core[2:]
        case "const" | "arg" | "principal" | "var" | "true" | "false" | "always" | "during" | "after":
            parts = ()
        case "since" | "calls" | "ordered":
            parts = ()
        case "comes_from" | "comes_only_from" | "carries" | "field" | "matches":
            parts = core[1:2]
        case _:
            parts = core[1:]
    for part in parts:
        yield from _atoms(part)


def needing(needs: Mapping[str, Iterable[str]]) -> ToolsNeeding:
    """Return the lookup of `watches_of` from each tool's capabilities."""
    by_capability: dict[str, list[str]] = {}
    for tool, capabilities in needs.items():
        for capability in capabilities:
            by_capability.setdefault(capability, []).append(tool)
    return lambda capability: by_capability.get(capability, ())
