"""How the OpenAI Agents SDK plays a scene of the contract: with a scripted model, by each of the runner's ways."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from agents import Agent, RunHooks, RunState, Session, WebSearchTool, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from pydantic import BaseModel

from ringfence.adapters.openai_agents import GuardedRunner
from ringfence.testing import AdapterContract, Asked, Outcome, Scene, Told

REFUSALS = frozenset(
    [
        "not authorized",
        "tool not found",
        "the tool failed",
        "An error occurred while running the tool. Please try again.",
    ]
)
"""What is told in place of a result: the SDK has no form of its own for a failure."""


class Script:
    """A model that answers by how far its input shows the scene to be."""

    def __init__(self, scene: Scene, taken: set[str]) -> None:
        self.scene = scene
        self.ids: list[list[str]] = []
        for number, turn in enumerate(scene.turns):
            self.ids.append([self._fresh(asked.id, number, taken) for asked in turn])
        self.model = ScriptedModel([ModelStep.respond(self.answer) for _ in range(60)])

    def _fresh(self, id: str, number: int, taken: set[str]) -> str:
        """Return an id that no call of the conversation had: the SDK's models may not use one twice."""
        while id in taken:
            id = f"{id}-{number}"
        taken.add(id)
        return id

    def answer(self, call: Any) -> list[Any]:
        """Return the calls of the next turn, or the last word."""
        shown = {item.get("call_id") for item in _items(call.input) if item.get("type") == "function_call"}
        number = sum(1 for ids in self.ids if set(ids) <= shown)
        if self.scene.before is not None:
            self.scene.before(number)
        if number >= len(self.scene.turns):
            return [assistant_message(self.scene.last)]
        turn = zip(self.scene.turns[number], self.ids[number], strict=True)
        return [function_call(one.tool, _text(one), call_id=id) for one, id in turn]

    def names(self) -> dict[str, str]:
        """Return the tool of each id."""
        return {
            id: one.tool
            for turn, ids in zip(self.scene.turns, self.ids, strict=True)
            for one, id in zip(turn, ids, strict=True)
        }


def _text(asked: Asked) -> str:
    return json.dumps(dict(asked.arguments)) if asked.text is None else asked.text


def _items(given: Any) -> list[dict[str, Any]]:
    return [] if isinstance(given, str) else [dict(item) for item in given]


class Rewriting(RunHooks[Any]):
    """The host's hook that changes what a tool is called with."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        if self.scene.rewrites is not None:
            said = self.scene.rewrites(tool.name, json.loads(context.tool_call.arguments))
            context.tool_call.arguments = json.dumps(said)


class Remembered:
    """A conversation in memory."""

    session_settings = None

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.items: list[Any] = []

    async def get_items(self, limit: int | None = None) -> list[Any]:
        return list(self.items if limit is None else self.items[-limit:])

    async def add_items(self, items: list[Any]) -> None:
        self.items += items

    async def pop_item(self) -> Any:
        return self.items.pop() if self.items else None

    async def clear_session(self) -> None:
        self.items.clear()


class Task(BaseModel):
    """What the helper takes."""

    task: str


class OpenAIAgents(AdapterContract):
    """The stage; its subclasses say which of the runner's ways plays."""

    framework: ClassVar[str] = "openai-agents"
    always_streams: ClassVar[bool] = False

    def setup_method(self) -> None:
        self.sessions: dict[str, tuple[Remembered, set[str]]] = {}

    async def play(self, scene: Scene) -> Outcome:
        session, taken = None, set[str]()
        if scene.session is not None:
            made = (Remembered(scene.session), set[str]())
            session, taken = self.sessions.setdefault(scene.session, made)
        script = Script(scene, taken)
        tools: list[Any] = [function_tool(one) for one in scene.tools]
        tools += [WebSearchTool() for _ in scene.provider_tools]
        if scene.helper is not None:
            tools.append(self._helping(scene.helper))
        agent: Agent[Any] = Agent(name="assistant", tools=tools, model=script.model)
        runner = GuardedRunner(scene.guard, agent=scene.agent, typed="user")
        options: dict[str, Any] = {"principal": scene.principal, "hooks": Rewriting(scene)}
        if session is not None:
            options["session"] = session
        return await self._played(script, runner, agent, scene.prompt, options)

    def _helping(self, scene: Scene) -> Any:
        tools = [function_tool(one) for one in scene.tools]
        inner = Agent(name="inner", tools=list(tools), model=Script(scene, set()).model)
        return inner.as_tool("helper", "Let somebody else do it.", parameters=Task)

    async def _played(
        self, script: Script, runner: GuardedRunner, agent: Agent[Any], given: Any, options: dict[str, Any]
    ) -> Outcome:
        outcome = Outcome()
        result: Any = None
        try:
            result = await self.invoked(runner, agent, given, options, script.scene.streamed)
        except Exception as error:
            outcome.error = error
        self._tell(script, result, outcome)
        if result is not None and result.interruptions:
            text = result.to_state().to_string()
            again = partial(self._resumed, script, runner, agent, text, options)
            outcome.resume, outcome.claim = again, partial(again, approve=True)
        elif result is not None:
            outcome.said = str(result.final_output)
        return outcome

    async def _resumed(
        self,
        script: Script,
        runner: GuardedRunner,
        agent: Agent[Any],
        text: str,
        options: dict[str, Any],
        approve: bool = False,
    ) -> Outcome:
        state: Any = await RunState.from_string(runner.guarded(agent), text)
        for item in state.get_interruptions() if approve else ():
            state.approve(item)
        return await self._played(script, runner, agent, state, options)

    async def invoked(
        self, runner: GuardedRunner, agent: Agent[Any], given: Any, options: dict[str, Any], streamed: bool
    ) -> Any:
        if not streamed and not self.always_streams:
            return await runner.run(agent, given, **options)
        result = runner.run_streamed(agent, given, **options)
        async for _ in result.stream_events():
            pass
        return result

    def _tell(self, script: Script, result: Any, outcome: Outcome) -> None:
        calls = script.model.calls
        outcome.offered = [frozenset(tool.name for tool in one.tools) for one in calls]
        items: list[Any] = [item for one in calls for item in _items(one.input)]
        made = () if result is None else result.new_items
        items += [item.to_input_item() for item in made if item.type == "tool_call_output_item"]
        said = {
            item["call_id"]: _output(item["output"])
            for item in items
            if isinstance(item, dict) and item.get("type") == "function_call_output"
        }
        for id, tool in script.names().items():
            if id in said:
                outcome.told.append(Told(tool, said[id], failed=said[id] in REFUSALS, id=id))


def _output(said: Any) -> str:
    if isinstance(said, str):
        return said
    return "".join(str(part.get("text", part)) for part in said)


class Threaded(OpenAIAgents):
    """The synchronous way."""

    streams: ClassVar[bool] = False
    cancels: ClassVar[bool] = False

    async def invoked(
        self, runner: GuardedRunner, agent: Agent[Any], given: Any, options: dict[str, Any], streamed: bool
    ) -> Any:
        return await asyncio.to_thread(runner.run_sync, agent, given, **options)
