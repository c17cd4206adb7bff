"""The two toolsets around an agent's own: one decides, one sees that nothing else reaches a body.

`GuardedToolset` stands around everything that the agent was given.  `SealedToolset` stands around each
innermost toolset, so that a wrapper between the two cannot exchange what was decided.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_ai import RunContext
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool

from ringfence.adapters.pydantic_ai.gate import Gate, arriving, decided_name
from ringfence.engine.enforcement.catalogue import undeclared

SCAFFOLD: Final = "pydantic-ai:MODULE:AGENT"
"""What `ringfence init --tools` reads an agent's tools from."""


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
        return shown

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Decide the call and, if it is allowed, run it."""
        self.gate.reached(ctx)

        async def body(values: dict[str, Any]) -> Any:
            if name in self.gate.turn.elsewhere:
                raise CallDeferred
            return await self.wrapped.call_tool(name, values, ctx, tool)

        return await self.gate.call(name, tool_args, ctx, tool, body)


@dataclass
class SealedToolset(WrapperToolset[Any]):
    """Runs what was decided, once; anything else that comes here is a call of its own."""

    gate: Gate

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
