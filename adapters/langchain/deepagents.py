"""The sub-agents of deepagents: each brings tools of its own, such as `write_file`, that only its agent has.

Guarding the tools that you hand out does not cover these, and middleware of the main agent does not see them:
every sub-agent needs a middleware in its own list, the general-purpose one, that nobody asked for, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ringfence.adapters.langchain.gate import gate_of
from ringfence.adapters.langchain.middleware import GuardMiddleware
from ringfence.engine.enforcement.guard import Guard

GENERAL_PURPOSE: Final = "general-purpose"


def guard_subagents(
    guard: Guard,
    subagents: Iterable[Mapping[str, Any]] = (),
    *,
    general_purpose: bool = True,
    **options: Any,
) -> list[Any]:
    """Return the specifications with a `GuardMiddleware` in each: `create_deep_agent(subagents=…)`.

    The general-purpose sub-agent, which deepagents adds by itself, is among them: with the main agent's tools
    and model, as there.  A sub-agent acts as the policy's agent of its name, if there is one.

    Args:
        subagents: As deepagents takes them.
        general_purpose: Bring the general-purpose sub-agent if it is not in `subagents`; say False only
            where a profile of deepagents disables it.
        options: Those of `GuardMiddleware`, for all of them.

    Raises:
        ValueError: A sub-agent was compiled before, with tools that nobody guards, or runs elsewhere.
    """
    specs = [dict(spec) for spec in subagents]
    if general_purpose and all(spec.get("name") != GENERAL_PURPOSE for spec in specs):
        from deepagents.middleware.subagents import GENERAL_PURPOSE_SUBAGENT  # whoever comes here has it

        specs.insert(0, dict(GENERAL_PURPOSE_SUBAGENT))
    return [_guarded(guard, spec, options) for spec in specs]


def _guarded(guard: Guard, spec: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    name = str(spec.get("name"))
    if "graph_id" in spec:
        raise ValueError(
            f"the sub-agent `{name}` runs elsewhere, where no call can be intercepted: add it to the list"
            " yourself if its own deployment guards it"
        )
    if "runnable" in spec:
        _refuse_unguarded(guard, name, spec["runnable"])
        return spec
    before = list(spec.get("middleware") or ())
    if any(isinstance(one, GuardMiddleware) and one.guard is guard for one in before):
        return spec
    about = dict(options)
    if name in guard.plan.agents:
        about.setdefault("agent", name)
    return {**spec, "middleware": [*before, GuardMiddleware(guard, **about)]}


def _refuse_unguarded(guard: Guard, name: str, runnable: Any) -> None:
    """Raise ValueError unless a compiled graph shows that it is guarded: nothing can be put into it."""
    nodes: Mapping[str, Any] = getattr(runnable, "nodes", None) or {}
    bound = [getattr(node, "bound", None) for node in nodes.values()]
    hooks = [getattr(getattr(node, "func", None), "__self__", None) for node in bound]
    if any(isinstance(one, GuardMiddleware) and one.guard is guard for one in hooks):
        return
    tools = [tool for node in bound for tool in (getattr(node, "tools_by_name", None) or {}).values()]
    gates = [gate_of(tool) for tool in tools]
    if tools and all(gate is not None and gate.guard is guard for gate in gates):
        return
    raise ValueError(
        f"the sub-agent `{name}` was compiled before, and nothing shows that it is guarded: make its agent"
        " with `GuardMiddleware(guard)`, or of `guard_tools(guard, tools)` alone"
    )
