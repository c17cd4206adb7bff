"""What a model is offered: guarded tools that the policy declares, and nothing that runs unseen by default.

A tool that the provider runs cannot be intercepted: it is offered only if the policy declares one of its name
or type.  One that the SDK runs on this machine and that is no function is never offered: what it does is no
call with arguments that a policy could decide.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from agents import ApplyPatchTool, ComputerTool, FunctionTool, LocalShellTool, ShellTool, Tool

from ringfence.adapter import Guard, Run, undeclared
from ringfence.adapters.openai_agents.tools import gate_of

SCAFFOLD: Final = "openai-agents:MODULE:NAME"

_HERE: tuple[type, ...] = (ComputerTool, LocalShellTool, ApplyPatchTool)
"""Of the SDK's own kinds, those whose work is done by this process."""

_HOSTED: Final = frozenset(
    [
        "FileSearchTool",
        "WebSearchTool",
        "HostedMCPTool",
        "CodeInterpreterTool",
        "ImageGenerationTool",
        "ToolSearchTool",
    ]
)
"""Of the SDK's own kinds, those whose work is done by the provider.

SECURITY: a kind that is not known here may run on this machine, so it is never offered.
"""


class Offered:
    """Filters what a model is offered; says once of each tool that no policy declares that it is hidden."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def shown(self, run: Run, tools: Sequence[Tool]) -> list[Tool]:
        """Return the tools that the policy declares and the run holds; functions among them are guarded."""
        gates = [gate for tool in tools if (gate := gate_of(tool)) is not None]
        undeclared(self._guard, [gate.name for gate in gates], SCAFFOLD)
        return [tool for tool in tools if self._is_shown(run, tool)]

    def _is_shown(self, run: Run, tool: Tool) -> bool:
        gate = gate_of(tool)
        if gate is not None:
            return gate.guard is self._guard and bool(self._guard.visible(run, [gate.name]))
        if isinstance(tool, FunctionTool):
            return False  # fails closed: nothing stands before it
        names = list(names_of(tool))
        if not _is_hosted(tool):
            self._say(
                names[0], "it runs on this machine, where no call of it can be decided; make it a function"
            )
            return False
        if self._guard.visible(run, names):
            return True
        self._say(
            names[0],
            "it would run at the provider, where no call is seen, and the policy does not declare it",
        )
        return False

    def _say(self, name: str, why: str) -> None:
        with self._lock:
            if name in self._said:
                return
            self._said.add(name)
        print(f"ringfence: `{name}` is not offered to the model: {why}", file=sys.stderr)


def names_of(tool: Any) -> Iterator[str]:
    """Yield the names by which a policy may declare a tool of the provider: its own, then its type."""
    config = getattr(tool, "tool_config", None)
    label = config.get("server_label") if isinstance(config, dict) else None
    for name in (label, getattr(tool, "name", None), getattr(tool, "type", None), type(tool).__name__):
        if isinstance(name, str):
            yield name


def _is_hosted(tool: Any) -> bool:
    if isinstance(tool, _HERE):
        return False
    if isinstance(tool, ShellTool):
        environment = getattr(tool, "environment", None) or {"type": "local"}
        return bool(environment.get("type") != "local" and tool.executor is None)
    return type(tool).__name__ in _HOSTED and type(tool).__module__.startswith("agents.")
