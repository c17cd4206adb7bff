"""What a model is asked and answers: filtered before it goes out, recorded both ways."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import uuid4

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolReturnPart,
)
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from ringfence.adapters.pydantic_ai import settings
from ringfence.adapters.pydantic_ai.gate import Gate, withdraw_answered
from ringfence.adapters.pydantic_ai.history import INSTRUCTIONS, dumped
from ringfence.adapters.pydantic_ai.origins import injected, origins_of
from ringfence.adapters.pydantic_ai.toolsets import is_nothing
from ringfence.dsl.plan import Json
from ringfence.engine.binding.credentials import without_keys
from ringfence.engine.binding.origins import strict
from ringfence.engine.binding.values import json_of
from ringfence.engine.decision.events import ModelAnswered, ModelAsked
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.journal.repeated import asked_body


@dataclass(slots=True)
class _Asked:
    """A request that has no answer yet."""

    id: str
    began_ns: int


class Requests:
    """The model requests of one invocation."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._turn = gate.turn
        self._guard = gate.guard
        self._origins = origins_of(gate.guard)
        self._asked: _Asked | None = None
        self._said: set[str] = set()
        self._instructed: set[str] = set()

    def outgoing(self, context: ModelRequestContext) -> ModelRequestContext:
        """Leave out what the run may not use, and record what is asked."""
        run = self._turn.run
        self.host_answered(run, context.messages)
        self._host_left_out(run)
        parameters = self._offered(run, context.model_request_parameters)
        context.model_request_parameters = parameters
        context.model_settings = self._without_elsewhere(context)
        self._instruct(run, context.messages, parameters)
        messages = dumped(context.messages)
        if strict(self._guard.plan):
            # SECURITY: what other code has put among the messages came along without its origin.
            injected(self._origins, run, messages, self._turn.given)
        asked = ModelAsked(
            request=uuid4().hex,
            model=getattr(context.model, "model_id", None) or getattr(context.model, "model_name", None),
            messages=[self._shown(run, message) for message in messages],
            tools=self._shown(run, _described(parameters)),
            parameters=self._shown(run, without_keys(dict(context.model_settings or {}), hide=run.hide)),
            parent=None,
        )
        # SECURITY: if the record cannot be written, the error is raised and the model is not asked.
        run.append(asked, body=body_of_request(run, asked))
        self._asked = _Asked(asked.request, run.opening.clock.monotonic_ns())
        return context

    def incoming(self, response: ModelResponse) -> None:
        """Record the answer."""
        run = self._turn.run
        (message,) = dumped([response])
        self._answer(run, [self._shown(run, message)], self._shown(run, _usage(response, run)), None)

    def failed(self, error: BaseException) -> None:
        """Record that the request had no answer."""
        if self._asked is not None and not self._turn.run.ended:
            self._answer(self._turn.run, None, None, f"{type(error).__name__}: {error}")

    def _answer(self, run: Run, messages: Json, usage: Json, error: str | None) -> None:
        asked, self._asked = self._asked, None
        if asked is None:  # other code answered in the model's place
            asked = _Asked(uuid4().hex, run.opening.clock.monotonic_ns())
            if error is not None:
                return
        taken_ns = max(run.opening.clock.monotonic_ns() - asked.began_ns, 0)
        run.note(
            ModelAnswered(asked.id, messages, usage, taken_ns, None if error is None else run.hide(error))
        )

    # ---- what goes out -----------------------------------------------------------------------------

    def _offered(self, run: Run, parameters: ModelRequestParameters) -> ModelRequestParameters:
        visible = set(self._guard.visible(run, [tool.name for tool in parameters.function_tools]))
        tools = [tool for tool in parameters.function_tools if tool.name in visible and not is_nothing(tool)]
        native = []
        for tool in parameters.native_tools:
            if self._guard.visible(run, [tool.unique_id, tool.kind]):
                native.append(tool)
            else:
                self._say(tool.unique_id)
        if len(tools) == len(parameters.function_tools) and len(native) == len(parameters.native_tools):
            return parameters
        return replace(parameters, function_tools=tools, native_tools=native)

    def _without_elsewhere(self, context: ModelRequestContext) -> ModelSettings | None:
        """Return the settings without what would offer the model tools that run at its provider."""
        given = context.model_settings
        if given is None or "extra_body" not in given:
            # SECURITY: a model that stands behind another adds its own settings after the last hook.
            behind = {name for model in _behind(context.model) for name in settings.offering(model.settings)}
            kept: dict[str, Any] = {**(given or {}), "extra_body": {}} if behind else {}
        else:
            behind = set(settings.offering(given))
            kept = settings.without(given, sorted(behind)) if behind else {}
        for name in sorted(behind):
            self._say(f"extra_body.{name}")
        return cast(ModelSettings, kept) if behind else given

    def _say(self, name: str) -> None:
        if name not in self._said:
            self._said.add(name)
            print(
                f"ringfence: `{name}` is not offered to the model: it would run at the provider, where no"
                " call can be intercepted, and the policy does not declare it",
                file=sys.stderr,
            )

    def host_answered(self, run: Run, messages: Sequence[ModelMessage]) -> None:
        """Take in what the host has answered by itself of the calls that were open."""
        for message in reversed(messages):
            if isinstance(message, ModelResponse) or not self._turn.awaited:
                return  # models use ids again: what stands before is about other calls
            for part in message.parts:
                if isinstance(part, ToolReturnPart) and part.tool_call_id in self._turn.awaited:
                    self._turn.awaited.discard(part.tool_call_id)
                    because = "the host has answered the call itself"
                    withdraw_answered(self._guard, run, part.tool_call_id, because)
                    if strict(self._guard.plan):
                        # SECURITY: a result that no body of ours gave: nobody says where it is from.
                        self._origins.give(run, "host", json_of(part.content))

    def _host_left_out(self, run: Run) -> None:
        """Take back what was asked about calls that the host goes on without."""
        for call_id in self._turn.awaited:
            withdraw_answered(self._guard, run, call_id, "the host goes on without the call")
        self._turn.awaited.clear()

    def _instruct(
        self, run: Run, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
    ) -> None:
        """Record, once, what the developer's instructions say, where the policy asks for sources."""
        if not strict(self._guard.plan):
            return
        said: list[Any] = [part.content for part in parameters.instruction_parts or ()]
        for message in messages:
            if isinstance(message, ModelRequest):
                texts = (part.content for part in message.parts if part.part_kind in INSTRUCTIONS)
                # SECURITY: a history may come from anybody, and its system prompts with it.
                said += [text for text in texts if text not in self._turn.earlier]
        for text in said:
            if text and text not in self._instructed:
                self._instructed.add(text)
                # SECURITY: what a tool server says in the place of instructions is not the developer's.
                self._origins.give(run, "host" if text in self._turn.foreign else "system", text)

    def _shown(self, run: Run, value: Json) -> Json:
        # It is JSON already; what only looks so is described when it is written.
        return value if run.hiding is None else jsonable(value, hide=run.hide)


