"""Model calls under the guard: recorded, bounded by the run's deadline and kills, offered what may be seen.

It is the second layer: tools are hidden where an agent lists them, and here whatever is left unguarded is an
error.
"""

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agents import FunctionTool, Model, ModelProvider, ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
)

from ringfence.adapter import (
    DeniedError,
    EngineError,
    Guard,
    ModelAnswered,
    ModelAsked,
    Run,
    RunHaltedError,
    inside,
    jsonable,
)
from ringfence.adapters.openai_agents.handoffs import passage_of
from ringfence.adapters.openai_agents.invocations import Invocation, invocation_of
from ringfence.adapters.openai_agents.records import offered, parameters, used
from ringfence.adapters.openai_agents.refusals import refusal_text, unread_call
from ringfence.adapters.openai_agents.said import Names, Refused
from ringfence.adapters.openai_agents.streams import bounded
from ringfence.adapters.openai_agents.tools import gate_of
from ringfence.adapters.openai_agents.values import json_of
from ringfence.engine.journal.repeated import asked_body


@dataclasses.dataclass(slots=True)
class _Asked:
    """A model call in flight."""

    invocation: Invocation
    run: Run
    id: str
    names: Names
    began_ns: int


class GuardedModel(Model):
    """A model whose calls belong to the run of the invocation around them."""

    def __init__(self, guard: Guard, model: Model) -> None:
        self.guard = guard
        self.model = model

    @classmethod
    def over(cls, guard: Guard, model: Model) -> "GuardedModel":
        """Return the guarded model; one of this guard as it is."""
        return model if isinstance(model, cls) and model.guard is guard else cls(guard, model)

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: Any,
        tools: Any,
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        **more: Any,
    ) -> ModelResponse:
        """See `Model.get_response`."""
        given = (system_instructions, input, model_settings, tools, output_schema, handoffs, tracing)
        try:
            asked = await self._ask(given, more)
            try:
                with inside(asked.run):  # the model is asked in this run, whichever one is around the agent
                    response = await self.guard.abound(
                        asked.run, lambda: self.model.get_response(*given, **more)
                    )
            except BaseException as error:  # raised again: the answer is that there is none
                self._answered(asked, None, None, error)
                raise
            self._answered(asked, response.output, response.usage, None)
            asked.invocation.responses.add(response.response_id or "")
            output = await self._settle(asked, response.output)
            return dataclasses.replace(response, output=output)
        except RunHaltedError as error:
            message = self._last_word(error, output_schema)
            return ModelResponse(output=[message], usage=Usage(), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: Any,
        tools: Any,
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        **more: Any,
    ) -> AsyncIterator[Any]:
        """See `Model.stream_response`."""
        given = (system_instructions, input, model_settings, tools, output_schema, handoffs, tracing)
        try:
            asked = await self._ask(given, more)
            answer: Any = None
            try:
                async for event in bounded(
                    self.guard, asked.run, lambda: self.model.stream_response(*given, **more)
                ):
                    if isinstance(event, ResponseOutputItemDoneEvent):
                        item, _ = asked.names.settled(event.item)
                        yield event if item is event.item else event.model_copy(update={"item": item})
                    elif isinstance(event, ResponseCompletedEvent):
                        answer = event.response
                        self._answered(asked, answer.output, answer.usage, None)
                        asked.invocation.responses.add(answer.id)
                        output = await self._settle(asked, answer.output)
                        yield event.model_copy(
                            update={"response": answer.model_copy(update={"output": output})}
                        )
                    else:
                        yield event
            except BaseException as error:  # raised again: the answer is that there is none
                if answer is None:
                    self._answered(asked, None, None, error)
                raise
            if answer is None:
                self._answered(asked, None, None, EngineError("the stream ended without an answer"))
        except RunHaltedError as error:
            yield _completed(self._last_word(error, output_schema))

    # ---- before ------------------------------------------------------------------------------------

    async def _ask(self, given: tuple[Any, ...], more: dict[str, Any]) -> _Asked:
        instructions, input, settings, tools, output_schema, handoffs, _ = given
        invocation = invocation_of(self.guard, "a model")
        run = invocation.run
        if invocation.failure is not None:
            raise invocation.failure
        invocation.goes_on()
        try:
            self.guard.check_live(run)
            self._require_guarded(tools, handoffs)
            if invocation.origins is not None:
                elsewhere = {name: more.get(name) for name in ("previous_response_id", "conversation_id")}
                if elsewhere["previous_response_id"] in invocation.responses:
                    elsewhere["previous_response_id"] = None
                elsewhere["prompt"] = json_of(more.get("prompt"))
                await asyncio.to_thread(invocation.origins.read, run, instructions, input, elsewhere)
        except EngineError as error:
            invocation.failed(error)
            raise
        messages: list[Any] = [] if not instructions else [{"role": "system", "content": instructions}]
        messages += [{"role": "user", "content": input}] if isinstance(input, str) else list(input)
        named = getattr(self.model, "model", None)
        # SECURITY: what is hidden of a text depends on what has become secret since it was written.
        state = _state if run.hiding is None else None
        parts = run.repeated.parts(messages, state, lambda one: jsonable(json_of(one), hide=run.hide))
        asked = ModelAsked(
            request=secrets.token_hex(8),
            model=named if isinstance(named, str) else None,
            messages=[part.said for part in parts],
            tools=[offered(one, run) for one in (*tools, *handoffs)],
            parameters=jsonable(parameters(settings), hide=run.hide),
            parent=None,
        )
        run.note(asked, body=asked_body(asked, parts))
        return _Asked(
            invocation, run, asked.request, Names.of(tools, handoffs, output_schema), time.monotonic_ns()
        )

    def _require_guarded(self, tools: Sequence[Any], handoffs: Sequence[Any]) -> None:
        for tool in tools:
            gate = gate_of(tool) if isinstance(tool, FunctionTool) else None
            if isinstance(tool, FunctionTool) and (gate is None or gate.guard is not self.guard):
                raise EngineError(f"the tool `{tool.name}` is not guarded")
        for one in handoffs:
            found = passage_of(one)
            if found is None or found.guard is not self.guard:
                raise EngineError(f"the handoff `{one.tool_name}` is not guarded")

    # ---- after -------------------------------------------------------------------------------------

    def _answered(self, asked: _Asked, output: Any, usage: Any, error: BaseException | None) -> None:
        run = asked.run
        said = None if output is None else [json_of(one) for one in output]
        if asked.invocation.origins is not None and said is not None:
            asked.invocation.origins.took(said)
        run.note(
            ModelAnswered(
                asked.id,
                None if said is None else [jsonable(one, hide=run.hide) for one in said],
                jsonable(used(usage)),
                max(time.monotonic_ns() - asked.began_ns, 0),
                None if error is None else run.hide(f"{type(error).__name__}: {error}"),
            )
        )

    async def _settle(self, asked: _Asked, output: Sequence[Any]) -> list[Any]:
        """Return an answer as the SDK is to see it; what cannot be made is refused and recorded now."""
        settled: list[Any] = []
        for item in output:
            seen, refused = asked.names.settled(item)
            settled.append(seen)
            if refused is not None:
                await self._refuse(asked, refused)
            elif getattr(item, "name", None) in asked.names.handoffs:
                asked.invocation.asked_ids.setdefault(item.name, item.call_id)
        if asked.invocation.origins is not None:
            asked.invocation.origins.took(json_of(settled))
        return settled

    async def _refuse(self, asked: _Asked, refused: Refused) -> None:
        invocation, run = asked.invocation, asked.run
        try:
            await self.guard.arefuse(
                run, unread_call(invocation, refused.name, refused.call_id, refused.text), refused.why
            )
        except DeniedError as error:
            invocation.refused[refused.call_id] = refusal_text(run, error)
        except RunHaltedError as error:
            # One refusal too many: the SDK still answers this turn, and the model is asked nothing more.
            invocation.refused[refused.call_id] = refusal_text(run, error)
            if invocation.on_halt == "raise":
                invocation.failed(error)
                raise
        except EngineError as error:
            invocation.failed(error)
            raise

    def _last_word(self, error: RunHaltedError, output_schema: Any) -> ResponseOutputMessage:
        """Return the message that ends the agent; raise what the host must hear."""
        invocation = invocation_of(self.guard, "a model")
        plain = output_schema is None or output_schema.is_plain_text()
        if invocation.on_halt == "raise" or not plain or not invocation.runs:
            invocation.failed(error)
            raise error
        text = ResponseOutputText(
            type="output_text", text=refusal_text(invocation.run, error), annotations=[]
        )
        return ResponseOutputMessage(
            id="halted", type="message", role="assistant", status="completed", content=[text]
        )

    # ---- the rest of a model -----------------------------------------------------------------------

    def get_retry_advice(self, request: Any) -> Any:
        """See `Model.get_retry_advice`."""
        return self.model.get_retry_advice(request)

    async def close(self) -> None:
        """See `Model.close`."""
        await self.model.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        work = getattr(self.model, "_cleanup_on_run_end", None)
        if work is not None:
            await work(owner)


class GuardedProvider(ModelProvider):
    """A provider whose models are guarded."""

    def __init__(self, guard: Guard, provider: ModelProvider) -> None:
        self.guard = guard
        self.provider = provider

    @classmethod
    def over(cls, guard: Guard, provider: ModelProvider) -> "GuardedProvider":
        """Return the guarded provider; one of this guard as it is."""
        return provider if isinstance(provider, cls) and provider.guard is guard else cls(guard, provider)

    def get_model(self, model_name: str | None) -> Model:
        """See `ModelProvider.get_model`."""
        return GuardedModel.over(self.guard, self.provider.get_model(model_name))

    async def aclose(self) -> None:
        """See `ModelProvider.aclose`."""
        await self.provider.aclose()


def _state(item: object) -> object:
    """Return all that is recorded of an item of a conversation; None: that cannot be told."""
    return item if type(item) is dict else None


def _completed(message: ResponseOutputMessage) -> ResponseCompletedEvent:
    response = Response(
        id="halted",
        created_at=0,
        model="ringfence",
        object="response",
        output=[message],
        tool_choice="none",
        tools=[],
        parallel_tool_calls=False,
    )
    return ResponseCompletedEvent(type="response.completed", response=response, sequence_number=0)
