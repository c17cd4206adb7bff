"""`isolate_tool`: a tool of the policy whose body is JavaScript, as a LangChain tool made of the policy alone."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as make_tool

from ringfence.adapters.langchain.inner import InnerBodies, bodies_of
from ringfence.adapters.langchain.parameters import Parameters
from ringfence.adapters.langchain.tools import fit_to_guard, gate_of, guarded, parameters_of
from ringfence.dsl.plan import ToolPlan
from ringfence.dsl.signatures import bodies_for, description_of, isolated_tool, json_schema
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError


def isolate_tool(
    guard: Guard,
    name: str,
    *,
    inner: Sequence[BaseTool | Callable[..., Any]] = (),
    description: str | None = None,
) -> BaseTool:
    """Return the guarded tool for a policy's tool that `runs …` in an isolate; no function of yours is its body.

    Its name is the one that the policy binds, its parameters come from `takes`, its description from the
    policy.  Where it runs code of a model, the description says what that code may call, and how.

    Args:
        inner: The tools that its code may call: exactly those that `may call` names, but for tools that run
            in isolates themselves.  Originals or guarded copies: their calls are decided either way, once.
        description: What it is for, in place of the policy's own text.

    Raises:
        ValueError: The policy has no such tool, its body is a function, or `inner` is not what it may call.
        TypeError: Something in `inner` cannot be called by code: it is no tool, or wants injected arguments.
    """
    plan = isolated_tool(guard.plan, name)
    originals = [_original(guard, plan, one) for one in inner]
    needed = bodies_for(guard.plan, plan, [tool.name for tool, _ in originals])
    said = {needed[tool.name].name: tool.description for tool, _ in originals}
    made = guarded(
        guard,
        StructuredTool(
            name=plan.bound,
            description=description_of(guard.plan, plan, purpose=description, said=said),
            args_schema=json_schema(plan),
            func=_never,
            coroutine=_anever,
        ),
    )
    gate = gate_of(made)
    assert gate is not None, "a guarded copy has a gate"
    gate.inner = bodies_of(originals)
    return made


def _original(
    guard: Guard, plan: ToolPlan, one: BaseTool | Callable[..., Any]
) -> tuple[BaseTool, Parameters]:
    """Return the unguarded tool behind what is given, with its parameters."""
    if isinstance(one, dict) or not (isinstance(one, BaseTool) or callable(one)):
        raise TypeError("only tools that run here can be called from an isolate")
    tool = one if isinstance(one, BaseTool) else make_tool(one)
    gate = gate_of(tool)
    if gate is not None:
        if gate.guard is not guard:
            raise ValueError(f"`{tool.name}` is guarded by another guard")
        tool = gate.tool
    fit_to_guard(tool)
    parameters = parameters_of(tool)
    if injected := sorted(parameters.injected):
        raise TypeError(
            f"`{tool.name}` cannot be called from `{plan.bound}`: the framework injects its `{injected[0]}`, and"
            " a call from an isolate comes through no graph; give a tool that needs no such parameter"
        )
    return tool, parameters


def _never(**_: Any) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")


async def _anever(**_: Any) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")
