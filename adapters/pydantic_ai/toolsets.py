"""The two toolsets around an agent's own: one decides, one sees that nothing else reaches a body.

`GuardedToolset` stands around everything that the agent was given.  `SealedToolset` stands around each
innermost toolset, so that a wrapper between the two cannot exchange what was decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.messages import InstructionPart, ModelResponse
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_ai.toolsets.external import TOOL_SCHEMA_VALIDATOR

from ringfence.adapters.pydantic_ai.gate import Gate, arriving, decided_name
from ringfence.adapters.pydantic_ai.suspension import KEY
from ringfence.engine.enforcement.catalogue import undeclared

SCAFFOLD: Final = "pydantic-ai:MODULE:AGENT"
"""What `ringfence init --tools` reads an agent's tools from."""

_NOTHING: Final = {"ringfence": "nothing"}

_Instructions = str | InstructionPart | Sequence[str | InstructionPart] | None


@dataclass
class GuardedToolset(WrapperToolset[Any]):
    """Shows what the run may use, and decides each call."""

    gate: Gate

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools that the policy declares and the run holds."""
        tools = await self.wrapped.get_tools(ctx)
        turn = self.gate.turn
        undeclared(self.gate.guard, tools, SCAFFOLD)
        shown = {name: tools[name] for name in self.gate.guard.visible(turn.run, tools)}
        turn.listed = frozenset(shown)
        # SECURITY: a call of a tool that runs elsewhere would be handed out without a decision.
        turn.elsewhere = {name for name, tool in shown.items() if tool.tool_def.kind == "external"}
        for name in turn.elsewhere:
            tool = shown[name]
            shown[name] = replace(tool, tool_def=replace(tool.tool_def, kind="function"))
        asking = ctx.messages[-1] if ctx.messages else None
        if isinstance(asking, ModelResponse):  # of a history: its calls are made before any model is asked
            for name in {call.tool_name for call in asking.tool_calls} - shown.keys():
                shown[name] = nothing(name, self)
        return shown

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Decide the call and, if it is allowed, run it."""
        self.gate.reached(ctx)

        async def body(values: dict[str, Any]) -> Any:
            if name in self.gate.turn.elsewhere:
                # What the framework hands out is what the model wrote: beside it, what was decided.
                raise CallDeferred(metadata={KEY: {"arguments": values}})
            return await self.wrapped.call_tool(name, values, ctx, tool)

        return await self.gate.call(name, tool_args, ctx, tool, body)


@dataclass
class SealedToolset(WrapperToolset[Any]):
    """Runs what was decided, once; anything else that comes here is a call of its own."""

    gate: Gate

    async def get_instructions(self, ctx: RunContext[Any]) -> _Instructions:
        """Return the toolset's instructions; note those that are no code of the developer's."""
        said = await super().get_instructions(ctx)
        if said and not isinstance(self.wrapped, FunctionToolset):
            parts = [said] if isinstance(said, str | InstructionPart) else said
            self.gate.turn.foreign |= {part if isinstance(part, str) else part.content for part in parts}
        return said

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Run the decided call, or decide this one."""
        if arriving(self.gate, tool_args, tool):
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)

        # SECURITY: a wrapper has changed the arguments, or calls once more: that is decided, too.
        async def body(values: dict[str, Any]) -> Any:
            return await self.wrapped.call_tool(name, values, ctx, tool)

        return await self.gate.call(decided_name(self.gate) or name, tool_args, ctx, tool, body)


def guarded(gate: Gate, toolset: AbstractToolset[Any]) -> GuardedToolset:
    """Return the toolset with a guard around it, and a seal around each toolset inside."""

    def sealed(leaf: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return SealedToolset(leaf, gate)

    return GuardedToolset(toolset.visit_and_replace(sealed), gate)


class EveryName(dict[str, ToolsetTool[Any]]):
    """The tools of a step; under any other name stands nothing, so that its call comes to the guard's hooks.

    SECURITY: the framework's own answer to such a name lists tools, and nothing is recorded.
    """

    def __init__(self, tools: Mapping[str, ToolsetTool[Any]], toolset: AbstractToolset[Any]) -> None:
        super().__init__(tools)
        self._toolset = toolset

    def get(self, name: str, default: Any = None) -> Any:
        """Return the tool of this name, or what stands for nothing."""
        return self[name] if name in self else nothing(name, self._toolset)


def nothing(name: str, toolset: AbstractToolset[Any]) -> ToolsetTool[Any]:
    """Return what stands for a name that no tool has."""
    return ToolsetTool(
        toolset=toolset,
        tool_def=ToolDefinition(name=name, metadata=_NOTHING),
        max_retries=0,
        args_validator=TOOL_SCHEMA_VALIDATOR,
    )


def is_nothing(tool: ToolDefinition) -> bool:
    """Say whether it stands for a name that no tool has."""
    return (tool.metadata or {}).get("ringfence") == "nothing"
