"""Ways around the guard that a host's own parts could open: none of them runs what was not decided."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.capabilities import AbstractCapability, NativeTool
from pydantic_ai.capabilities.abstract import CapabilityOrdering
from pydantic_ai.exceptions import SkipToolExecution, UserError
from pydantic_ai.messages import ToolCallPart, ToolReturn
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.native_tools import CodeExecutionTool, MCPServerTool, WebSearchTool
from pydantic_ai.tools import Tool, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, WrapperToolset

from ringfence.adapters.pydantic_ai import Guarded
from ringfence.engine.decision import events as e
from ringfence.engine.seams.errors import EngineError
from tests.adapters.pydantic_ai.agents import ALICE, Notes, asked, events, play, statuses, verdicts
from tests.adapters.pydantic_ai.conftest import LoadGuard
from tests.adapters.pydantic_ai.scripted import Script

SEND = 'tool send { needs work  takes to: text  allow when to in ["bob", "carol"] }\n'
LOOK = 'tool look { needs work  takes what: text  allow when what != "classified" }\n'


@dataclass
class Changing(WrapperToolset[Any]):
    """A wrapper that changes an argument on the way in."""

    to: str = "eve"

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        return await super().call_tool(name, {**tool_args, "to": self.to}, ctx, tool)


@dataclass
class InPlace(WrapperToolset[Any]):
    """A wrapper that changes the very dict that it is handed."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        tool_args["to"] = "eve"
        return await super().call_tool(name, tool_args, ctx, tool)


@dataclass
class Twice(WrapperToolset[Any]):
    """A wrapper that calls a tool twice."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        first = await super().call_tool(name, tool_args, ctx, tool)
        return [first, await super().call_tool(name, tool_args, ctx, tool)]


@dataclass
class Answering(WrapperToolset[Any]):
    """A wrapper that answers by itself."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        return "from elsewhere"


class Wrapping(AbstractCapability[Any]):
    """A capability that puts a wrapper around the tools."""

    def __init__(self, kind: Any, *, innermost: bool = False, **options: Any) -> None:
        self._kind = kind
        self._innermost = innermost
        self._options = options

    def get_ordering(self) -> CapabilityOrdering | None:
        return CapabilityOrdering(position="innermost") if self._innermost else None

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        made: AbstractToolset[Any] = self._kind(toolset, **self._options)
        return made


class Rewriting(AbstractCapability[Any]):
    """A capability that changes arguments in its hook."""

    async def before_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any]
    ) -> dict[str, Any]:
        return {**args, "to": "eve"}


# ---- arguments that are changed on the way ---------------------------------------------------------


@pytest.mark.parametrize("kind", [Changing, InPlace])
@pytest.mark.parametrize("innermost", [True, False])
async def test_a_wrapper_of_a_later_capability_cannot_change_what_was_decided(
    load: LoadGuard, kind: Any, innermost: bool
) -> None:
    guard, notes = load(SEND), Notes()
    played = await play(
        guard,
        asked("send", to="bob"),
        tools=[notes.send],
        capabilities=[Wrapping(kind, innermost=innermost)],
    )
    assert notes.ran == []
    assert played.texts() == [("not authorized", True)]
    assert ("send", "deny") in await verdicts(guard)


@pytest.mark.parametrize("kind", [Changing, InPlace])
async def test_a_wrapper_around_a_toolset_of_the_host_cannot_change_what_was_decided(
    load: LoadGuard, kind: Any
) -> None:
    guard, notes = load(SEND), Notes()
    played = await play(
        guard,
        asked("send", to="bob"),
        run={"toolsets": [kind(FunctionToolset([notes.send]))]},
    )
    assert notes.ran == []
    assert played.texts() == [("not authorized", True)]


