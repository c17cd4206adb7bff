"""How LangChain plays the scenes of the contract: a model, tools, and graphs that are put away and go on."""

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, StructuredTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import PrivateAttr

from ringfence import Guard
from ringfence.testing import AdapterContract, Outcome, Scene, Told


class SceneModel(BaseChatModel):
    """Answers by how far the conversation is, so that a saved state may go on from anywhere."""

    scene: Any
    renames: bool = False
    """Write ids that come only once in a conversation."""
    _offered: list[frozenset[str]] = PrivateAttr(default_factory=list)
    _asked: list[BaseMessage] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "scene"

    @property
    def asked(self) -> list[BaseMessage]:
        """The messages of the last request."""
        return self._asked

    @property
    def offered(self) -> list[frozenset[str]]:
        """The names that were offered in each request so far."""
        return self._offered

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Offer tools as providers are told of them."""
        said = [one if isinstance(one, dict) else convert_to_openai_tool(one) for one in tools]
        return self.bind(tools=said)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        with self._lock:
            self._asked = list(messages)
            number = len(self._offered)
            self._offered.append(frozenset(map(_name, kwargs.get("tools") or ())))
        if self.scene.before is not None:
            self.scene.before(number)
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _answer(self, messages: Sequence[BaseMessage]) -> AIMessage:
        answered = sum(isinstance(message, AIMessage) for message in turn_of(messages))
        if answered >= len(self.scene.turns):
            return AIMessage(self.scene.last)
        calls = calls_of(self.scene, answered)
        if self.renames:
            used = {
                call["id"] for one in messages if isinstance(one, AIMessage) for call in one.tool_calls
            }
            calls = [
                {**call, "id": f"{call['id']}-{len(messages)}"} if call["id"] in used else call
                for call in calls
            ]
        return AIMessage("", tool_calls=calls)


def calls_of(scene: Scene, turn: int) -> list[Any]:
    """Return the calls of a turn as models write them."""
    return [
        {"name": one.tool, "args": dict(one.arguments), "id": one.id, "type": "tool_call"}
        for one in scene.turns[turn]
    ]


def turn_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what came after the user's last word."""
    last = max((at for at, one in enumerate(messages) if isinstance(one, HumanMessage)), default=-1)
    return list(messages[last + 1 :])


def told_of(messages: Sequence[BaseMessage]) -> list[Told]:
    """Return the answers to calls, in the order of the calls."""
    found: list[Told] = []
    for at, message in enumerate(messages):
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            answer = next(
                (
                    one
                    for one in messages[at + 1 :]
                    if isinstance(one, ToolMessage) and one.tool_call_id == call["id"]
                ),
                None,
            )
            if answer is not None:
                found.append(Told(call["name"], str(answer.text), answer.status == "error", call["id"]))
    return found


def _name(said: Any) -> str:
    function = said.get("function") or {}
    return str(function.get("name") or said.get("name") or said.get("type"))


def provider_tools(scene: Scene) -> list[dict[str, Any]]:
    """Return tools as a provider's own are given: dicts."""
    return [{"type": name, "name": name} for name in scene.provider_tools]


class LangChainStage(AdapterContract):
    """What all entries share."""

    framework = "langchain"
    writes_text = False  # LangChain's models read the text, and leave what is no record out of the calls
    asynchronous: ClassVar[bool]

    def tools(self, scene: Scene) -> list[BaseTool]:
        """Return the scene's tools, and the one in which a helper works."""
        made: list[BaseTool] = [tool(function) for function in scene.tools]
        return made if scene.helper is None else [*made, self._started(scene.helper)]

    def _started(self, scene: Scene) -> BaseTool:
        def helper(task: str) -> str:
            """Have somebody help."""
            return _last(self.inside(scene).invoke({"messages": [("user", task)]}))

        async def ahelper(task: str) -> str:
            """Have somebody help."""
            return _last(await self.inside(scene).ainvoke({"messages": [("user", task)]}))

        return StructuredTool.from_function(helper, ahelper if self.asynchronous else None, name="helper")

    @abstractmethod
    def inside(self, scene: Scene) -> Any:
        """Return the agent that works inside."""


