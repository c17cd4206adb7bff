"""The one place where a guarded tool meets the guard: around `on_invoke_tool`.

The text that a model wrote is read strictly and against the tool's own schema; what is decided is written out
again as JSON, and that is what the tool is handed.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents import FunctionTool, RunContextWrapper, ToolTimeoutError
from agents.tool import (
    invoke_function_tool,
    maybe_invoke_function_tool_failure_error_function,
    resolve_function_tool_failure_error_function,
)
from agents.tool_context import ToolContext

from ringfence.adapter import (
    DeniedError,
    Guard,
    Json,
    PendingError,
    RingfenceError,
    Run,
    RunHaltedError,
    ToolCall,
    ToolFailedError,
)
from ringfence.adapters.openai_agents.arguments import Parameters, UnfitError, written
from ringfence.adapters.openai_agents.invocations import Invocation, invocation_of, within
from ringfence.adapters.openai_agents.refusals import is_fatal, refusal_text, unread_call
from ringfence.adapters.openai_agents.results import LENS

_HANDLED: Final = "_function_tool_default_failure_handled"
"""What the SDK marks a tool's context with when the result is an error, which no output schema fits."""


class AwaitingError(Exception):
    """An agent that is a tool waits for people: its call is left, and made again later."""

    def __init__(self, value: Any) -> None:
        super().__init__("waits for people")
        self.value = value


