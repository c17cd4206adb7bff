"""The contract of adapters, in each way into an agent."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, RunContext, capture_run_messages
from pydantic_ai.capabilities import AbstractCapability, NativeTool
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ToolCallPart
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.tools import ToolDefinition

from ringfence.adapters.pydantic_ai import Guarded, questions
from ringfence.testing import AdapterContract, Outcome, Scene
from tests.adapters.pydantic_ai.scripted import Script, told

NATIVE = {"web_search": WebSearchTool}


class Rewriting(AbstractCapability[Any]):
    """A host's hook that changes arguments."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def before_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any]
    ) -> dict[str, Any]:
        assert self._scene.rewrites is not None
        return self._scene.rewrites(call.tool_name, args)


def guarded(scene: Scene) -> Guarded:
    """Return the scene's capability; its prompt is what the user typed."""
    return Guarded(scene.guard, principal=scene.principal, agent=scene.agent, typed="prompt")


def agent_of(scene: Scene, script: Script, capability: Guarded) -> Agent[None, Any]:
    """Return the scene's agent."""
    tools = list(scene.tools)
    inner = scene.helper
    if inner is not None:

        async def helper(task: str) -> str:
            """Let somebody help."""
            played = Script(inner.turns, inner.last)
            await agent_of(inner, played, Guarded(scene.guard)).run(task)
            return "helped"

        tools.append(helper)
    after: list[AbstractCapability[Any]] = [Rewriting(scene)] if scene.rewrites is not None else []
    after += [NativeTool(NATIVE[name]()) for name in scene.provider_tools]
    return Agent(
        script.model(),
        tools=tools,
        capabilities=[capability, *after],
        output_type=[str, DeferredToolRequests],
    )


class Entry(AdapterContract):
    """What is common to all ways."""

    framework = "pydantic-ai"

    async def play(self, scene: Scene) -> Outcome:
        """Play the scene, after what was said before in its session."""
        histories: dict[str, list[ModelMessage]] = self.__dict__.setdefault("histories", {})
        history = histories.get(scene.session or "", []) if scene.session else []
        script = Script(scene.turns, scene.last, scene.before)
        script.earlier = sum(isinstance(one, ModelResponse) for one in history)
        agent = agent_of(scene, script, guarded(scene))
        conversation = scene.session
        outcome = await self._outcome(
            scene, agent, script, [scene.prompt], message_history=history, conversation_id=conversation
        )
        if scene.session and outcome.messages:
            histories[scene.session] = outcome.messages
        return outcome

    async def _outcome(
        self, scene: Scene, agent: Agent[None, Any], script: Script, prompt: Sequence[str], **more: Any
    ) -> "Played":
        played = Played()
        with capture_run_messages() as messages:
            try:
                result = await self.invoke(scene, agent, *prompt, **more)
            except Exception as error:
                played.error = error
            else:
                messages = result.all_messages()
                output = result.output
                if isinstance(output, DeferredToolRequests):
                    self._put_away(scene, agent, script, played, messages, output)
                else:
                    played.said = output
        earlier = len(more.get("message_history") or ()) if prompt else 0
        played.messages = list(messages)
        played.told = told(played.messages[earlier:])
        played.offered = script.offered
        return played

    def _put_away(
        self,
        scene: Scene,
        agent: Agent[None, Any],
        script: Script,
        played: "Played",
        messages: list[ModelMessage],
        output: DeferredToolRequests,
    ) -> None:
        saved = ModelMessagesTypeAdapter.dump_json(messages)
        assert {one.call_id for one in questions(output)} == {call.tool_call_id for call in output.approvals}
        yes = DeferredToolResults(approvals={call.tool_call_id: True for call in output.approvals})

        async def go_on() -> Outcome:
            # From what was saved, as another process would; our ticket alone says yes.
            history = ModelMessagesTypeAdapter.validate_json(saved)
            return await self._outcome(
                scene,
                agent_of(scene, script, guarded(scene)),
                script,
                (),
                message_history=history,
                deferred_tool_results=yes,
            )

        played.resume = played.claim = go_on

    async def invoke(self, scene: Scene, agent: Agent[None, Any], *prompt: str, **more: Any) -> Any:
        """Invoke the agent."""
        if scene.streamed:
            async with agent.run_stream(*prompt, **more) as streamed:
                output = await streamed.get_output()
            return Streamed(output, streamed.all_messages())
        return await agent.run(*prompt, **more)


class Played(Outcome):
    """An outcome with the messages that it left."""

    messages: list[ModelMessage]


class Streamed:
    """What was streamed, to its end."""

    def __init__(self, output: Any, messages: list[ModelMessage]) -> None:
        self.output = output
        self._messages = messages

    def all_messages(self) -> list[ModelMessage]:
        return self._messages


class TestRun(Entry):
    """`await agent.run(…)`."""


class TestRunSync(Entry):
    """`agent.run_sync(…)` and `agent.run_stream_sync(…)`, in a thread of their own."""

    cancels = False

    thread: ClassVar[ThreadPoolExecutor]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def one_thread(cls) -> Iterator[None]:
        """Keep one thread with one loop for all tests: what a test has abandoned comes to its end there."""
        cls.thread = ThreadPoolExecutor(1)
        yield
        cls.thread.submit(_close_loop).result()
        cls.thread.shutdown()

    async def invoke(self, scene: Scene, agent: Agent[None, Any], *prompt: str, **more: Any) -> Any:
        def work() -> Any:
            if scene.streamed:
                streamed = agent.run_stream_sync(*prompt, **more)
                return Streamed(streamed.get_output(), streamed.all_messages())
            return agent.run_sync(*prompt, **more)

        return await asyncio.get_running_loop().run_in_executor(self.thread, work)


def _close_loop() -> None:
    loop = asyncio.get_event_loop()
    left = asyncio.all_tasks(loop)
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=30))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class TestIter(Entry):
    """`async with agent.iter(…)`, node by node; who wants a stream opens the node of the request."""

    async def invoke(self, scene: Scene, agent: Agent[None, Any], *prompt: str, **more: Any) -> Any:
        async with agent.iter(*prompt, **more) as run:
            async for node in run:
                if scene.streamed and agent.is_model_request_node(node):
                    async with node.stream(run.ctx) as streamed:
                        async for _ in streamed:
                            pass
        assert run.result is not None
        return run.result


class TestEvents(Entry):
    """`agent.run_stream_events(…)`."""

    async def invoke(self, scene: Scene, agent: Agent[None, Any], *prompt: str, **more: Any) -> Any:
        result = None
        async with agent.run_stream_events(*prompt, **more) as events:
            async for event in events:
                result = getattr(event, "result", result)
        return result