def _last(result: Any) -> str:
    return str(result["messages"][-1].text)


_SAVERS: WeakKeyDictionary[Guard, InMemorySaver] = WeakKeyDictionary()
"""The conversations of a guard's scenes."""


class GraphStage(LangChainStage):
    """An agent that is a graph: with a saver it is put away where people are asked."""

    saves: ClassVar[bool] = True
    renames: ClassVar[bool] = False

    @abstractmethod
    def graph(self, scene: Scene, model: SceneModel, saver: InMemorySaver | None) -> Any:
        """Return the compiled graph."""

    def outcome(self, model: SceneModel, outcome: Outcome) -> Outcome:
        """Return what came of the scene, from what came of the graph."""
        return outcome

    def inside(self, scene: Scene) -> Any:
        """Return the graph, saved by the one around it."""
        return self.graph(scene, SceneModel(scene=scene, renames=self.renames), None)

    async def play(self, scene: Scene) -> Outcome:
        """Play it on the thread of its session."""
        model = SceneModel(scene=scene, renames=self.renames)
        saver = _SAVERS.setdefault(scene.guard, InMemorySaver()) if self.saves else None
        played = _Played(self, scene, model, self.graph(scene, model, saver))
        return await played.go_on({"messages": [HumanMessage(scene.prompt)]}, played.thread)


class _Played:
    """One scene on its thread."""

    def __init__(self, stage: GraphStage, scene: Scene, model: SceneModel, app: Any) -> None:
        self.stage, self.scene, self.model, self.app = stage, scene, model, app
        self.thread = {"configurable": {"thread_id": scene.session or f"t-{uuid4().hex}"}}

    async def go_on(self, given: Any, config: Any) -> Outcome:
        outcome = Outcome()
        values: dict[str, Any] = {}
        try:
            values = await self._invoke(given, config)
        except Exception as error:
            outcome.error = error
        if self.stage.saves:
            state = await self.app.aget_state(self.thread)
            values = state.values
            if state.interrupts and outcome.error is None:
                outcome.resume = self._resumes(None, self.thread, state.config)
                outcome.claim = self._resumes(_yes(state.interrupts), self.thread)
        messages = turn_of(values.get("messages") or [])
        outcome.offered = list(self.model.offered)
        outcome.told = told_of(messages)
        if outcome.error is None and not outcome.suspended and messages:
            outcome.said = str(messages[-1].text) if isinstance(messages[-1], AIMessage) else None
        return self.stage.outcome(self.model, outcome)

    def _resumes(self, given: Any, *configs: Any) -> Callable[[], Awaitable[Outcome]]:
        """Return what goes on with the thread, and from then on from the state that it had here."""
        left = list(configs)
        return lambda: self.go_on(given, left.pop(0) if len(left) > 1 else left[0])

    async def _invoke(self, given: Any, config: Any) -> dict[str, Any]:
        about: dict[str, Any] = {"context": self.scene.principal}
        modes = ["values", "updates", "messages"]
        if not self.scene.streamed:
            if self.stage.asynchronous:
                return dict(await self.app.ainvoke(given, config, **about))
            return dict(await asyncio.to_thread(self.app.invoke, given, config, **about))
        if self.stage.asynchronous:
            stream = self.app.astream(given, config, stream_mode=modes, **about)
            parts = [part async for part in stream]
        else:
            parts = await asyncio.to_thread(
                lambda: list(self.app.stream(given, config, stream_mode=modes, **about))
            )
        return dict([part for mode, part in parts if mode == "values"][-1])


def _yes(interrupts: Sequence[Any]) -> Command[Any]:
    """Return a resume that approves all that is shown, as anybody may send it."""
    return Command(
        resume={
            one.id: {"decisions": [{"type": "approve"}] * len(one.value["action_requests"])}
            for one in interrupts
        }
    )
