"""The open questions of an agent that was put away, and what a word given inside of the framework may do.

A framework's own approvals are a way to wait: whoever holds the saved state may write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError


@dataclass(frozen=True, slots=True)
class Question:
    """One open question of an agent that was put away; answer it with `guard.approve(ticket, by=...)`."""

    ticket: str
    tool: str
    arguments: Mapping[str, Json]
    """The canonical ones: exactly these would be executed.  A model wrote them."""
    approver: str
    call_id: str | None
    """The model's id for the call."""


def questions_of(run: Run, tool: str, call_id: str | None, pending: PendingError) -> list[Question]:
    """Return what a call of the run waits for.

    Args:
        tool: As the framework names it.
    """
    arguments = dict(pending.decision.arguments) if pending.decision is not None else {}
    asked = ((id, run.state.open_tickets.get(id)) for id in pending.tickets)
    return [Question(id, tool, arguments, one.approver if one else "", call_id) for id, one in asked]


def answer(
    guard: Guard,
    tickets: Sequence[str],
    by: object,
    *,
    approves: bool = True,
    edited: Mapping[str, Json] | None = None,
    because: str | None = None,
) -> bool:
    """Give one person's answer to the first of a call's questions that takes it; say whether one did.

    Args:
        by: Who it is, as the host has verified it; anything but a name is nobody.
    """
    if not isinstance(by, str) or not by:  # SECURITY: whoever holds the saved state is nobody
        return False
    for ticket in tickets:
        try:
            if approves:
                guard.approve(ticket, by=by, edited=edited, because=because)
            else:
                guard.deny(ticket, by=by, because=because)
        except DeniedError:  # fails closed: it has no effect, which the ticket says, and stays open
            continue
        return True
    return False