def body_of_request(run: Run, asked: ModelAsked) -> bytes | None:
    """Return what the log keeps of a request; what the last one had in common with it is not written again.

    None: the general way describes what is odd.
    """
    messages = asked.messages if isinstance(asked.messages, list) else []
    try:
        tools, *parts = run.repeated.parts([asked.tools, *messages], lambda said: said, lambda said: said)
    except ValueError:
        return None
    return asked_body(asked, parts, tools)


def _behind(model: Model) -> Iterator[Model]:
    """Yield the models that a model hands its requests on to."""
    for one in (*getattr(model, "models", ()), getattr(model, "wrapped", None)):
        if isinstance(one, Model):
            yield one
            yield from _behind(one)


def _usage(response: ModelResponse, run: Run) -> Json:
    """Return the usage; a whole number is one, because JSON without fractions is written at once."""
    said = json_of(response.usage, hide=run.hide)
    if not isinstance(said, dict):
        return said
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in said.items()
    }


def _described(parameters: ModelRequestParameters) -> Json:
    tools = [*parameters.function_tools, *parameters.output_tools]
    named = [
        {"name": one.name, "description": one.description, "parameters": one.parameters_json_schema}
        for one in tools
    ]
    return [*named, *({"name": one.unique_id, "type": one.kind} for one in parameters.native_tools)]
