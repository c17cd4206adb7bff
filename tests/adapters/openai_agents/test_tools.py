"""What tools give and how they fail, whatever kind of tool it is."""

import asyncio
import json
from typing import Any

import pytest
from agents import (
    FunctionTool,
    ToolOutputImage,
    ToolOutputText,
    ToolTimeoutError,
    UserError,
    function_tool,
    tool_namespace,
)
from agents.mcp import MCPServer
from mcp.types import CallToolResult, TextContent, Tool
from pydantic import BaseModel

from ringfence import EngineError, RunHaltedError
from ringfence.adapters.openai_agents import GuardedRunner
from tests.adapters.openai_agents.conftest import LoadGuard
from tests.adapters.openai_agents.desk import (
    ADD,
    ALICE,
    Ran,
    agent_of,
    asks,
    events,
    offered,
    statuses,
    told,
    verdicts,
)

READ = "tool read { needs work  allow always }\n"


class Page(BaseModel):
    title: str
    words: int


def read_of(result: Any) -> FunctionTool:
    @function_tool
    def read() -> Any:
        """Read."""
        return result

    return read


@pytest.mark.parametrize(
    "result",
    ["text", 5, None, {"a": [1, 2]}, Page(title="t", words=2), ToolOutputText(text="part"), ["a", "b"]],
    ids=["text", "number", "none", "record", "model", "part", "list"],
)
async def test_a_result_reaches_the_model_as_without_the_guard(load: LoadGuard, result: Any) -> None:
    from agents import Runner

    bare = agent_of([read_of(result)], asks("read", {}))
    await Runner.run(bare, "go")
    agent = agent_of([read_of(result)], asks("read", {}))
    await GuardedRunner(load(READ)).run(agent, "go", principal=ALICE)
    assert told(agent.model) == told(bare.model)


