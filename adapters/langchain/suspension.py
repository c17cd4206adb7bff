"""Asking people: LangGraph's interrupt is how a graph is put away, never how a call is allowed.

The payload has the form that LangGraph's user interfaces know, with our tickets beside it.  What a resume
brings back carries no authority of its own (`decisions` says what it may do); that the graph goes on makes
the guard look again whether the tickets were answered.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ringfence.adapters.langchain.tree import TREE, around
from ringfence.dsl.plan import Json, Verdict
from ringfence.engine.binding.questions import Question, questions_of
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError

CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps, in a task's config, what saves the graph; absent where nothing does."""
KEY = "ringfence"
"""Marks our interrupts."""
_ID: Final = re.compile("[0-9a-f]{32}")
"""What LangGraph takes for the id of an interrupt, in a resume that names several."""
_MOST_ROUNDS: Final = 100
"""How often one task may be answered by id; beyond, an answer by id is not heard."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits for people."""

    tool: str
    """The framework's name."""
    call_id: str | None
    pending: PendingError
    asked: tuple[Question, ...]
    """Its questions, as they were when it was put away."""

    @classmethod
    def of(cls, run: Run, tool: str, call_id: str | None, pending: PendingError) -> "Waiting":
        """Return what the guard said waits."""
        return cls(tool, call_id, pending, tuple(questions_of(run, tool, call_id, pending)))

    @property
    def key(self) -> str:
        """The call's key in its run."""
        assert self.pending.call is not None, "the guard says what waits"
        return self.pending.call


def can_suspend(config: Mapping[str, Any] | None) -> bool:
    """Say whether the graph around `config` can be put away and taken up again."""
    return bool(((config or {}).get("configurable") or {}).get(CHECKPOINTER))


def payload(waiting: Sequence[Waiting], allowed: Sequence[str]) -> dict[str, Json]:
    """Return the interrupt's value for the calls that wait; a resume answers them in this order.

    Args:
        allowed: The kinds of decisions that a resume may bring.
    """
    calls = [_call(one) for one in waiting]
    return {
        "action_requests": [
            {"name": one["tool"], "args": one["arguments"], "description": _described(one)} for one in calls
        ],
        "review_configs": [{"action_name": one["tool"], "allowed_decisions": list(allowed)} for one in calls],
        KEY: {"calls": calls},
    }


def _call(one: Waiting) -> dict[str, Any]:
    decision = one.pending.decision
    return {
        "tickets": [{"ticket": asked.ticket, "approver": asked.approver} for asked in one.asked],
        "tool": one.tool,
        "arguments": dict(decision.arguments) if decision else {},
        "call_id": one.call_id,
    }


def _described(call: Mapping[str, Any]) -> str:
    names = ", ".join(
        f"{t['ticket']} ({t['approver']})" if t["approver"] else t["ticket"] for t in call["tickets"]
    )
    return f"waits for approval: {names}"


def is_new(answer: object, config: Mapping[str, Any] | None) -> bool:
    """Say whether the host gave this answer in this very invocation.

    SECURITY: LangGraph hands the last answer out again whenever the graph goes on from there, so what one
    person resumed with would be taken for the word of the next one who merely lets the graph go on.
    """
    given = TREE.resumed_with(around(config))
    if isinstance(given, Mapping) and given and all(map(_is_id, given)):
        # SECURITY: an answer to a sibling's question is none to this one, though it says the same.
        return any(id in given and answer == given[id] for id in _ids(config))
    return given is not None and bool(answer == given)


def _is_id(name: object) -> bool:
    return isinstance(name, str) and _ID.fullmatch(name) is not None


def _ids(config: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the ids that LangGraph gives the interrupts of this task, the first ones."""
    from langgraph import types  # only where a graph runs: the tools need langchain-core alone

    namespace = str(((config or {}).get("configurable") or {}).get("checkpoint_ns"))
    yield types.Interrupt.from_ns(None, namespace).id
    numbered = getattr(types, "_interrupt_id", None)  # of newer versions; without it, fewer are known
    if numbered is not None:
        for number in range(_MOST_ROUNDS):
            yield numbered(namespace, number)


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
        for call in ours["calls"]:
            for one in call["tickets"]:
                yield Question(
                    one["ticket"], call["tool"], call["arguments"], one["approver"], call["call_id"]
                )


def withdrawn(guard: Guard, run: Run, waiting: Waiting, because: str) -> DeniedError:
    """Take the open questions of a call back; return the refusal."""
    decision = waiting.pending.decision
    assert decision is not None, "the guard says what waits"
    guard.withdraw(run, waiting.key, because=because)
    refused = decision._replace(verdict=Verdict.DENY)
    return DeniedError(
        f"`{waiting.tool}` was withdrawn: {because}", decision=refused, run=run.id, call=waiting.key
    )
