"""What the `AgentExecutor` of langchain-classic does by itself, around guarded tools.

It calls `run` of a tool with arguments alone, and takes a text for an answer.  A name that it does not have
it answers with the names of the tools that it has, in the words of a tool of its own.
"""

from collections.abc import Mapping
from typing import Any, Final

from ringfence.adapters.langchain.runs import guard_of
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError

_RUN_WITH: Final = frozenset({"verbose", "color"})
_INVALID: Final = ("invalid_tool", frozenset({"requested_tool_name", "available_tool_names"}))
_UNBOUND: Final = "no tool of this name is bound"


def is_executor(passed: Mapping[str, Any]) -> bool:
    """Say whether this is how an executor calls `run`: without a config, which every `invoke` passes on."""
    return _RUN_WITH <= passed.keys() and "config" not in passed


def refuse_unknown(tool: str, inputs: object, run: Run) -> bool:
    """Record that a model asked for a name that its executor does not have; say whether that is what runs.

    Raises:
        RunHaltedError: That was one denial too many.
    """
    name, given = _INVALID
    if tool != name or not isinstance(inputs, Mapping) or inputs.keys() != given:
        return False
    guard = guard_of(run)
    if guard is not None and not run.ended:
        try:
            guard.refuse(run, ToolCall(str(inputs["requested_tool_name"]), {}), _UNBOUND)
        except DeniedError:
            pass  # recorded and counted; the executor tells the model so in its own words
    return True
