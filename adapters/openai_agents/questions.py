"""What a paused agent waits for, and what a saved state that goes on may do about it.

The SDK's own approvals suspend: whoever holds a state can approve in it.  So before a state goes on, each
call that asks is looked at again: it is approved in the state if its tickets were answered, and waits on if
they were not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agents import Agent, RunState

from ringfence.adapter import DeniedError, EngineError, PendingError, Run, RunHaltedError
from ringfence.adapters.openai_agents.arguments import UnfitError
from ringfence.adapters.openai_agents.gates import Gate
from ringfence.adapters.openai_agents.invocations import Invocation
from ringfence.adapters.openai_agents.refusals import refusal_text
from ringfence.adapters.openai_agents.saved import questions_in
from ringfence.adapters.openai_agents.tools import gate_of
from ringfence.engine.binding.questions import Question, answer

LISTED: Final = "ringfence_listed"
"""Under which a guarded agent keeps the tools that were listed last."""

AnsweredBy = Callable[[Any], str | None]
"""Says who resumes a state, of its context, as the host has verified it; None: nobody can be verified."""


def questions(paused: Any) -> list[Question]:
    """Return the open questions of a paused agent.

    Args:
        paused: A result of the runner, or a state of the SDK's, read back from its text too.
    """
    context = getattr(paused, "context_wrapper", None)
    if context is None:
        context = context_of(paused) if isinstance(paused, RunState) else None
    return [
        Question(
            str(one.get("ticket")),
            str(one.get("tool")),
            one.get("arguments") or {},
            str(one.get("approver") or ""),
            None if one.get("call_id") is None else str(one["call_id"]),
        )
        for one in questions_in(context)
    ]


def context_of(state: RunState[Any, Any]) -> Any:
    """Return the run context of a state."""
    found = getattr(state, "_context", None)
    if found is None:
        raise EngineError("the state of the SDK has no context")
    return found


def agent_of_state(state: RunState[Any, Any], guarded: Callable[[Any], bool]) -> Agent[Any]:
    """Return the agent that a state begins with.

    Raises:
        EngineError: It would go on with an agent that nothing stands before.
    """
    start, now = getattr(state, "_starting_agent", None), getattr(state, "_current_agent", None)
    if start is None or not guarded(start) or not guarded(now):
        # SECURITY: the SDK goes on with the agent of the state, whichever one the caller names.
        raise EngineError(
            "the state was read for an agent that is not guarded",
            help="read it with `RunState.from_string(runner.guarded(agent), text)`",
        )
    return start  # type: ignore[no-any-return]


def listed_before(state: RunState[Any, Any]) -> dict[int, Sequence[Any]]:
    """Return the tools of those agents as they were listed last: by the run, or where the state was read."""
    agents = [item.agent for item in state.get_interruptions() if item.agent is not None]
    return {id(one): one.__dict__[LISTED] for one in agents if LISTED in one.__dict__}


async def listed(state: RunState[Any, Any]) -> dict[int, Sequence[Any]]:
    """Return the tools of the agents whose calls a state waits with, those of servers too, by agent."""
    context, found = context_of(state), dict[int, Sequence[Any]]()
    for item in state.get_interruptions():
        if item.agent is not None and id(item.agent) not in found and hasattr(item.agent, "ringfence"):
            found[id(item.agent)] = await item.agent.get_all_tools(context)
    return found


def reconcile(
    invocation: Invocation,
    state: RunState[Any, Any],
    answered_by: AnsweredBy | None,
    tools: Mapping[int, Sequence[Any]],
) -> None:
    """Have a state wait with the calls whose questions are open, and go on with all others.

    Those of agents that are tools are asked about in runs of their own: the host says in the state that they
    are to go on, and where a question is still open the gate puts them away again.

    Args:
        tools: What `listed` or `listed_before` returned; of an agent that is not there, its own are known.
    """
    context, run = context_of(state), invocation.run
    for item in state.get_interruptions():
        gate = _gate(item, tools) if item.agent is getattr(state, "_current_agent", None) else None
        call_id, text = getattr(item, "call_id", None), item.arguments or ""
        known = None if gate is None else run.plan.by_bound_name.get(gate.name)
        if gate is None or known is None or not known.asks or not isinstance(call_id, str):
            continue
        word = context.is_tool_approved(item.tool_name or "", call_id)
        pending = None if invocation.waits else _foreseen(invocation, gate, run, call_id, text)
        if pending is not None and word is True and answered_by is not None:
            answer(invocation.guard, pending.tickets, answered_by(context.context))
            pending = _foreseen(invocation, gate, run, call_id, text)
        if word is False:
            if pending is not None:
                said = context.get_rejection_message(item.tool_name or "", call_id, existing_pending=item)
                because = said or "rejected where the state was resumed"
                invocation.guard.withdraw(run, pending.call or "", because=because)
            continue
        _take_back(context, call_id)  # a word for all calls of a tool is one for this call alone
        if pending is not None:
            invocation.asked(call_id, pending, gate.name)
        elif word is True or call_id not in invocation.host_asks:
            state.approve(item)
    invocation.keep(context)


def _gate(item: Any, tools: Mapping[int, Sequence[Any]]) -> Gate | None:
    agent = item.agent
    names = (item.tool_name, getattr(item, "qualified_name", None))
    for tool in tools.get(id(agent), agent.tools):
        gate = gate_of(tool)
        if gate is not None and (gate.name in names or gate.tool.name == item.tool_name):
            return gate
    return None


def _foreseen(invocation: Invocation, gate: Gate, run: Run, call_id: str, text: str) -> PendingError | None:
    try:
        gate.foresee(invocation, run, call_id, text)
    except PendingError as pending:
        return pending
    except DeniedError as error:  # made again, it would be another call, which asks anew
        if error.decision is None:
            raise
        invocation.refused[call_id] = refusal_text(run, error)
    except (RunHaltedError, UnfitError):  # the gate says so, where it is recorded and told
        return None
    return None


def _take_back(context: Any, call_id: str) -> None:
    """Take back what a state approves of a call, so that the SDK waits with it, and with those after it.

    Where a version of the SDK keeps it elsewhere, the call comes to its gate, which puts the agent away.
    """
    for record in getattr(context, "_approvals", {}).values():
        approved = getattr(record, "approved", None)
        if isinstance(approved, list) and call_id in approved:
            approved.remove(call_id)
        elif approved is True:
            record.approved = []