async def test_what_a_wrapper_makes_of_a_call_runs_if_that_is_allowed_too(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()
    await play(guard, asked("send", to="bob"), toolsets=[Changing(FunctionToolset([notes.send]), to="carol")])
    assert notes.ran == [("send", {"to": "carol"})]
    assert await verdicts(guard) == [("send", "allow"), ("send", "allow")]


async def test_each_call_that_a_wrapper_makes_counts(load: LoadGuard) -> None:
    guard, notes = load(SEND.replace("}", "rate 1 per run }")), Notes()
    played = await play(guard, asked("send", to="bob"), toolsets=[Twice(FunctionToolset([notes.send]))])
    assert notes.ran == [("send", {"to": "bob"})]
    assert played.texts() == [("not authorized", True)]


async def test_a_prefix_and_a_new_name_are_what_the_policy_knows(load: LoadGuard) -> None:
    guard = load(
        SEND.replace("tool send", 'tool mail_send is "mail_send"')
        + 'tool post is "post" { needs work  takes to: text  allow always }\n'
    )
    notes = Notes()
    toolsets = [
        FunctionToolset([notes.send]).prefixed("mail"),
        FunctionToolset([notes.send]).renamed({"post": "send"}),
        FunctionToolset([notes.send]).prefixed("other"),
    ]
    script = Script(
        [
            asked("mail_send", to="bob"),
            asked("mail_send", to="eve"),
            asked("post", to="eve"),
            asked("send", to="bob"),
            asked("other_send", to="bob"),
        ]
    )
    played = await play(guard, script=script, toolsets=toolsets)
    assert notes.ran == [("send", {"to": "bob"}), ("send", {"to": "eve"})]
    assert [one.failed for one in played.told] == [False, True, False, True, True]
    assert set(script.offered) == {frozenset({"mail_send", "post"})}


async def test_a_tool_that_prepares_itself_under_another_name_is_known_by_that(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()

    async def renamed(ctx: RunContext[Any], tool_def: ToolDefinition) -> ToolDefinition:
        tool_def.name = "wipe_all"
        return tool_def

    script = Script([asked("send", to="bob"), asked("wipe_all", to="bob")])
    played = await play(guard, script=script, tools=[Tool(notes.send, prepare=renamed)])
    assert notes.ran == []
    assert set(script.offered) == {frozenset()}
    assert played.texts() == [("not authorized", True), ("tool not found", True)]


async def test_two_tools_of_one_name_run_nothing(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()
    with pytest.raises(UserError, match="conflicts"):
        await play(
            guard,
            asked("send", to="bob"),
            toolsets=[FunctionToolset([notes.send]), FunctionToolset([notes.send])],
        )
    assert notes.ran == []
    assert await statuses(guard) == ["failed"]


# ---- tools that stand elsewhere --------------------------------------------------------------------


@dataclass
class Adding(WrapperToolset[Any]):
    """A wrapper outside that brings a tool of its own."""

    notes: Notes

    async def get_tools(self, ctx: Any) -> Any:
        own = await FunctionToolset([self.notes.wipe, self.notes.send]).get_tools(ctx)
        return {**await super().get_tools(ctx), **own}

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: Any, tool: Any) -> Any:
        if name in ("wipe", "send"):
            return await tool.toolset.call_tool(name, tool_args, ctx, tool)
        return await super().call_tool(name, tool_args, ctx, tool)


async def test_a_tool_that_an_outer_capability_adds_is_hidden_and_decided_too(load: LoadGuard) -> None:
    guard, notes = load(SEND + LOOK), Notes()
    script = Script(
        [asked("wipe", what="all"), asked("send", to="eve"), asked("send", to="bob"), asked("look", what="x")]
    )
    played = await play(guard, script=script, tools=[notes.look], before=[Wrapping(Adding, notes=notes)])
    assert notes.ran == [("send", {"to": "bob"}), ("look", {"what": "x"})]
    assert set(script.offered) == {frozenset({"send", "look"})}
    assert [one.failed for one in played.told] == [True, True, False, False]
    assert [verdict for _, verdict in await verdicts(guard)] == ["unknown", "deny", "allow", "allow"]


async def test_arguments_of_such_a_tool_cannot_be_changed_after_the_decision(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()
    played = await play(
        guard,
        asked("send", to="bob"),
        tools=[notes.look],
        before=[Wrapping(Adding, notes=notes)],
        capabilities=[Rewriting()],
    )
    assert notes.ran == []
    assert played.texts() == [("not authorized", True)]


async def test_what_an_outer_toolset_answers_by_itself_does_not_reach_the_model(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()
    played = await play(guard, asked("send", to="bob"), tools=[notes.send], before=[Wrapping(Answering)])
    assert notes.ran == []
    assert played.texts() == [("not authorized", True)]
    assert await verdicts(guard) == [("send", "deny")]


async def test_a_hook_that_skips_a_tool_runs_nothing(load: LoadGuard) -> None:
    class Skipping(AbstractCapability[Any]):
        async def before_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any) -> Any:
            raise SkipToolExecution("instead")

    guard, notes = load(SEND), Notes()
    played = await play(guard, asked("send", to="eve"), tools=[notes.send], capabilities=[Skipping()])
    assert notes.ran == []
    assert played.texts() == [("instead", False)]


async def test_a_hook_that_handles_errors_does_not_open_what_the_engine_could_not_decide(
    load: LoadGuard,
) -> None:
    class Handling(AbstractCapability[Any]):
        async def on_tool_execute_error(
            self, ctx: Any, *, call: Any, tool_def: Any, args: Any, error: Any
        ) -> Any:
            return "handled"

    guard, notes = load(SEND), Notes()
    capability = Guarded(guard, principal=ALICE)

    async def broken(*_: Any, **__: Any) -> Any:
        raise EngineError("the store is away")

    guard.aexecute = broken  # type: ignore[method-assign]
    played = await play(
        guard, asked("send", to="bob"), tools=[notes.send], capabilities=[Handling()], guarded=capability
    )
    assert notes.ran == []
    assert played.texts() == [("handled", False)]


async def test_a_body_that_calls_another_tool_through_the_framework_is_decided_there_too(
    load: LoadGuard,
) -> None:
    guard, notes = load(SEND + LOOK), Notes()

    async def look(ctx: RunContext[Any], what: str) -> str:
        """Look something up."""
        assert ctx.tool_manager is not None
        for number, to in enumerate(("eve", "bob")):
            part = ToolCallPart("send", {"to": to}, tool_call_id=f"inner-{number}")
            try:
                await ctx.tool_manager.handle_call(part)
            except Exception as error:
                notes.note("told", kind=type(error).__name__)
        return what

    await play(guard, asked("look", what="x"), tools=[look, notes.send])
    assert notes.ran == [("told", {"kind": "ToolFailedError"}), ("send", {"to": "bob"})]
    requested = await events(guard, e.CallRequested)
    assert [one.parent is not None for one in requested] == [False, True, True]


async def test_toolsets_that_come_with_the_run_and_that_change_are_guarded(load: LoadGuard) -> None:
    guard, notes = load(SEND + LOOK), Notes()
    agent: Agent[None, str] = Agent(
        Script([asked("send", to="eve"), asked("look", what="x"), asked("wipe", what="x")]).model(),
        capabilities=[Guarded(guard, principal=ALICE)],
    )

    @agent.toolset
    def changing(ctx: RunContext[Any]) -> FunctionToolset[Any]:
        return FunctionToolset([notes.look] if ctx.run_step > 1 else [notes.wipe])

    await agent.run("go", toolsets=[FunctionToolset([notes.send])])
    assert notes.ran == [("look", {"what": "x"})]


async def test_tools_that_are_put_in_place_of_the_agents_own_are_guarded(load: LoadGuard) -> None:
    guard, notes = load(SEND), Notes()
    agent: Agent[None, str] = Agent(
        Script([asked("send", to="eve"), asked("wipe", what="x")]).model(),
        capabilities=[Guarded(guard, principal=ALICE)],
    )
    with agent.override(tools=[notes.wipe], toolsets=[FunctionToolset([notes.send])]):
        await agent.run("go")
    assert notes.ran == []


# ---- tools of the provider -------------------------------------------------------------------------


class Native(AbstractCapability[Any]):
    """Adds a provider-side tool in the last hook before a request."""

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        request_context.model_request_parameters.native_tools.append(CodeExecutionTool())
        return request_context


async def test_tools_of_the_provider_are_offered_only_if_the_policy_declares_them(
    load: LoadGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = load('tool search is "web_search" { needs work  allow always }\n')
    script = Script([])
    await play(
        guard,
        script=script,
        capabilities=[
            NativeTool(WebSearchTool()),
            NativeTool(MCPServerTool(id="files", url="https://127.0.0.1/mcp")),
            Native(),
        ],
    )
    assert script.offered == [frozenset({"web_search"})]
    said = capsys.readouterr().err
    assert "`code_execution` is not offered" in said and "`mcp_server:files` is not offered" in said


async def test_tools_in_the_body_of_a_request_are_left_out(load: LoadGuard) -> None:
    guard, seen = load(""), []

    class Seeing(AbstractCapability[Any]):
        async def after_model_request(self, ctx: Any, *, request_context: Any, response: Any) -> Any:
            seen.append(dict(request_context.model_settings))
            return response

    body = {"tools": [{"type": "web_search"}], "seed": 7}
    await play(guard, capabilities=[Seeing()], run={"model_settings": {"extra_body": body}})
    assert seen == [{"extra_body": {"seed": 7}}]


# ---- results ---------------------------------------------------------------------------------------


async def test_content_beside_a_result_cannot_pass_the_policys_limit(load: LoadGuard) -> None:
    guard = load("tool look { needs work  takes what: text  allow always  result at most 40 bytes }\n")

    def look(what: str) -> Any:
        """Look something up."""
        return ToolReturn("short", content="long " * 100) if what == "content" else "x" * 100

    played = await play(guard, asked("look", what="content"), asked("look", what="plain"), tools=[look])
    refused, cut = played.told
    assert (refused.text, refused.failed) == ("not authorized", True)
    assert not cut.failed and len(cut.text) <= 40


async def test_content_beside_a_result_is_recorded_with_it(load: LoadGuard) -> None:
    guard = load(LOOK)

    def look(what: str) -> ToolReturn:
        """Look something up."""
        return ToolReturn("short", content=["and long"])

    await play(guard, asked("look", what="x"), tools=[look])
    (finished,) = await events(guard, e.CallFinished)
    assert finished.result == {"return_value": "short", "content": ["and long"]}


# ---- one capability --------------------------------------------------------------------------------


async def test_one_for_a_run_takes_the_place_of_the_agents_own(load: LoadGuard) -> None:
    strict, open_, notes = load(""), load(SEND), Notes()
    agent: Agent[None, str] = Agent(
        Script([asked("send", to="bob")]).model(),
        tools=[notes.send],
        capabilities=[Guarded(open_, principal=ALICE)],
    )
    await agent.run("go", capabilities=[Guarded(strict, principal=ALICE)])
    assert notes.ran == []
    assert await statuses(strict) == ["done"] and await statuses(open_) == []


async def test_two_of_one_list_are_refused(load: LoadGuard) -> None:
    guard = load(SEND)
    with pytest.raises(UserError, match="ringfence"):
        await play(guard, capabilities=[Guarded(guard)])
