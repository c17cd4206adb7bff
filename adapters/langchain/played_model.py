"""A chat model that answers from the record of a run, and asks nobody."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    message_chunk_to_message,
    messages_from_dict,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

from ringfence.adapters.langchain.said import offered
from ringfence.dsl.plan import Json

Ask = Callable[[UUID | None, Sequence[BaseMessage], Sequence[str] | None, dict[str, Any]], list[Json]]
"""Returns the recorded answers to a request that is made in an invocation; raises where there are none."""


class PlayedModel(BaseChatModel):
    """Answers each request with what was answered to it then."""

    cache: bool | None = False
    """Never: what a cache answers was not asked."""

    _ask: Ask = PrivateAttr()

    _go_on: Callable[[], None] = PrivateAttr()

    @classmethod
    def that_asks(cls, ask: Ask, go_on: Callable[[], None]) -> "PlayedModel":
        """Return a model that finds its answers with `ask`; `go_on` raises once the playback has ended."""
        model = cls()
        model._ask, model._go_on = ask, go_on
        return model

    @property
    def _llm_type(self) -> str:
        return "ringfence-playback"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **settings: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """See `BaseChatModel.bind_tools`; the tools are compared with those of the record."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[offered(tool) for tool in tools], **choice, **settings)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **settings: Any,
    ) -> ChatResult:
        answers = self._ask(getattr(run_manager, "parent_run_id", None), messages, stop, settings)
        return ChatResult(generations=[ChatGeneration(message=_message(one)) for one in answers])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **settings: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, run_manager, **settings)

    async def agenerate(self, *args: Any, **options: Any) -> LLMResult:
        """See `BaseChatModel.agenerate`, which makes another error of what is no `Exception`."""
        try:
            return await super().agenerate(*args, **options)
        except Exception:
            self._go_on()
            raise

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **settings: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, stop, run_manager, settings):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **settings: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, stop, run_manager, settings):
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, run_manager: Any, settings: dict[str, Any]
    ) -> list[ChatGenerationChunk]:
        result = self._generate(messages, stop, run_manager, **settings)
        return [ChatGenerationChunk(message=part) for part in _parts(result.generations[0].message)]


def _message(said: Json) -> AIMessage:
    """Return a recorded answer as the message that it was."""
    if not isinstance(said, dict):
        return AIMessage(content=str(said))
    message = messages_from_dict([said])[0]
    whole = message_chunk_to_message(message) if isinstance(message, AIMessageChunk) else message
    return whole if isinstance(whole, AIMessage) else AIMessage(content=whole.content)


def _parts(message: BaseMessage) -> list[AIMessageChunk]:
    """Return an answer in chunks: its words, then its calls, then what belongs to all of it."""
    assert isinstance(message, AIMessage)
    content = message.content
    words: list[Any] = content.splitlines(keepends=True) if isinstance(content, str) else [content]
    parts = [AIMessageChunk(content=piece, id=message.id) for piece in words if piece]
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=at)
        for at, call in enumerate(message.tool_calls)
    ]
    calls += [
        tool_call_chunk(name=call["name"], args=call["args"], id=call["id"], index=len(calls) + at)
        for at, call in enumerate(message.invalid_tool_calls)
    ]
    parts.extend(AIMessageChunk(content="", id=message.id, tool_call_chunks=[one]) for one in calls)
    last = AIMessageChunk(
        content="",
        id=message.id,
        name=message.name,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )
    return [*parts, last]