@dataclass(slots=True, eq=False)
class Gate:
    """What guards one tool."""

    guard: Guard
    name: str
    """By which the policy knows it: with its namespace, where it has one."""
    tool: FunctionTool
    """The original, unguarded."""
    body: FunctionTool
    """Like the original, but what its function raises comes out."""
    parameters: Parameters
    shown: Json
    """What the model is shown of it, as the record has it."""
    is_agent: bool = False

    # ---- before ------------------------------------------------------------------------------------

    async def asks(self, context: RunContextWrapper[Any], given: dict[str, Any], call_id: str) -> bool:
        """Say whether the SDK is to put the agent away before this call; people are asked now."""
        invocation = invocation_of(self.guard, f"`{self.name}`")
        run = await invocation.at()
        if call_id in invocation.refused:
            return False
        try:
            arguments = self.parameters.fit(given)
        except UnfitError:
            return False  # it is refused at the gate
        waits = await self._ask(invocation, run, self._call(invocation, call_id, arguments))
        if await self._host_asks(context, arguments, call_id):
            invocation.interrupted.add(call_id)
            invocation.host_asks.add(call_id)
            waits = True
        invocation.keep(context)
        return waits

    async def _ask(self, invocation: Invocation, run: Run, call: ToolCall) -> bool:
        known = run.plan.by_bound_name.get(self.name)
        if invocation.waits or known is None or not known.asks:
            return False
        try:
            await self.guard.aask(run, call)
        except PendingError as pending:
            invocation.asked(call.call_id or "", pending, self.name)
            return True
        except RingfenceError:  # the gate says it again, where it is recorded and told
            return False
        return False

    async def _host_asks(
        self, context: RunContextWrapper[Any], arguments: dict[str, Json], call_id: str
    ) -> bool:
        word = self.tool.needs_approval
        if callable(word):
            said = word(context, arguments, call_id)
            return bool(await said if inspect.isawaitable(said) else said)
        return bool(word)

    def foresee(self, invocation: Invocation, run: Run, call_id: str, text: str) -> None:
        """Ask again about a call that a saved state holds.

        Raises:
            PendingError: People must answer first.
            DeniedError: It was refused.
            UnfitError: It can never be made.
        """
        arguments = self.parameters.read(text, most_characters=_most(run))
        self.guard.ask(run, self._call(invocation, call_id, arguments))

    # ---- the call ----------------------------------------------------------------------------------

    async def invoke(self, context: ToolContext[Any], text: str) -> Any:
        """Execute the tool through the guard; what the SDK calls in the place of the original."""
        invocation = invocation_of(self.guard, f"`{self.name}`")
        run = await invocation.at()
        call_id = context.tool_call_id
        invocation.made(call_id)
        raised: list[BaseException] = []
        try:
            told = invocation.refused.pop(call_id, None)
            if told is not None:
                return self._told(invocation, context, told)
            value = await self._execute(invocation, run, context, text, raised)
        except AwaitingError as left:
            return left.value
        except Exception as error:  # told to the model, or raised again: nothing is swallowed
            return await self._answer(invocation, run, context, error, own=error in raised)
        if invocation.origins is not None:
            invocation.origins.told(value)
        return value

    async def _execute(
        self,
        invocation: Invocation,
        run: Run,
        context: ToolContext[Any],
        text: str,
        raised: list[BaseException],
    ) -> Any:
        call_id = context.tool_call_id
        try:
            arguments = self.parameters.read(text, most_characters=_most(run))
        except UnfitError as error:
            await self.guard.arefuse(run, unread_call(invocation, self.name, call_id, text), str(error))

        async def body(decided: Mapping[str, Json]) -> Any:
            try:
                return await self._work(invocation, run, context, written(decided))
            except Exception as error:  # it is the tool's own, not the guard's word
                raised.append(error)
                raise

        return await self.guard.aexecute(
            run,
            self._call(invocation, call_id, arguments),
            body,
            wait=invocation.waits,
            lens=LENS,
            passthrough=(AwaitingError, PendingError),
        )

    async def _work(self, invocation: Invocation, run: Run, context: ToolContext[Any], text: str) -> Any:
        if self.is_agent:
            return await self._agent(invocation, run, context, text)
        # SECURITY: a function that reads its context finds there what was decided, not what the model wrote.
        context.tool_arguments = text
        if context.tool_call is not None:
            context.tool_call = context.tool_call.model_copy(update={"arguments": text})
        with within(None):  # what the function itself runs is no part of this invocation
            return await invoke_function_tool(function_tool=self.body, context=context, arguments=text)

    async def _agent(self, around: Invocation, run: Run, context: ToolContext[Any], text: str) -> Any:
        """Run the agent that this tool is, in a run of its own inside of this call."""
        known = run.plan.by_bound_name.get(self.name)
        invocation = around.inner(run, known.starts if known is not None else None, context.tool_call_id)
        try:
            with within(invocation):
                value = await invoke_function_tool(function_tool=self.body, context=context, arguments=text)
            if invocation.failure is not None:
                raise invocation.failure
        except BaseException as error:
            await invocation.end(invocation.failure or error)
            raise invocation.failure or error from None
        # The SDK gives None of an agent that it has put away, and else what the agent said: a call that it
        # was told to wait with may have been settled by a check of the host's.
        waits = value is None and bool(invocation.interrupted)
        await invocation.end(None, waits=waits)
        around.inside.pop(context.tool_call_id, None)
        if waits:
            around.inside[context.tool_call_id] = invocation.saved().said()
            around.waiting.update(invocation.waiting)
            around.interrupted |= invocation.interrupted
            around.keep()
            raise AwaitingError(value)
        return value

    def _call(self, invocation: Invocation, call_id: str, arguments: Mapping[str, Json]) -> ToolCall:
        return ToolCall(
            self.name,
            arguments,
            call_id=call_id,
            task=call_id,
            attempt=invocation.attempt,
            schema_names=self.parameters.names,
        )

    # ---- what the model is told --------------------------------------------------------------------

    async def _answer(
        self, invocation: Invocation, run: Run, context: ToolContext[Any], error: Exception, *, own: bool
    ) -> Any:
        if is_fatal(error):
            invocation.failed(error)
            raise error
        if isinstance(error, RunHaltedError) and (not own or run.state.halted is not None):
            if invocation.on_halt == "raise":
                invocation.failed(error)
                raise error
            return self._told(invocation, context, refusal_text(run, error))
        if not own and isinstance(error, DeniedError | ToolFailedError):
            return self._told(invocation, context, refusal_text(run, error))
        if self._raises(context, error):
            raise error
        constant = run.plan.responses.failure
        if constant is not None:
            return self._told(invocation, context, constant)
        said = await maybe_invoke_function_tool_failure_error_function(
            function_tool=self.tool, context=context, error=error
        )
        if said is None:
            raise error
        return said  # SECURITY: of a level that nobody knows: a failure is recorded as having shown nothing

    def _raises(self, context: ToolContext[Any], error: Exception) -> bool:
        """Say whether the host is to hear of this failure, and not the model: as without the guard."""
        if isinstance(error, ToolTimeoutError):
            return True
        if not hasattr(self.tool.on_invoke_tool, "__agents_bind_function_tool__"):
            return True  # as the SDK treats a tool that does not say what its failures are told as
        return resolve_function_tool_failure_error_function(self.tool, context) is None

    def _told(self, invocation: Invocation, context: ToolContext[Any], text: str) -> str:
        if getattr(self.tool, "output_json_schema", None) is not None:
            setattr(context, _HANDLED, True)
        if invocation.origins is not None:
            invocation.origins.told(text)
        return text


def _most(run: Run) -> int:
    return int(run.opening.settings.limits.arguments_bytes)
