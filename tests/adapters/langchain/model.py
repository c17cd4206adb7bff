"""A scripted chat model: answers in turn, binds tools, and remembers what it was asked and offered."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

Answer = AIMessage | Callable[[Sequence[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Gives the answers of `script`, one per call, over all threads and tasks that share it."""

    script: list[Any]
    hangs_at: int | None = None
    """The number of the answer (from 0) that never comes."""

    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _offered: list[list[str]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _hung: threading.Event = PrivateAttr(default_factory=threading.Event)
    _cancelled: list[int] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """The messages of each call so far."""
        return self._asked

    @property
    def offered(self) -> list[list[str]]:
        """The names of the tools offered in each call so far."""
        return self._offered

    @property
    def cancelled(self) -> list[int]:
        """The numbers of the answers whose coroutine was cancelled."""
        return self._cancelled

    def release(self) -> None:
        """Let a synchronous call that hangs return, so that its thread ends with the test."""
        self._hung.set()

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Offer tools: their names arrive with each call."""
        return self.bind(offered=[_name(tool) for tool in tools], **{k: v for k, v in kwargs.items() if v})

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        number = self._next(messages, kwargs)
        if number == self.hangs_at:
            self._hung.wait()
        return self._result(number, messages)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        number = self._next(messages, kwargs)
        if number == self.hangs_at:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self._cancelled.append(number)
                raise
        return self._result(number, messages)

    def _next(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> int:
        with self._lock:
            self._asked.append(list(messages))
            self._offered.append(kwargs.get("offered", []))
            return len(self._asked) - 1

    def _result(self, number: int, messages: list[BaseMessage]) -> ChatResult:
        answer = self.script[number]
        message = answer(messages) if callable(answer) else answer
        return ChatResult(generations=[ChatGeneration(message=message)])


def _name(tool: Any) -> str:
    if isinstance(tool, dict):
        return str(tool.get("name") or tool.get("type"))
    return str(getattr(tool, "name", None) or getattr(tool, "__name__", tool))


def call(name: str, id: str | None = "c1", **arguments: Any) -> ToolCall:
    """Return a tool call as models write it."""
    return {"name": name, "args": arguments, "id": id, "type": "tool_call"}


def asks(*calls: ToolCall) -> AIMessage:
    """Return a model's answer that calls tools; also with ids that LangChain's own check would refuse."""
    message = AIMessage(content="", tool_calls=[{**one, "id": one["id"] or "x"} for one in calls])
    message.tool_calls = list(calls)
    return message


def says(text: str = "done", **usage: int) -> AIMessage:
    """Return a model's last answer; `usage` as input, output and total tokens."""
    counted = {f"{name}_tokens": count for name, count in usage.items()}
    return AIMessage(content=text, usage_metadata=counted or None)


def model(*script: Answer, hangs_at: int | None = None) -> ScriptedModel:
    """Return a model with this script."""
    return ScriptedModel(script=list(script), hangs_at=hangs_at)
