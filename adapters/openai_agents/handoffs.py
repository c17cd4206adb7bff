"""Handing over to another agent is a call: decided, recorded, and answered by the guarded copy of that agent.

A policy declares it by the name of the handoff (`tool transfer_to_refunds {...}`), or as the agent that may
be started (`agent triage { may start refunds }`): then what follows is a run of that agent inside of this
one.
"""

import copy
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents import Agent, Handoff, HandoffInputData, RunContextWrapper

from ringfence.adapter import DeniedError, Guard, Json, Plan, RunHaltedError, ToolCall, ToolFailedError
from ringfence.adapters.openai_agents.arguments import Parameters, UnfitError, written
from ringfence.adapters.openai_agents.invocations import Invocation, around, invocation_of, within
from ringfence.adapters.openai_agents.refusals import refusal_text, unread_call

_MARK = "ringfence_passage"


@dataclass(slots=True, eq=False)
class Passage:
    """What guards one handoff."""

    guard: Guard
    name: str
    """By which the policy knows it."""
    handoff: Handoff[Any, Any]
    """The original, unguarded."""
    parameters: Parameters
    guarded: Callable[[Any], Agent[Any]]

    async def is_enabled(self, context: RunContextWrapper[Any], agent: Any) -> bool:
        """Say whether the model is offered it: the policy declares it, and the host has it enabled."""
        invocation = around(self.guard)
        # Outside of any run the SDK reads a saved state; there, `invoke` raises.
        if invocation is not None:
            run = await invocation.at()
            invocation.holders[self.handoff.tool_name] = agent
            if not self.guard.visible(run, [self.name]):
                return False
        word: Any = self.handoff.is_enabled
        if not callable(word):
            return bool(word)
        said = word(context, agent)
        return bool(await said if hasattr(said, "__await__") else said)

    async def invoke(self, context: RunContextWrapper[Any], text: str | None = None) -> Agent[Any]:
        """Decide the handoff; return who goes on: the other agent, or, if it is refused, the same."""
        invocation = invocation_of(self.guard, f"`{self.name}`")
        run = await invocation.at()
        # SECURITY: the agent that was listed last may be one that a guardrail runs beside.
        stays: Agent[Any] = invocation.holders.get(self.handoff.tool_name, invocation.agent)
        invocation.stayed.pop(self.handoff.tool_name, None)
        call_id = invocation.asked_ids.pop(self.handoff.tool_name, None)
        raised: list[BaseException] = []
        try:
            try:
                arguments = self.parameters.read(
                    text or "", most_characters=run.opening.settings.limits.arguments_bytes
                )
            except UnfitError as error:
                await self.guard.arefuse(
                    run, unread_call(invocation, self.name, call_id, text or ""), str(error)
                )
            call = ToolCall(
                self.name,
                arguments,
                call_id=call_id,
                task=call_id,
                attempt=invocation.attempt,
                schema_names=self.parameters.names,
            )
            found: list[Agent[Any]] = []

            async def body(decided: Mapping[str, Json]) -> Json:
                try:
                    found.append(await self._over(invocation, context, text, decided))
                except Exception as error:  # it is the host's own, not the guard's word
                    raised.append(error)
                    raise
                return {"assistant": found[0].name}

            # The SDK puts nobody away before a handoff: people are waited for in place.
            await self.guard.aexecute(run, call, body, wait=True)
            if not found:
                raise DeniedError(f"`{self.name}` was made before", run=run.id, model_text=None)
        except (DeniedError, ToolFailedError, RunHaltedError) as error:
            if error in raised or (isinstance(error, RunHaltedError) and invocation.on_halt == "raise"):
                invocation.failed(error)
                raise
            invocation.stayed[self.handoff.tool_name] = refusal_text(run, error)
            return stays
        except Exception as error:  # raised again: the host hears it as it is
            if error not in raised:
                invocation.failed(error)
            raise
        invocation.keep(context)
        return found[0]

    async def _over(
        self,
        invocation: Invocation,
        context: RunContextWrapper[Any],
        text: str | None,
        decided: Mapping[str, Json],
    ) -> Agent[Any]:
        with within(None):  # what the host's own callback runs is no part of this invocation
            other = await self.handoff.on_invoke_handoff(context, written(decided) if text else (text or ""))
        agent = self.guarded(other)
        known = invocation.run.plan.by_bound_name.get(self.name)
        if known is not None and known.starts is not None:
            await invocation.hand_over(known.starts)
        return agent

    def message(self, agent: Any) -> str:
        """Return what the model is told of the handoff: that it was refused, where it was."""
        told = invocation_of(self.guard, f"`{self.name}`").stayed.get(self.handoff.tool_name)
        return self.handoff.get_transfer_message(agent) if told is None else told

    def filtered(self, data: HandoffInputData) -> Any:
        """Return what the next agent is shown; whoever stays is shown everything, the refusal too."""
        if self.handoff.tool_name in invocation_of(self.guard, f"`{self.name}`").stayed:
            return data
        assert self.handoff.input_filter is not None, "there is one, or this is not called"
        return self.handoff.input_filter(data)


def guarded_handoff(
    guard: Guard, given: Handoff[Any, Any], target: Agent[Any] | None, guarded: Callable[[Any], Agent[Any]]
) -> Handoff[Any, Any]:
    """Return the guarded copy of a handoff.

    Args:
        target: The guarded copy of the agent that it names, where it names one.
        guarded: Returns the guarded copy of any agent.
    """
    copied = copy.copy(given)
    name = _name(guard.plan, given)
    passage = Passage(guard, name, given, Parameters.of(given.input_json_schema, strict=False), guarded)
    copied.on_invoke_handoff = passage.invoke
    copied.is_enabled = passage.is_enabled
    copied.get_transfer_message = passage.message  # type: ignore[method-assign]
    if given.input_filter is not None:
        copied.input_filter = passage.filtered
    copied._agent_ref = None if target is None else weakref.ref(target)
    copied.__dict__[_MARK] = passage
    return copied


def passage_of(given: Any) -> Passage | None:
    """Return what guards a handoff, if it still does."""
    found = getattr(given, "__dict__", {}).get(_MARK)
    if not isinstance(found, Passage) or given.on_invoke_handoff != found.invoke:
        return None
    return found if given.tool_name == found.handoff.tool_name else None


def _name(plan: Plan, given: Handoff[Any, Any]) -> str:
    """Return the name by which the policy declares a handoff: its own, or that of the agent it starts."""
    if given.tool_name in plan.by_bound_name:
        return given.tool_name
    known = plan.by_bound_name.get(given.agent_name)
    return given.agent_name if known is not None and known.starts is not None else given.tool_name
