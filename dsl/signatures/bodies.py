"""Which bodies the host must give for the calls that code in an isolate may make, and which it may not."""

from collections.abc import Iterable

from ringfence.dsl.plan import Plan, ToolPlan
from ringfence.dsl.suggest import closest


class UnfitInnerError(ValueError):
    """What the host gives for inner calls is not what the policy lets code call."""


def isolated_tool(plan: Plan, name: str) -> ToolPlan:
    """Return the tool of this name (the framework's, or the policy's own) that runs in an isolate.

    Raises:
        ValueError: There is none, or its body is a function.
    """
    tool = plan.by_bound_name.get(name) or plan.tools.get(name)
    if tool is None:
        near = closest(name, [one.bound for one in plan.tools.values() if one.isolated is not None])
        help = "" if near is None else f"; did you mean `{near}`?"
        raise ValueError(f"the policy `{plan.policy}` has no tool `{name}`{help}")
    if tool.isolated is None:
        raise ValueError(f"`{name}` does not run in an isolate: guard its function instead")
    return tool


def bodies_for(plan: Plan, tool: ToolPlan, given: Iterable[str]) -> dict[str, ToolPlan]:
    """Return the tools that the code of `tool` reaches and whose bodies are functions, by the bound names.

    What it may call and that runs in an isolate itself needs no body, but what that may call does.

    Raises:
        UnfitInnerError: One of them is not given, or one is given that no code could call.
    """
    needed, isolated = _reached(plan, tool)
    names = list(given)
    for name in names:
        if names.count(name) > 1:
            raise UnfitInnerError(f"two bodies for `{name}` are given to `{tool.bound}`")
        if name in isolated or name == tool.bound:
            raise UnfitInnerError(f"`{name}` runs in an isolate itself: it has no body to give")
        if name not in needed:
            raise UnfitInnerError(_unknown(plan, tool, name, needed))
    if missing := sorted(set(needed) - set(names)):
        raise UnfitInnerError(
            f"the code of `{tool.bound}` may call `{missing[0]}`, and no body is given for it:"
            " name it in `inner`"
        )
    return needed


def _reached(plan: Plan, tool: ToolPlan) -> tuple[dict[str, ToolPlan], set[str]]:
    needed: dict[str, ToolPlan] = {}
    isolated: set[str] = set()
    waiting, seen = [tool], {tool.name}
    while waiting:
        one = waiting.pop()
        if one.isolated is None:
            needed[one.bound] = one
            continue
        isolated.add(one.bound)
        for name in plan.isolates[one.isolated.isolate].may_call - seen:
            seen.add(name)
            waiting += [plan.tools[name]] if name in plan.tools else []
    return needed, isolated


def _unknown(plan: Plan, tool: ToolPlan, name: str, needed: dict[str, ToolPlan]) -> str:
    called = plan.tools.get(name)
    if called is not None and called.bound in needed:
        return f"the policy binds `{name}` as `{called.bound}`: give the tool of that name"
    known = "" if name in plan.by_bound_name else f"; the policy `{plan.policy}` has no tool of this name"
    return f"the code of `{tool.bound}` may not call `{name}`: take it out of `inner`{known}"
