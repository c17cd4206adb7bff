"""What the people who resume a graph were shown: the last interrupt of this very task, as it was saved.

Meanwhile a question may have been answered elsewhere, edited or passed on, and another call may ask.  What a
resume brings back is about what was shown, in the order in which it was shown, and about nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ringfence.adapters.langchain.suspension import CHECKPOINTER, KEY, Waiting
from ringfence.adapters.langchain.tree import TREE, around
from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json
from ringfence.engine.enforcement.runs import Run

_INTERRUPT: Final = "__interrupt__"
"""Under which LangGraph saves the interrupts of a task."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One call of the interrupt."""

    tool: str
    call_id: str | None
    arguments: Mapping[str, Json]
    tickets: frozenset[str]

    def is_about(self, run: Run, one: Waiting) -> bool:
        """Say whether what waits now is what was shown, whoever is asked about it by now.

        SECURITY: arguments that an approver has edited since then, nobody has seen.  And in a run that goes
        on from a saved state, this is another call, though it says the same.
        """
        known, decision = run.state.calls.get(one.key), one.pending.decision
        if known is None or decision is None or self.tickets.isdisjoint(asked.id for asked in known.tickets):
            return False
        return same(dict(self.arguments), dict(decision.arguments))


def shown(config: Mapping[str, Any], task: str | None) -> tuple[Shown, ...]:
    """Return the calls that the task showed last, in their order; none if nobody has resumed the graph."""
    place = _place(config)
    try:
        return () if place is None else _read(place[0].get_tuple(place[1]), task)
    except (
        NotImplementedError
    ):  # fails closed: saved by coroutines alone, so no answer is known to be about it
        return ()


async def ashown(config: Mapping[str, Any], task: str | None) -> tuple[Shown, ...]:
    """Like `shown`."""
    place = _place(config)
    return () if place is None else _read(await place[0].aget_tuple(place[1]), task)


def _place(config: Mapping[str, Any]) -> tuple[Any, Any] | None:
    if TREE.resumed_with(around(config)) is None:
        return None
    inside: Mapping[str, Any] = config.get("configurable") or {}
    saver = inside.get(CHECKPOINTER)
    if saver is None:
        return None
    namespace, _, _ = str(inside.get("checkpoint_ns", "")).rpartition("|")
    at = (inside.get("checkpoint_map") or {}).get(namespace)
    given = {name: value for name, value in inside.items() if not name.startswith(("__", "checkpoint_"))}
    return saver, {"configurable": {**given, "checkpoint_ns": namespace, "checkpoint_id": at}}


def _read(saved: Any, task: str | None) -> tuple[Shown, ...]:
    found: tuple[Shown, ...] = ()
    for of, channel, value in getattr(saved, "pending_writes", None) or ():
        if (of, channel) == (task, _INTERRUPT) and value:
            found = tuple(_calls(getattr(value[-1], "value", None)))
    return found


def _calls(payload: object) -> list[Shown]:
    ours = payload.get(KEY) if isinstance(payload, Mapping) else None
    return [
        Shown(
            call["tool"],
            call["call_id"],
            call["arguments"],
            frozenset(one["ticket"] for one in call["tickets"]),
        )
        for call in (ours["calls"] if isinstance(ours, Mapping) else ())
    ]
