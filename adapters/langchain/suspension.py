"""Asking people: LangGraph's interrupt is how a graph is put away, never how a call is allowed.

The payload has the form that LangGraph's user interfaces know, with our ticket beside it.  What a resume
brings back carries no authority: it may reject, and anything else merely lets the guard look again
whether the ticket was answered.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ringfence.dsl.plan import Json
from ringfence.engine.seams.errors import PendingError

CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps, in a task's config, what saves the graph; absent where nothing does."""
KEY = "ringfence"
"""Marks our interrupts."""


@dataclass(frozen=True, slots=True)
class Question:
    """One open question of a paused graph; answer it with `guard.approve(ticket, by=...)`."""

    ticket: str
    tool: str
    arguments: Mapping[str, Json]
    """The canonical ones: exactly these would be executed.  A model wrote them."""
    approver: str
    call_id: str | None
    """The model's id for the call."""


def can_suspend(config: Mapping[str, Any] | None) -> bool:
    """Say whether the graph around `config` can be put away and taken up again."""
    return bool(((config or {}).get("configurable") or {}).get(CHECKPOINTER))


def payload(pending: PendingError, tool: str, call_id: str | None) -> dict[str, Json]:
    """Return the interrupt's value for a call that waits for people."""
    decision = pending.decision
    arguments = dict(decision.arguments) if decision else {}
    approvers: Sequence[str] = decision.asks if decision else ()
    asked = [*approvers, *[""] * len(pending.tickets)][: len(pending.tickets)]
    tickets = [
        {"ticket": ticket, "approver": who} for ticket, who in zip(pending.tickets, asked, strict=True)
    ]
    names = ", ".join(f"{t['ticket']} ({t['approver']})" if t["approver"] else t["ticket"] for t in tickets)
    return {
        "action_requests": [{"name": tool, "args": arguments, "description": f"waits for approval: {names}"}],
        "review_configs": [{"action_name": tool, "allowed_decisions": ["approve", "reject"]}],
        KEY: {"tickets": tickets, "tool": tool, "arguments": arguments, "call_id": call_id},
    }


def rejection(answer: object) -> str | None:
    """Return the words of a resume value that rejects, or None for any other."""
    for one in _answers(answer):
        if one == "reject":
            return "rejected on resume"
        if isinstance(one, Mapping) and one.get("type") == "reject":
            message = one.get("message")
            return message if isinstance(message, str) and message else "rejected on resume"
    return None


def _answers(answer: object) -> Sequence[object]:
    if isinstance(answer, Mapping) and isinstance(answer.get("decisions"), Sequence):
        return tuple(answer["decisions"])
    return (answer,)


def questions(paused: object) -> list[Question]:
    """Return the open questions of a paused graph.

    Args:
        paused: What `invoke` returned, or what `get_state` returns.
    """
    return [question for value in _values(paused) for question in _of(value)]


def _values(paused: object) -> Iterator[object]:
    given = paused.get("__interrupt__") if isinstance(paused, Mapping) else None
    for interrupt in given if given is not None else getattr(paused, "interrupts", None) or ():
        yield getattr(interrupt, "value", interrupt)


def _of(value: object) -> Iterator[Question]:
    ours = value.get(KEY) if isinstance(value, Mapping) else None
    if isinstance(ours, Mapping):
        for one in ours["tickets"]:
            yield Question(one["ticket"], ours["tool"], ours["arguments"], one["approver"], ours["call_id"])
