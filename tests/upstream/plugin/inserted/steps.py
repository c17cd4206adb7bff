"""Sees graphs of `create_react_agent` that come to their last step: these end there without an error."""

from typing import Any

from langgraph.managed.is_last_step import RemainingStepsManager

from inserted.tally import Tally


def at_the_last_step(tally: Tally) -> None:
    """Write down every test in which an agent asks how many steps remain, and it is the last one."""
    get = RemainingStepsManager.get

    def remaining(scratchpad: Any) -> int:
        steps = get(scratchpad)
        if steps < 2:  # from here on the agent calls no tool
            tally.last_step()
        return steps

    RemainingStepsManager.get = staticmethod(remaining)  # type: ignore[method-assign]
