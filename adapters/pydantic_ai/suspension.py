"""How a call that asks people puts an agent away: as a deferred tool request that carries the ticket.

The request is for people to look at: what it carries is no authority.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic_ai import RunContext
from pydantic_ai.tools import DeferredToolRequests

from ringfence.engine.binding.questions import Question, questions_of
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import PendingError

KEY: Final = "ringfence"
"""Under this a request's metadata has what waits."""


def metadata_of(run: Run, tool: str, pending: PendingError) -> dict[str, Any]:
    """Return what a deferred request says of a call that waits."""
    asked, decision = questions_of(run, tool, None, pending), pending.decision
    return {
        "ticket": pending.tickets[0] if pending.tickets else None,
        KEY: {
            "run": run.id,
            "tool": tool,
            "arguments": dict(decision.arguments) if decision else {},
            "tickets": [{"ticket": one.ticket, "approver": one.approver} for one in asked],
        },
    }


def questions(paused: object) -> list[Question]:
    """Return the open questions of an agent that was put away.

    Args:
        paused: What a run returned, or its output.
    """
    return list(_of(getattr(paused, "output", paused)))


def _of(output: object) -> Iterator[Question]:
    if not isinstance(output, DeferredToolRequests):
        return
    for call in output.approvals:
        ours = output.metadata.get(call.tool_call_id, {}).get(KEY)
        if isinstance(ours, Mapping):
            for one in ours["tickets"]:
                yield Question(
                    one["ticket"], ours["tool"], ours["arguments"], one["approver"], call.tool_call_id
                )


def can_suspend(ctx: RunContext[Any]) -> bool:
    """Say whether the agent's output may be deferred tool requests, as the agent was made."""
    return ctx.agent is not None and _has_requests(ctx.agent.output_type)


def _has_requests(spec: Any) -> bool:
    if isinstance(spec, list | tuple):
        return any(map(_has_requests, spec))
    return spec is DeferredToolRequests or any(map(_has_requests, get_args(spec)))
