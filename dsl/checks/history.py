"""What history is asked for: events with their `where`, extents, `after …`, `calls to …`, `carries …`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ringfence.dsl import syntax
from ringfence.dsl.canonical import canonical
from ringfence.dsl.checks.fold import FALSE, TRUE
from ringfence.dsl.checks.guards import parameters_named
from ringfence.dsl.checks.pairs import Typed
from ringfence.dsl.checks.satisfiable import never_true
from ringfence.dsl.draft import Draft, Slot
from ringfence.dsl.plan import Json
from ringfence.dsl.types import LARGEST, UNKNOWN, Type

if TYPE_CHECKING:
    from ringfence.dsl.checks.conditions import Lowering


def lower_after(lowering: "Lowering", node: syntax.After) -> Json:
    """Lower `after E` to `["after", …]`, with `with no F since` to `["since", …]`."""
    event = lower_event(lowering, node.event)
    extent = lower_extent(lowering, node.extent)
    since = None if node.since is None else lower_event(lowering, node.since)
    if event is None or extent is None or (since is None and node.since is not None):
        lowering.failed = True
        return FALSE
    return ["after", event, extent] if since is None else ["since", event, extent, since]


def lower_calls(lowering: "Lowering", node: syntax.CallsTo) -> Typed:
    """Lower `calls to E`, a count; only `Lowering` knows whether it stands where one may."""
    event, extent = lower_event(lowering, node.event), lower_extent(lowering, node.extent)
    if event is None or extent is None:
        lowering.failed = True
        return Typed(["const", None], UNKNOWN)
    if event[0] == "reading":
        lowering.clash(
            "`calls to` counts calls, and this is a result that was read",
            node.event.span,
            "",
            "name a tool: `calls to TOOL`, or write `after reading LEVEL`",
        )
        return Typed(["const", None], UNKNOWN)
    return Typed(["calls", event, extent], Type("count"))


def lower_carries(lowering: "Lowering", node: syntax.Carries) -> Json:
    """Lower `x carries LEVEL`: what the model writes carries what the session has read."""
    subject = lowering.value(node.subject)
    rank = rank_of(lowering, node.level)
    if rank is None or not subject.type.known:
        return FALSE
    if lowering.parameter_of(subject.core) is None:
        lowering.clash(
            "only what the model writes carries a level",
            lowering.word_between("carries", node.subject.span, node.level.span),
            "this is no parameter of the call",
            "name a parameter, or write `after reading …`",
        )
        return FALSE
    return ["carries", subject.core, rank]


def rank_of(lowering: "Lowering", level: syntax.Name) -> int | None:
    """Return the rank of a level, lowest 0; report one that `levels` does not declare (E103)."""
    levels = lowering.draft.levels
    if level.text in levels:
        return levels.index(level.text)
    lowering.failed = True
    if levels:
        lowering.draft.unknown("E103", "level", level, levels)
    elif level.text not in lowering.draft.document.lost:
        lowering.report(
            "E103",
            f"unknown level `{level.text}`",
            level.span,
            "the policy declares no levels",
            "declare them, lowest first: `levels public < internal < secret`",
        )
    return None


def lower_event(lowering: "Lowering", node: syntax.Event) -> Json | None:
    """Return the core form of an event; None after a mistake, which is reported."""
    if node.kind == "reading":
        rank = rank_of(lowering, node.name)
        return None if rank is None else ["reading", rank]
    draft = lowering.draft
    if node.kind == "tool":
        meant = draft.meant(node.name.text)
        if not meant:
            lowering.failed = True
            if tools_known(draft):
                draft.unknown("E101", "tool", node.name, draft.tools)
            return None
        target = ["tool", meant[0]] if len(meant) == 1 else ["either", sorted(meant)]
    elif node.name.text in draft.capabilities:
        target = ["needs", node.name.text]
    else:
        lowering.failed = True
        draft.unknown("E106", "capability", node.name, draft.capabilities)
        return None
    if node.where is None:
        return ["tools", target]
    groups = _where(lowering, node.where, tools_of(draft, target))
    if groups is None:
        return None
    return ["tools", target, groups] if groups else ["tools", target]


def tools_known(draft: Draft) -> bool:
    """Return False for a ceiling alone, which is no policy's yet: its rules may name tools of any."""
    return bool(draft.tools) or draft.header is None or not draft.header.is_ceiling


def tools_of(draft: Draft, target: Json) -> tuple[str, ...]:
    """Return the tools that an event names."""
    kind, name = target
    if kind == "tool":
        return (name,)
    if kind == "either":
        return tuple(name)
    return tuple(tool for tool, entry in draft.tools.items() if name in entry.needs)


def _where(lowering: "Lowering", node: syntax.Expression, tools: Iterable[str]) -> Json | None:
    """Return `[[condition, [tool…]]…]`: the condition typed for each tool, alike ones together."""
    draft = lowering.draft
    names = sorted(set(parameters_named(node)))
    alike: dict[object, Json] = {}
    groups: dict[bytes, Json] = {}
    failed = False
    for tool in tools:
        slots = draft.tools[tool].slots
        key = (slots is None, tuple(_kind_of((slots or {}).get(name)) for name in names))
        if key not in alike:
            core = alike[key] = lowering.of_call(tool, node)
            if core is not None and never_true(core):
                lowering.report(
                    "E120",
                    "this condition is never true",
                    node.span,
                    "no call can satisfy it",
                    "mend the part that contradicts the rest",
                )
        core = alike[key]
        failed |= core is None
        condition = None if core == TRUE else core
        groups.setdefault(canonical(condition), [condition, []])[1].append(tool)
    if failed:
        lowering.failed = True
        return None
    if len(groups) == 1 and canonical(None) in groups:
        return []
    return [[condition, sorted(found)] for _, (condition, found) in sorted(groups.items())]


def _kind_of(slot: Slot | None) -> object:
    return None if slot is None else (slot.type, slot.optional)


def lower_extent(lowering: "Lowering", node: syntax.Extent | None) -> Json | None:
    """Return the core form of an extent; None after a mistake."""
    if node is None:
        return ["session"]
    if node.within is None:
        return ["run"]
    ms = node.within.ns // 1_000_000
    if not 0 < ms <= LARGEST:
        lowering.report(
            "E112",
            "this window is too short to hold anything" if ms <= 0 else "this window is too long",
            node.within.span,
            "",
            "write a length such as `1 hour`, or nothing for the whole session",
        )
        return None
    return ["within", ms]
