"""`isolate_tool`: a tool of the policy whose body is JavaScript, as a LangChain tool made of the policy."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.tools import tool as make_tool
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from ringfence.adapters.langchain.functions import parameters_of
from ringfence.adapters.langchain.gate import gate_of
from ringfence.adapters.langchain.inner import InnerTool, bodies_of, inner_tool
from ringfence.adapters.langchain.parameters import Parameters
from ringfence.adapters.langchain.tools import guarded, own_method, refuse_own_doors
from ringfence.dsl.plan import Json, ToolPlan
from ringfence.dsl.signatures import Hosted, bodies_for, description_of, isolated_tool, json_schema
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError

_BEFORE_RUN = ("_parse_input", "_to_args_and_kwargs")
"""In these LangChain looks at what a model wrote, before it calls `_run`."""


def isolate_tool(
    guard: Guard,
    name: str,
    *,
    inner: Sequence[BaseTool | Callable[..., Any]] = (),
    description: str | None = None,
) -> BaseTool:
    """Return the guarded tool for a policy's tool that `runs …` in an isolate: its body is the JavaScript.

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
    brought = [inner_tool(needed[tool.name], tool, parameters) for tool, parameters in originals]
    hosted = {needed[one.tool.name].name: _hosted(needed[one.tool.name], one) for one in brought}
    made = guarded(
        guard,
        StructuredTool(
            name=plan.bound,
            description=description_of(guard.plan, plan, purpose=description, hosted=hosted),
            args_schema=json_schema(plan),
            func=_never,
            coroutine=_anever,
        ),
    )
    gate = gate_of(made)
    assert gate is not None, "a guarded copy has a gate"
    gate.inner = bodies_of(brought)
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
        if gate.guard is not guard and not guard.plays_back:
            raise ValueError(f"`{tool.name}` is guarded by another guard")
        tool = gate.tool
    refuse_own_doors(tool)
    if (name := own_method(tool, _BEFORE_RUN)) is not None:
        # SECURITY: what it refuses or changes there would be passed by: a call from code begins with `_run`.
        raise TypeError(
            f"`{tool.name}` cannot be called from `{plan.bound}`: it has a `{name}` of its own;"
            " do its work in `_run`"
        )
    parameters = parameters_of(tool)
    if injected := sorted(parameters.injected):
        raise TypeError(
            f"`{tool.name}` cannot be called from `{plan.bound}`: the framework injects its `{injected[0]}`,"
            " and a call from an isolate comes through no graph; give a tool that needs no such parameter"
        )
    return tool, parameters


def _hosted(plan: ToolPlan, one: InnerTool) -> Hosted:
    schema = _schema(one.tool) if plan.parameters is None else {}
    return Hosted(one.tool.description, one.defaults, one.must_be_given, schema)


def _schema(tool: BaseTool) -> dict[str, Json]:
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        return schema
    try:
        return schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()
    except (
        PydanticUserError,
        ValueError,
    ):  # a type that JSON Schema does not have: any arguments are offered
        return {}


def _never(**_: Any) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")


async def _anever(**_: Any) -> NoReturn:
    raise EngineError("the body of this tool is JavaScript")
