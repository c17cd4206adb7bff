"""Stage `leaks`: sensitive results that may leave (W206), and levels that nothing has (W208)."""

from collections.abc import Iterator

from ringfence.dsl.compile.tools import parts_of
from ringfence.dsl.compile.watches import asked
from ringfence.dsl.draft import Draft
from ringfence.dsl.plan import Json


def check_leaks(draft: Draft) -> None:
    """Look at what results may carry, and where it may go, in a policy without errors."""
    if draft.failed or draft.layer is not None or not draft.levels:
        return
    _attached(draft)
    named = [rank for name in draft.tools for part in _parts(draft, name) for rank in ranks(part)]
    given = {rank for name in draft.tools for rank in _given(draft, name)}
    sensitive = {rank for rank in given if named and rank >= min(named)}
    if not sensitive:
        return
    level = draft.levels[min(sensitive)]
    for name, tool in draft.tools.items():
        if "external" in tool.traits and tool.starts is None and not _guarded(draft, name, min(sensitive)):
            draft.report(
                "W206",
                f"what is {level} may leave by tool `{name}`",
                tool.node.name.span,
                "neither denied nor asked after reading it",
                f"add `rule no_leak: deny {name} when after reading {level}`, or ask someone",
            )


def _attached(draft: Draft) -> None:
    """Warn about levels of this policy that no result has; the lowest is what a session begins with."""
    if draft.own_levels is None or any(layer.own_levels is not None for layer in draft.ceilings):
        return
    attached = {label.rank for labels in draft.labels.values() for label in labels}
    for rank, name in enumerate(draft.own_levels.names):
        if rank and rank not in attached:
            draft.report(
                "W208",
                f"level `{name.text}` is attached to nothing",
                name.span,
                "no `result is` gives it",
                f"write `result is {name.text}` where it applies, or remove it",
            )


def _given(draft: Draft, name: str) -> Iterator[int]:
    """Yield the levels that results of a tool may carry."""
    for layer in (draft, *draft.ceilings):
        for label in layer.labels.get(name, ()):
            if label.rank is not None:
                yield label.rank


def _parts(draft: Draft, name: str) -> Iterator[Json]:
    for layer in (draft, *draft.ceilings):
        for part in parts_of(layer, name):
            if part.effect in ("allow", "deny", "ask"):
                yield part.core


def _guarded(draft: Draft, name: str, rank: int) -> bool:
    """True if something stops or asks about this tool once a result of that level was read."""
    allows: list[Json] = []
    for layer in (draft, *draft.ceilings):
        for part in parts_of(layer, name):
            if part.shadow:
                continue
            if part.effect == "allow":
                allows.append(part.core)
            elif part.effect in ("deny", "ask") and (
                part.core == ["true"] or any(one <= rank for one in _met(part.core))
            ):
                return True
    return all(any(one <= rank for one in _met(["not", core])) for core in allows)


def _met(core: Json, wanted: bool = True) -> Iterator[int]:
    """Yield the levels whose reading helps a condition to be true, for as long as the session lasts."""
    match core[0]:
        case "not":
            yield from _met(core[1], not wanted)
        case "and" | "or":
            for part in core[1:]:
                yield from _met(part, wanted)
        case "every" | "some":
            yield from _met(core[3], wanted)
        case "carries" if wanted:
            yield core[2]
        case "after" | "since" if wanted and core[1][0] == "reading" and core[2] == ["session"]:
            yield core[1][1]
        case "since" if not wanted and core[3][0] == "reading":
            yield core[3][1]


def ranks(core: Json) -> Iterator[int]:
    """Yield the levels that a condition names."""
    for atom in asked(core):
        if atom[0] == "carries":
            yield atom[2]
        elif atom[0] in ("after", "since"):
            events = (atom[1], atom[3]) if atom[0] == "since" else (atom[1],)
            yield from (event[1] for event in events if event[0] == "reading")
