"""Models that say what a test has written for them, and what they were told."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from ringfence.testing import Asked, Told


@dataclass
class Script:
    """Asks for the turns, one after another, and then says `last`."""

    turns: Sequence[Sequence[Asked]]
    last: str = "done"
    before: Callable[[int], None] | None = None
    earlier: int = 0
    """How many answers stand in the history that the conversation began with."""
    offered: list[frozenset[str]] = field(default_factory=list)

    def model(self) -> FunctionModel:
        """Return the model."""
        return FunctionModel(self.answer, stream_function=self.stream)

    def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        """Return the next turn."""
        turn = self._next(messages, info)
        if turn is None:
            return ModelResponse(parts=[TextPart(self.last)])
        return ModelResponse(parts=[ToolCallPart(one.tool, _args(one), tool_call_id=one.id) for one in turn])

    async def stream(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        """Yield the next turn in pieces."""
        turn = self._next(messages, info)
        if turn is None:
            for piece in (self.last[:2], self.last[2:]):
                yield piece
            return
        for number, one in enumerate(turn):
            args = _args(one)
            text = args if isinstance(args, str) else json.dumps(args)
            yield {number: DeltaToolCall(name=one.tool, json_args=text[:3], tool_call_id=one.id)}
            yield {number: DeltaToolCall(json_args=text[3:])}

    def _next(self, messages: list[ModelMessage], info: AgentInfo) -> Sequence[Asked] | None:
        number = sum(isinstance(one, ModelResponse) for one in messages) - self.earlier
        if self.before is not None:
            self.before(number)
        parameters = info.model_request_parameters
        native = (tool.unique_id for tool in parameters.native_tools)
        self.offered.append(frozenset([*(tool.name for tool in info.function_tools), *native]))
        return self.turns[number] if number < len(self.turns) else None


def _args(asked: Asked) -> Any:
    return dict(asked.arguments) if asked.text is None else asked.text


def told(messages: Sequence[ModelMessage]) -> list[Told]:
    """Return what the model was told of its calls, in their order."""
    found: list[Told] = []
    for at, message in enumerate(messages):
        if isinstance(message, ModelResponse):
            for call in message.tool_calls:
                found += _answers(call, messages[at + 1 :])
    return found


def _answers(call: ToolCallPart, after: Sequence[ModelMessage]) -> list[Told]:
    for message in after:
        if isinstance(message, ModelResponse):
            return []
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, ToolReturnPart) and part.tool_call_id == call.tool_call_id:
                text = (
                    part.content if isinstance(part.content, str) else json.dumps(part.content, default=str)
                )
                return [Told(call.tool_name, text, part.outcome != "success", call.tool_call_id)]
            if isinstance(part, RetryPromptPart) and part.tool_call_id == call.tool_call_id:
                return [Told(call.tool_name, part.model_response(), True, call.tool_call_id)]
    return []
