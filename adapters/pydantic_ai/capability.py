"""The capability: `Agent(..., capabilities=[Guarded(guard)])`.

It stands innermost, so every other capability has had its say when a call is decided.
"""

import sys
from copy import copy
from typing import Any

from pydantic import ValidationError
from pydantic_ai import CallToolsNode, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.capabilities.abstract import CapabilityOrdering
from pydantic_ai.exceptions import ModelRetry, ToolFailed, UserError
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.output import OutputContext
from pydantic_ai.tools import DeferredToolRequests, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset

from ringfence.adapters.pydantic_ai import outputs
from ringfence.adapters.pydantic_ai.gate import AnsweredBy, Gate
from ringfence.adapters.pydantic_ai.requests import Requests
from ringfence.adapters.pydantic_ai.toolsets import EveryName, guarded, is_nothing
from ringfence.adapters.pydantic_ai.turn import Turn, Typed, WhichSession, WhoSpeaks
from ringfence.engine.binding.values import json_of
from ringfence.engine.enforcement.current import inside
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError


class Guarded(AbstractCapability[Any]):
    """Guards an agent: `Agent(model, tools=..., capabilities=[..., Guarded(guard)])`, or one of its runs.

    Args:
        guard: The guard, with its policy.
        agent: Which agent of the policy this is; None where the policy has one.
        principal: On whose behalf it works, or a function of the run's context; None: what `deps` say: they
            are a `Principal`, have one as `principal`, or are a mapping of its values.
        session: The session's id, or a function of the run's context; None: the conversation's.
        typed: What of its input the user typed: `prompt`, or a function of the run's context that returns
            the texts.  None: nothing that you vouch for, so under a policy with levels or sources the prompt
            is of the highest level and matches no source.
        suspends: Whether a call that asks people puts the agent away; None: if `DeferredToolRequests` is
            among the output types that the agent was made with.  Else it waits in place.
        answered_by: A function of the run's context that returns the name of the person whose yes the
            framework was given, as you have verified it, or None.  Only with it may that yes approve.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        agent: str | None = None,
        principal: WhoSpeaks = None,
        session: WhichSession = None,
        typed: Typed = None,
        suspends: bool | None = None,
        answered_by: AnsweredBy | None = None,
    ) -> None:
        if not (typed is None or typed == "prompt" or callable(typed)):
            raise ValueError("`typed` is `prompt`, or a function of the run's context")
        self.id = "ringfence"  # one given for a run takes the place of the agent's own
        self.guard = guard
        self.agent = agent
        self.principal = principal
        self.session = session
        self.typed = typed
        self.suspends = suspends
        self.answered_by = answered_by
        self._said: list[bool] = []
        """Not empty once the host was told; one list for all runs."""
        self._gate_of_run: Gate | None = None
        self._requests_of_run: Requests | None = None

    def get_ordering(self) -> CapabilityOrdering:
        """Return that it stands innermost."""
        return CapabilityOrdering(position="innermost")

    async def for_run(self, ctx: RunContext[Any]) -> "Guarded":
        """Return the capability for one run."""
        mine = copy(self)
        turn = Turn(self.guard, self.agent, self.principal, self.session, self.typed, self.suspends)
        mine._gate_of_run = Gate(turn, self.answered_by)
        mine._requests_of_run = Requests(mine._gate_of_run)
        return mine

    @property
    def _gate(self) -> Gate:
        if self._gate_of_run is None:
            raise EngineError("the agent's work came to the guard outside of any run")
        return self._gate_of_run

    @property
    def _requests(self) -> Requests:
        if self._requests_of_run is None:
            raise EngineError("the agent's work came to the guard outside of any run")
        return self._requests_of_run

    # ---- begin and end -----------------------------------------------------------------------------

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> Any:
        """Begin the run, or go on with the one that was put away; end it, or put it away."""
        turn = self._gate.turn
        if getattr(ctx, "realtime", False):
            # SECURITY: there the hooks are not called that hide the provider's tools and record what is said.
            raise EngineError(
                "a realtime session cannot be guarded", help="let it hand its work to a guarded agent"
            )
        self._see_whether_innermost(ctx)
        try:
            run = await turn.begin(ctx)
            with inside(run):
                result = await handler()
            if isinstance(result.output, DeferredToolRequests):
                self._requests.host_answered(run, result.all_messages())
                await turn.put_away()
            else:
                await turn.end(None)
        except BaseException as error:
            if isinstance(error, UserError) and turn.is_waiting:
                await turn.put_away()  # the host has called it wrongly: what waits goes on waiting
            else:
                await turn.end(error)
            raise
        finally:
            turn.leave()
        return result

    def _see_whether_innermost(self, ctx: RunContext[Any]) -> None:
        """Say once to the host that another capability stands further in: it could offer the model more."""
        standing: list[AbstractCapability[Any]] = []
        if ctx.root_capability is not None:
            ctx.root_capability.apply(standing.append)
        if standing and standing[-1] is not self and not self._said:
            self._said.append(True)
            print(
                "ringfence: another capability stands further in than `Guarded`: it can offer the model tools"
                " that run at the provider, where no call can be intercepted; put `Guarded` last in the list",
                file=sys.stderr,
            )

    # ---- the model ---------------------------------------------------------------------------------

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: Any
    ) -> ModelResponse:
        """Bound the request by the run's deadline and kills."""
        try:
            response: ModelResponse = await self.guard.abound(
                self._gate.turn.run, lambda: handler(request_context)
            )
        except BaseException as error:
            self._requests.failed(error)
            raise
        return response

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Hide what the run may not use, and record what is asked."""
        _see_every_name(ctx)
        return self._requests.outgoing(request_context)

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Record the answer."""
        self._requests.incoming(response)
        return response

    async def before_node_run(self, ctx: RunContext[Any], *, node: Any) -> Any:
        """See to the names that an answer asks for which other code gave in the model's place."""
        if isinstance(node, CallToolsNode):
            _see_every_name(ctx)
        return node

    async def on_model_request_error(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, error: Exception
    ) -> ModelResponse:
        """Record that there was none."""
        self._requests.failed(error)
        raise error

    # ---- the tools ---------------------------------------------------------------------------------

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Put the guard around all toolsets."""
        return guarded(self._gate, toolset)

    async def wrap_tool_validate(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, handler: Any
    ) -> dict[str, Any]:
        """Have calls refused and recorded that fit no tool, or not the tool's schema."""
        if is_nothing(tool_def):
            why = "no tool of this name is bound"
            raise ToolFailed(await self._gate.refuse(call.tool_name, _given(args), ctx, why))
        try:
            valid: dict[str, Any] = await handler(args)
        except (ValidationError, ModelRetry, ToolFailed) as error:
            why = f"the arguments are not valid ({type(error).__name__})"
            await self._gate.refuse(call.tool_name, _given(args), ctx, why)
            raise  # what the tool's own schema and validator say of them is for the model
        if tool_def.kind == "external":
            # SECURITY: of a toolset further out, or made so by a hook: it would be handed out undecided.
            await self._gate.handed_out(call.tool_name, valid, ctx)
        return valid

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Any,
    ) -> Any:
        """See that every tool's call comes to the guard, those of toolsets further out too."""
        gate = self._gate
        if call.tool_name not in gate.turn.listed:
            return await gate.foreign(call.tool_name, args, ctx, handler)
        with gate.expecting(ctx) as reach:
            result = await handler(args)
        if not reach.reached:
            # SECURITY: a toolset further out has answered by itself, and what it did was not decided.
            why = "another toolset answered the call, outside of the guard"
            raise ToolFailed(await gate.refuse(call.tool_name, _given(args), ctx, why))
        return result

    async def before_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any]
    ) -> dict[str, Any]:
        """See, last of all hooks, that a tool of a toolset further out gets what was decided."""
        if call.tool_name not in self._gate.turn.listed:
            await self._gate.arrived(call.tool_name, args, ctx)
        return args

    # ---- output functions --------------------------------------------------------------------------

    async def wrap_output_process(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any, handler: Any
    ) -> Any:
        """Have an output function decided as a tool of its name."""
        return await outputs.process(self._gate, ctx, output_context, output, handler)

    async def before_output_process(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any
    ) -> Any:
        """See, last of all hooks, that an output function gets what was decided."""
        await outputs.arrived(self._gate, ctx, output_context, output)
        return output


def _see_every_name(ctx: RunContext[Any]) -> None:
    """Have calls under names that no tool has come to the hooks, too."""
    manager = ctx.tool_manager
    if manager is not None and manager.tools is not None and not isinstance(manager.tools, EveryName):
        manager.tools = EveryName(manager.tools, manager.toolset)


def _given(args: Any) -> Any:
    """Return the arguments of a call that fit nothing: a text as the model wrote it, else JSON."""
    if isinstance(args, str):
        return args
    said = json_of(args)
    return said if isinstance(said, dict) else {"given": said}
