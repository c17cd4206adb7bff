"""Which tool a call of an agent reaches: the guarded copy of the one it was made with, and no other."""

from typing import Any

from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest

from ringfence.adapters.langchain import tools
from ringfence.adapters.langchain.gate import Gate, gate_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import DeniedError


class UnboundToolError(DeniedError):
    """What would run is not the tool that the agent was made with."""


class SealedRequest(ToolCallRequest):
    """A request whose tool cannot be exchanged by middleware further inside."""

    def override(self, **overrides: Any) -> "SealedRequest":
        """See `ToolCallRequest.override`."""
        if overrides.get("tool", self.tool) is not self.tool:
            raise UnboundToolError("another middleware exchanged the tool behind the guard")
        return super().override(**overrides)  # type: ignore[return-value]


class BoundTools:
    """The tools of one agent, each with its guarded copy."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._copies: dict[int, tuple[BaseTool, BaseTool]] = {}

    def sealed(self, request: ToolCallRequest, call: dict[str, Any]) -> tuple[SealedRequest, Gate]:
        """Return the request with the guarded tool in it.

        Raises:
            UnboundToolError: The name has no tool, or another than the agent was made with.
        """
        tool, gate = self._checked(call["name"], request)
        sealed = SealedRequest(tool_call=call, tool=tool, state=request.state, runtime=request.runtime)  # type: ignore[arg-type]
        return sealed, gate

    def _checked(self, name: str, request: ToolCallRequest) -> tuple[BaseTool, Gate]:
        tool: BaseTool | None = request.tool
        if tool is None:
            raise UnboundToolError("no tool of this name is bound")
        gate = gate_of(tool)
        if gate is not None and gate.guard is self._guard and gate.name == name:
            return tool, gate
        registered = next((one for one in request.runtime.tools if one.name == name), None)
        if registered is None or registered is not tool:
            # SECURITY: another middleware exchanged the tool; what would run is not what is decided.
            raise UnboundToolError("the tool is not the one that is bound under this name")
        return self.guarded(tool)

    def guarded(self, tool: BaseTool) -> tuple[BaseTool, Gate]:
        """Return the guarded copy of a tool, one for each object, with its gate."""
        _, copy = self._copies.get(id(tool)) or self._copies.setdefault(
            id(tool), (tool, tools.guarded(self._guard, tool))
        )
        found = gate_of(copy)
        assert found is not None, "a guarded copy has a gate"
        return copy, found
