"""The contract of adapters on tools without a graph: called by the host, or by the older executor."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_classic.agents import AgentExecutor, create_tool_calling_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate

from ringfence.adapters.langchain import guard_tools, visible_tools
from ringfence.engine.enforcement.run_block import AboutRun
from ringfence.testing import Outcome, Scene, Told
from tests.adapters.langchain.stages import LangChainStage, SceneModel, calls_of

PROMPT = ChatPromptTemplate.from_messages(
    [("placeholder", "{chat_history}"), ("human", "{input}"), ("placeholder", "{agent_scratchpad}")]
)


def about(scene: Scene) -> AboutRun:
    """Return what a host says of its run."""
    return {
        "principal": scene.principal,
        "agent": scene.agent,
        "session": scene.session,
        "prompt": scene.prompt,
        "framework": "langchain",
    }


class Bare(LangChainStage):
    """`with guard.run(…)` around `tool.invoke` of calls, as a loop of one's own makes them."""

    has_model = False
    hides_tools = False
    has_provider_tools = False
    suspends = False
    streams = False
    has_hooks = False
    has_unknown_tools = False

    def inside(self, scene: Scene) -> Any:
        return _Loop(self, scene)


class _Loop:
    """A loop in the body of a tool, with the face of a graph: its calls belong to the run around it."""

    def __init__(self, stage: Bare, scene: Scene) -> None:
        self._scene = scene
        self._tools = {one.name: one for one in guard_tools(scene.guard, stage.tools(scene))}

    def invoke(self, given: Any) -> Any:
        for turn in range(len(self._scene.turns)):
            for call in calls_of(self._scene, turn):
                self._tools[call["name"]].invoke(call)
        return {"messages": [HumanMessage("helped")]}

    async def ainvoke(self, given: Any) -> Any:
        for turn in range(len(self._scene.turns)):
            for call in calls_of(self._scene, turn):
                await self._tools[call["name"]].ainvoke(call)
        return {"messages": [HumanMessage("helped")]}


def _told(scene: Scene, turn: int, answers: list[Any]) -> list[Told]:
    told = []
    for call, answer in zip(calls_of(scene, turn), answers, strict=True):
        assert isinstance(answer, ToolMessage)
        told.append(Told(call["name"], str(answer.text), answer.status == "error", answer.tool_call_id))
    return told


class TestInvoke(Bare):
    """`tool.invoke`; those of a turn on threads."""

    asynchronous = False
    awaits = False
    cancels = False

    async def play(self, scene: Scene) -> Outcome:
        return await asyncio.to_thread(self._play, scene)

    def _play(self, scene: Scene) -> Outcome:
        outcome = Outcome()
        tools = {one.name: one for one in guard_tools(scene.guard, self.tools(scene))}
        try:
            with scene.guard.run(**about(scene)), ThreadPoolExecutor(4) as pool:
                for turn in range(len(scene.turns)):
                    doing = [
                        pool.submit(contextvars.copy_context().run, tools[call["name"]].invoke, call)
                        for call in calls_of(scene, turn)
                    ]
                    outcome.told += _told(scene, turn, [one.result() for one in doing])
        except Exception as error:
            outcome.error = error
        return outcome


class TestAinvoke(Bare):
    """`tool.ainvoke`; those of a turn at the same time."""

    asynchronous = True

    async def play(self, scene: Scene) -> Outcome:
        outcome = Outcome()
        tools = {one.name: one for one in guard_tools(scene.guard, self.tools(scene))}
        try:
            async with scene.guard.run(**about(scene)):
                for turn in range(len(scene.turns)):
                    doing = [tools[call["name"]].ainvoke(call) for call in calls_of(scene, turn)]
                    outcome.told += _told(scene, turn, await asyncio.gather(*doing))
        except Exception as error:
            outcome.error = error
        return outcome


class Executor(LangChainStage):
    """`AgentExecutor`: it hands tools their arguments alone, and takes a text back."""

    suspends = False
    has_ids = False
    has_hooks = False
    has_provider_tools = False
    has_unknown_tools = (
        False  # it answers with the names of its tools, which the model was offered: see below
    )

    def executor(self, scene: Scene, model: SceneModel) -> AgentExecutor:
        """Return the executor, made inside of its run: what is visible depends on that."""
        tools = guard_tools(scene.guard, self.tools(scene))
        agent = create_tool_calling_agent(model, visible_tools(scene.guard, tools), PROMPT)
        return AgentExecutor(agent=agent, tools=tools, return_intermediate_steps=True)

    def inside(self, scene: Scene) -> Any:
        return _Inside(self, scene)

    def outcome(self, model: SceneModel, steps: list[Any], output: Any) -> Outcome:
        """Return what came of it."""
        return Outcome(
            told=[Told(one.tool, str(said), _failed(one, str(said))) for one, said in steps],
            offered=list(model.offered),
            said=None if output is None else str(output),
        )


def _failed(action: Any, said: str) -> bool:
    """Say whether an observation is a refusal: the framework has no form of its own for one."""
    return said in ("not authorized", "tool not found", "the tool failed") or said.startswith(
        f"{action.tool} is not a valid tool"
    )


class _Inside:
    """An executor with the face of a graph, inside of the run at hand."""

    def __init__(self, stage: Executor, scene: Scene) -> None:
        self._stage, self._scene = stage, scene

    def invoke(self, given: Any) -> Any:
        return self._said(self._made().invoke({"input": given["messages"][0][1]}))

    async def ainvoke(self, given: Any) -> Any:
        return self._said(await self._made().ainvoke({"input": given["messages"][0][1]}))

    def _made(self) -> AgentExecutor:
        return self._stage.executor(self._scene, SceneModel(scene=self._scene))

    def _said(self, result: Any) -> Any:
        return {"messages": [HumanMessage(result["output"])]}


class TestAgentExecutor(Executor):
    """`invoke` and `stream`."""

    asynchronous = False
    awaits = False
    cancels = False
    parallel = False

    async def play(self, scene: Scene) -> Outcome:
        return await asyncio.to_thread(self._play, scene)

    def _play(self, scene: Scene) -> Outcome:
        model = SceneModel(scene=scene)
        steps: list[Any] = []
        output: Any = None
        error: BaseException | None = None
        try:
            with scene.guard.run(**about(scene)):
                executor = self.executor(scene, model)
                for part in executor.stream({"input": scene.prompt}):
                    steps += [(one.action, one.observation) for one in part.get("steps", ())]
                    output = part.get("output", output)
        except Exception as raised:
            error = raised
        outcome = self.outcome(model, steps, output)
        outcome.error = error
        return outcome


class TestAgentExecutorAsynchronously(Executor):
    """`ainvoke` and `astream`: the calls of a turn at the same time."""

    asynchronous = True

    async def play(self, scene: Scene) -> Outcome:
        model = SceneModel(scene=scene)
        steps: list[Any] = []
        output: Any = None
        error: BaseException | None = None
        try:
            async with scene.guard.run(**about(scene)):
                executor = self.executor(scene, model)
                if scene.streamed:
                    async for part in executor.astream({"input": scene.prompt}):
                        steps += [(one.action, one.observation) for one in part.get("steps", ())]
                        output = part.get("output", output)
                else:
                    result = await executor.ainvoke({"input": scene.prompt})
                    steps, output = result["intermediate_steps"], result["output"]
        except Exception as raised:
            error = raised
        outcome = self.outcome(model, steps, output)
        outcome.error = error
        return outcome
