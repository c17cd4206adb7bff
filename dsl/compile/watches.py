"""What conditions ask of the session: what of history must be remembered, and whether texts are traced."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.compile.recalled import watch_key
from ringfence.dsl.plan import Condition, Happening, Json, Watch

ToolsOf = Callable[[Json], tuple[str, ...]]
"""Returns the tools that an event's target names, in the layer that says it."""

_TRACED = ("comes_from", "comes_only_from")
_WATCHED = ("after", "since", "calls", "ordered")


@dataclass(slots=True)
class Remembered:
    """What was met in conditions."""

    watches: dict[str, Watch] = field(default_factory=dict)
    traces: bool = False

    def meet(self, core: Json, tools_of: ToolsOf) -> None:
        """Take in what one condition or operand asks."""
        for atom in asked(core):
            if atom[0] in _TRACED:
                self.traces = True
            elif atom[0] in _WATCHED:
                key = watch_key(atom)
                if key not in self.watches:
                    self.watches[key] = _watch(key, atom, tools_of)


def asked(core: Json) -> Iterator[Json]:
    """Yield the atoms of a core condition or operand that ask history, labels or provenance."""
    kind = core[0]
    if kind in _WATCHED:
        yield core
    elif kind in _TRACED or kind == "carries":
        yield core
        yield from asked(core[1])
    elif kind == "call":
        for argument in core[2]:
            yield from asked(argument)
    elif kind == "field":
        yield from asked(core[1])
    elif kind not in ("const", "during"):
        for part in core[1:]:
            if isinstance(part, list):
                yield from asked(part)


def _watch(key: str, atom: Json, tools_of: ToolsOf) -> Watch:
    if atom[0] == "ordered":
        events = tuple(_happening(event, tools_of) for event in atom[2])
        return Watch(key, "order", events, same=atom[3])
    extent = atom[2]
    named = (atom[1], atom[3]) if atom[0] == "since" else (atom[1],)
    return Watch(
        key,
        atom[0],
        tuple(_happening(event, tools_of) for event in named),
        within_ns=extent[1] * 1_000_000 if extent[0] == "within" else None,
        in_run=extent[0] == "run",
    )


def _happening(event: Json, tools_of: ToolsOf) -> Happening:
    if event[0] == "reading":
        return Happening({}, event[1])
    if len(event) == 2:
        return Happening(dict.fromkeys(tools_of(event[1])))
    tools: dict[str, Condition | None] = {}
    for where, names in event[2]:
        condition = None if where is None else bounded(where)
        tools.update(dict.fromkeys(names, condition))
    return Happening(tools)
