"""Stage `check_live`: the policy's tools beside the real ones (E118, W212, W218).

Only where live tools are given.  `takes` may be narrower than a tool's schema, never wider: what the policy
lets through and the tool does not know is a slip, or the tool is not the one that was meant.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft, Slot, ToolDraft
from ringfence.dsl.live.shapes import Shape
from ringfence.dsl.live.takes import Excess, beyond, said, told, type_of
from ringfence.dsl.live.tools import LiveTool, Parameters, parameters_of
from ringfence.dsl.suggest import did_you_mean
from ringfence.dsl.types import Type

SHOWN = 20
"""How many names one report writes out: a server may have any number of tools."""
_LONGEST = 80
_MOST = 5_000
_PROTOCOL = "mcp/"
"""So begin the names of MCP's own requests in a policy; no server lists them."""


def check_live(draft: Draft) -> None:
    """Compare every tool of the policy with the live one that it is bound to."""
    if draft.live is None or draft.layer is not None:
        return
    declared = {bound_name(tool): tool for tool in draft.tools.values()}
    others = [name for name in _sayable(draft.live) if name not in declared]
    gone = 0
    for bound, tool in declared.items():
        live = draft.live.get(bound)
        if live is not None:
            _compare(draft, tool, live)
        elif tool.starts is None and not _own_body(tool) and not bound.startswith(_PROTOCOL):
            gone += 1
            draft.report(
                "W218",
                f"no live tool is called `{bound}`",
                tool.node.bound.span if tool.node.bound else tool.node.name.span,
                "none of the tools that were given has this name",
                # A name is compared with all others: where two sets have nothing in common, some are enough.
                (did_you_mean(bound, others) if gone <= SHOWN else "")
                or 'remove it, or bind it to the tool\'s real name: `tool NAME is "real-name" { … }`',
            )
    missing = [name for name in draft.live if name not in declared]
    if missing and draft.header is not None:
        _undeclared(draft, draft.header, missing)


def bound_name(tool: ToolDraft) -> str:
    """Return the framework's name of a tool."""
    return tool.node.bound.value if tool.node.bound else tool.node.name.text


def _own_body(tool: ToolDraft) -> bool:
    """True if the policy itself brings the body, so that no framework need have it."""
    return any(
        isinstance(clause, syntax.Runs) and isinstance(clause.what, syntax.Text) for clause in tool.clauses
    )


def _undeclared(draft: Draft, header: syntax.PolicyHeader, missing: list[str]) -> None:
    shown = ", ".join(f"`{_short(name)}`" for name in missing[:SHOWN])
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    some = "a live tool is" if len(missing) == 1 else f"{len(missing)} live tools are"
    draft.report(
        "W212",
        f"{some} not declared: {shown}{more}",
        header.name.span,
        "to the agent such a tool does not exist",
        "declare it, or leave it out; `ringfence init --tools` writes declarations to copy from",
    )


def _short(name: str) -> str:
    """Return a name for people; SECURITY: whoever runs the tool has chosen it, and a terminal obeys."""
    shown = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in name[:_LONGEST])
    return shown if len(name) <= _LONGEST else f"{shown}…"


def _sayable(names: Iterable[str]) -> list[str]:
    """Return the names that a report may say, of a schema or a set that may have any number of them."""
    return [name for name in islice(names, _MOST) if len(name) <= _LONGEST and name.isprintable()]


def _compare(draft: Draft, tool: ToolDraft, live: LiveTool) -> None:
    parameters = parameters_of(live)
    if parameters is None or tool.slots is None or tool.broken:
        return
    for slot in tool.slots.values():
        if slot.type.known:
            _compare_one(draft, tool, slot, parameters)


def _compare_one(draft: Draft, tool: ToolDraft, slot: Slot, live: Parameters) -> None:
    name = tool.node.name.text
    shape = live.shapes.get(slot.name)
    if shape is None:
        if not live.open:
            draft.report(
                "E118",
                f"the live tool of `{name}` has no parameter `{slot.name}`",
                slot.span,
                "it would refuse or drop this argument",
                did_you_mean(slot.name, _sayable(live.shapes))
                or _known(live)
                or "remove it: the tool takes nothing",
            )
        return
    why = beyond(slot.type, shape)
    if why is not None:
        _wider(draft, name, slot, shape, why)
    elif slot.optional and slot.name in live.required and "null" not in shape.kinds:
        draft.report(
            "E118",
            f"`{slot.name}` is optional here, and the live tool of `{name}` needs it",
            slot.span,
            "a call without it would fail",
            "remove `optional`",
        )


def _wider(draft: Draft, tool: str, slot: Slot, shape: Shape, why: Excess) -> None:
    optional = " optional" if slot.optional else ""
    if why.limit is not None:
        limited = replace(slot.type, at_most=why.limit, unit=why.unit)
        draft.report(
            "E118",
            f"`{slot.name}` may be larger here than the live tool of `{tool}` takes",
            slot.span,
            f"the live tool takes at most {why.limit} {why.unit}",
            f"write `{slot.name}: {said(limited)}{optional}`, or less",
        )
        return
    wanted = type_of(shape)
    draft.report(
        "E118",
        f"`{slot.name}` is `{slot.written}` here, and something else to the live tool of `{tool}`",
        slot.span,
        f"to the live tool it is {told(shape)}",
        f"write `{slot.name}: {said(wanted)}{optional}`, or less"
        if isinstance(wanted, Type)
        else "no type says that: leave it out of `takes`, and the schema alone types it",
    )


def _known(live: Parameters) -> str:
    names = _sayable(live.shapes)
    return "it takes " + ", ".join(f"`{name}`" for name in names[:8]) if names else ""