async def test_images_pass_and_are_recorded(load: LoadGuard) -> None:
    guard = load(READ)
    image = ToolOutputImage(image_url="data:image/png;base64,AAAA")
    agent = agent_of([read_of([ToolOutputText(text="look"), image])], asks("read", {}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    (finished,) = events(guard, "CallFinished")
    assert "look" in str(finished.result) and "AAAA" in str(finished.result)
    assert "input_image" in told(agent.model)[0]


@pytest.mark.parametrize("result", ["x" * 500, ToolOutputText(text="x" * 500)])
async def test_what_the_policy_cuts_the_model_does_not_read(load: LoadGuard, result: Any) -> None:
    guard = load(READ.replace("allow", "result at most 100 bytes  allow"))
    agent = agent_of([read_of(result)], asks("read", {}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert told(agent.model)[0].count("xx") <= 50


def broken(**more: Any) -> FunctionTool:
    def read() -> str:
        """Read."""
        raise RuntimeError("disk 7 is on fire")

    made: FunctionTool = function_tool(**more)(read)
    return made


async def test_a_failure_is_told_as_the_tool_says_and_recorded_as_it_is(load: LoadGuard) -> None:
    guard = load(READ + "responses { failure says because }")
    agent = agent_of([broken(failure_error_function=lambda context, error: "try later")], asks("read", {}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    (failed,) = events(guard, "CallFailed")
    assert told(agent.model) == ["try later"] and "disk 7" in failed.error


async def test_a_failure_that_the_tool_does_not_tell_comes_out(load: LoadGuard) -> None:
    guard = load(READ)
    agent = agent_of([broken(failure_error_function=None)], asks("read", {}))
    with pytest.raises(UserError, match="disk 7"):
        await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert statuses(guard) == ["failed"]


async def test_the_policys_word_for_failures_goes_first(load: LoadGuard) -> None:
    guard = load(READ + 'responses { failure says "it did not work" }')
    agent = agent_of([broken(failure_error_function=lambda context, error: str(error))], asks("read", {}))
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert told(agent.model) == ["it did not work"]


@pytest.mark.parametrize("behavior", ["error_as_result", "raise_exception"])
async def test_the_tools_own_time_limit_still_holds(load: LoadGuard, behavior: Any) -> None:
    @function_tool(timeout=0.05, timeout_behavior=behavior)
    async def read() -> str:
        """Read."""
        await asyncio.Event().wait()
        return "never"

    agent = agent_of([read], asks("read", {}))
    runner = GuardedRunner(load(READ))
    if behavior == "error_as_result":
        await runner.run(agent, "go", principal=ALICE)
        assert "timed out" in told(agent.model)[0]
    else:
        with pytest.raises(ToolTimeoutError):
            await runner.run(agent, "go", principal=ALICE)


async def test_a_refusal_fits_a_tool_that_says_what_it_gives(load: LoadGuard) -> None:
    ran = Ran()
    tool = ran.add()
    tool.output_json_schema = {"type": "object", "properties": {"sum": {"type": "integer"}}}
    agent = agent_of([tool], asks("add", {"amount": 500}))
    await GuardedRunner(load(ADD)).run(agent, "go", principal=ALICE)
    assert ran == [] and "not authorized" in told(agent.model)[0]


@pytest.mark.parametrize("behavior", ["stop_on_first_tool", {"stop_at_tool_names": ["add"]}])
async def test_an_agent_that_stops_at_its_tool_stops_at_a_refusal(load: LoadGuard, behavior: Any) -> None:
    ran = Ran()
    agent = agent_of([ran.add()], asks("add", {"amount": 500}), tool_use_behavior=behavior)
    result = await GuardedRunner(load(ADD)).run(agent, "go", principal=ALICE)
    assert ran == [] and result.final_output == "not authorized"


async def test_tools_of_one_name_are_told_apart_by_their_namespace(load: LoadGuard) -> None:
    ran = Ran()
    guard = load('tool crm_add is "crm.add" { needs work  takes amount: integer  allow always }')
    tools = tool_namespace(name="crm", description="Customers.", tools=[ran.add()])
    agent = agent_of(tools)
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert offered(agent.model) == [{"add"}]
    bare = agent_of([ran.add()])
    await GuardedRunner(guard).run(bare, "go", principal=ALICE)
    assert offered(bare.model) == [set()]


class Files(MCPServer):
    """A tool server in this process."""

    def __init__(self, ran: Ran) -> None:
        super().__init__()
        self.ran = ran

    @property
    def name(self) -> str:
        return "files"

    async def connect(self) -> None:
        """There is nothing to connect to."""

    async def cleanup(self) -> None:
        """Nor to leave."""

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
        return [
            Tool.model_validate({"name": name, "inputSchema": schema}) for name in ("open_file", "wipe_file")
        ]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> CallToolResult:
        self.ran.append((tool_name, arguments))
        return CallToolResult(content=[TextContent(type="text", text=f"opened {arguments['path']}")])

    async def list_prompts(self) -> Any:
        raise AssertionError("nobody asked")

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        raise AssertionError("nobody asked")


async def test_tools_of_a_server_are_hidden_guarded_and_checked(load: LoadGuard) -> None:
    ran = Ran()
    guard = load('tool open_file { needs work  takes path: text  allow when path == "a" }')
    agent = agent_of(
        [],
        asks("open_file", {"path": "a"}),
        asks("open_file", {"path": "b"}, "c2"),
        asks("wipe_file", {"path": "a"}, "c3"),
        asks("open_file", {"path": 5}, "c4"),
        mcp_servers=[Files(ran)],
    )
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert ran == [("open_file", {"path": "a"})] and set(map(frozenset, offered(agent.model))) == {
        frozenset({"open_file"})
    }
    assert verdicts(guard) == ["allow", "deny", "unknown", "deny"]
    assert "opened a" in told(agent.model)[0]


async def test_a_halt_ends_the_agent_with_the_policys_word(load: LoadGuard) -> None:
    ran = Ran()
    clauses = ADD.replace("needs work", "needs work  rate 1 per run otherwise halt")
    turns = [asks("add", {"amount": n}, f"c{n}") for n in range(3)]
    for streamed in (False, True):
        guard = load(clauses)
        agent = agent_of([ran.add()], *turns)
        runner = GuardedRunner(guard)
        if streamed:
            result: Any = runner.run_streamed(agent, "go", principal=ALICE)
            async for _ in result.stream_events():
                pass
        else:
            result = await runner.run(agent, "go", principal=ALICE)
        assert result.final_output == "not authorized" and statuses(guard) == ["halted"]
        assert len(agent.model.calls) == 2  # type: ignore[union-attr]
    assert ran == [0, 0]


@pytest.mark.parametrize("more", [{"on_halt": "raise"}, {}])
async def test_a_halt_comes_out_where_it_cannot_be_an_answer(load: LoadGuard, more: Any) -> None:
    guard = load(ADD.replace("needs work", "needs work  rate 1 per run otherwise halt"))
    turns = [asks("add", {"amount": n}, f"c{n}") for n in range(3)]
    agent = agent_of([Ran().add()], *turns, output_type=None if more else Page)
    with pytest.raises(RunHaltedError):
        await GuardedRunner(guard, **more).run(agent, "go", principal=ALICE)
    assert statuses(guard) == ["halted"]


async def test_a_stream_that_is_cancelled_ends_its_run(load: LoadGuard) -> None:
    guard = load(ADD)
    agent = agent_of([Ran().add()], asks("add", {"amount": 1}), asks("add", {"amount": 2}, "c2"))
    result = GuardedRunner(guard).run_streamed(agent, "go", principal=ALICE)
    async for _ in result.stream_events():
        result.cancel()
    assert statuses(guard) == ["failed"] or statuses(guard) == ["done"]


async def test_a_stream_that_nobody_reads_ends_its_run(load: LoadGuard) -> None:
    guard = load(ADD)
    result = GuardedRunner(guard).run_streamed(agent_of([]), "go", principal=ALICE)
    assert result.run_loop_task is not None
    await result.run_loop_task
    async with asyncio.timeout(30):
        while statuses(guard) != ["done"]:
            await asyncio.sleep(0.01)


async def test_a_failure_of_the_engine_comes_out_of_a_stream(load: LoadGuard) -> None:
    guard = load(ADD)
    runner = GuardedRunner(guard)
    guarded = runner.guarded(agent_of([]))
    guarded.handoffs.append(agent_of([], name="other"))
    result = runner.run_streamed(guarded, "go", principal=ALICE)
    with pytest.raises(EngineError):
        async for _ in result.stream_events():
            pass


async def test_parallel_calls_run_beside_one_another(load: LoadGuard) -> None:
    both = asyncio.Barrier(2)
    guard = load("tool meet { needs work  takes who: text  allow always }")

    @function_tool
    async def meet(who: str) -> str:
        """Meet."""
        await asyncio.wait_for(both.wait(), 30)
        return who

    agent = agent_of([meet], [*asks("meet", {"who": "a"}, "c1"), *asks("meet", {"who": "b"}, "c2")])
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert told(agent.model) == ["a", "b"]


async def test_a_tool_that_may_be_left_without_an_argument_is_decided_without_it(load: LoadGuard) -> None:
    got: list[Any] = []
    guard = load("tool find { needs work  takes text: text, limit: integer optional  allow always }")

    @function_tool
    def find(text: str, limit: int | None = None) -> str:
        """Find."""
        got.append((text, limit))
        return "found"

    agent = agent_of(
        [find], asks("find", {"text": "a"}), asks("find", json.dumps({"text": "b", "limit": 5}), "c2")
    )
    await GuardedRunner(guard).run(agent, "go", principal=ALICE)
    assert got == [("a", None), ("b", 5)]
