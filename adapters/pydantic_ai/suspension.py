"""How a call that asks people puts an agent away: as a deferred tool request that carries the ticket.

The request is for people to look at: what it carries is no authority.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic_ai import RunContext
from pydantic_ai.tools import DeferredToolRequests

from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import PendingError

KEY: Final = "ringfence"
"""Under this a request's metadata has what waits."""


@dataclass(frozen=True, slots=True)
class Question:
    """One open question of an agent that was put away; answer it with `guard.approve(ticket, by=...)`."""

    ticket: str
    tool: str
    arguments: Mapping[str, Json]
    """The canonical ones: exactly these would be executed.  A model wrote them."""
    approver: str
    call_id: str
    """The model's id for the call."""


def metadata_of(run: Run, tool: str, pending: PendingError) -> dict[str, Any]:
    """Return what a deferred request says of a call that waits."""
    asked = ((id, run.state.open_tickets.get(id)) for id in pending.tickets)
    decision = pending.decision
    return {
        "ticket": pending.tickets[0] if pending.tickets else None,
        KEY: {
            "run": run.id,
            "tool": tool,
            "arguments": dict(decision.arguments) if decision else {},
            "tickets": [{"ticket": id, "approver": one.approver if one else ""} for id, one in asked],
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
