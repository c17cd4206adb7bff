"""What a tool says of its own failure: it must not pass by the limits of what it says otherwise."""

from typing import Any

import pytest
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import BaseModel

from tests.adapters.langchain.agents import HELLO, Invoke, agent_of, both, events, replies
from tests.adapters.langchain.conftest import LoadGuard
from tests.adapters.langchain.model import asks, call, says

LOUD = "secret " * 1_000


class Strict(BaseModel):
    number: int


def excepting() -> BaseTool:
    @tool
    def probe() -> str:
        """Probe."""
        raise ToolException(LOUD)

    probe.handle_tool_error = True
    return probe


def invalid() -> BaseTool:
    @tool
    def probe() -> str:
        """Probe."""
        return str(Strict.model_validate({"number": LOUD}))

    probe.handle_validation_error = lambda error: str(error.errors())
    return probe


@both
@pytest.mark.parametrize("make", [excepting, invalid])
@pytest.mark.parametrize("failure", ['"the tool failed"', "because"])
@pytest.mark.parametrize("limit", ["at most 100 bytes", "at most 3 rows", "in steps of 64 bytes"])
def test_a_handler_does_not_pass_by_the_limits_of_results(
    load: LoadGuard, invoke: Invoke, make: Any, failure: str, limit: str
) -> None:
    words = f"responses {{ failure says {failure} }}"
    guard = load(f"{words} tool probe {{ needs work  allow always  result {limit} }}")
    result = invoke(agent_of(guard, [make()], asks(call("probe")), says()), HELLO)
    assert replies(result) == ["the tool failed"]
    assert any(event.kind == "CallFailed" for event in events(guard))


def test_where_nothing_is_limited_a_handler_answers(load: LoadGuard) -> None:
    guard = load("tool probe { needs work  allow always }")
    assert replies(agent_of(guard, [excepting()], asks(call("probe")), says()).invoke(HELLO)) == [LOUD]
