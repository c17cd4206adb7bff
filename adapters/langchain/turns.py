"""People are asked about a whole turn of the model at once, before any of it runs.

One interrupt shows all calls of the turn that wait, in the form that user interfaces know.  Nothing is
allowed here: each call is decided when it comes to its gate, where it goes on as the one that was asked
about.  What cannot be foreseen here asks there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from ringfence.adapters.langchain import decisions, suspension
from ringfence.adapters.langchain.calls import task_of, tool_call
from ringfence.adapters.langchain.decisions import IN_PLACE, Review, reviews
from ringfence.adapters.langchain.gate import Gate
from ringfence.adapters.langchain.replies import error_message, told
from ringfence.adapters.langchain.runs import runs_of
from ringfence.adapters.langchain.shown import Shown
from ringfence.adapters.langchain.suspension import Waiting, withdrawn
from ringfence.adapters.langchain.values import json_of
from ringfence.dsl.plan import Plan
from ringfence.engine.binding.questions import answer
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import ApprovalAnswered, PromptGiven
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import DeniedError, PendingError, RunHaltedError

AnsweredBy = Callable[[Runtime[Any]], str | None]
Gates = Callable[[str], Gate | None]
"""The gate of a tool by its name, where it is known here."""


def may_ask(plan: Plan) -> bool:
    """Say whether the policy asks people about any tool."""
    return any(tool.asks for tool in plan.tools.values())


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A call of the model's turn, as it will arrive at its gate."""

    name: str
    id: str
    call: ToolCall


class Turns:
    """Asks about the calls of a turn before any of them is made.

    Args:
        answered_by: Says who resumes the graph, as the host has verified it; None: nobody can be verified.
    """

    def __init__(self, guard: Guard, answered_by: AnsweredBy | None) -> None:
        self._guard = guard
        self._answered_by = answered_by

    def to_look_at(
        self, calls: Sequence[Mapping[str, Any]], config: Mapping[str, Any] | None
    ) -> list[Mapping[str, Any]]:
        """Return the calls whose tools ask; without a checkpointer each waits at its gate."""
        if not calls or not suspension.can_suspend(config):
            return []
        ids = [call["id"] for call in calls]
        tools = self._guard.plan.by_bound_name
        return [
            call
            for call in calls
            # An id that two calls share, or none, cannot be answered for one of them: left to the gate.
            if call["id"] and ids.count(call["id"]) == 1
            if (tool := tools.get(call["name"])) is not None and tool.asks
        ]

    def ask(
        self,
        run: Run,
        calls: Sequence[Mapping[str, Any]],
        gates: Gates,
        runtime: Runtime[Any],
        config: Mapping[str, Any],
        shown: Sequence[Shown],
    ) -> dict[str, ToolMessage]:
        """Ask about these calls, and put the graph away until all are answered.

        Args:
            shown: What whoever resumed the graph was shown.

        Returns:
            By its id, the answer to each call that is not made any more.

        Raises:
            ResumeError: The graph was resumed with decisions that cannot be read.
        """
        left = self._foreseen(run, calls, gates, config)
        left = [one for one in left if self._guard.would_ask(run, one.call)]
        answers: dict[str, ToolMessage] = {}
        heard = not shown  # SECURITY: an answer that comes before anything was asked is about nothing
        while waiting := self._waiting(run, left, answers):
            runs_of(self._guard).asked(run)
            payload = suspension.payload(list(waiting.values()), decisions.KINDS)
            answer = interrupt(payload)
            # What was answered before is handed out again first: it has been heard, by whoever it was.
            while heard or not suspension.is_new(answer, config):
                answer = interrupt(payload)
            heard = True
            self._hear(run, runtime, waiting, shown, answer, answers)
            left = [one for one in left if one.id in waiting and one.id not in answers]
        return answers

    def _waiting(
        self, run: Run, left: Sequence[Foreseen], answers: dict[str, ToolMessage]
    ) -> dict[str, Waiting]:
        """Ask about each call; return those that wait, and put an answer in the place of those refused."""
        waiting: dict[str, Waiting] = {}
        for one in left:
            try:
                self._guard.ask(run, one.call)
            except PendingError as pending:
                waiting[one.id] = Waiting.of(run, one.name, one.id, pending)
            except DeniedError as error:
                if error.decision is None:  # it is the host that must hear it
                    raise
                answers[one.id] = self._in_place(run, error, one)
            except RunHaltedError:
                return {}  # each call is refused at its gate
        return waiting

    # ---- the turn ----------------------------------------------------------------------------------

    def _foreseen(
        self, run: Run, calls: Sequence[Mapping[str, Any]], gates: Gates, config: Mapping[str, Any]
    ) -> list[Foreseen]:
        found = []
        for call in calls:
            known = self._asked_before(run, call, config)
            gate = gates(call["name"]) if known is None else None
            if gate is not None:
                known = foreseen(gate, call, config)
            if known is not None:
                found.append(Foreseen(call["name"], call["id"], known))
        return found

    def _asked_before(self, run: Run, call: Mapping[str, Any], config: Mapping[str, Any]) -> ToolCall | None:
        """Return the call as this task asked about it before the graph was put away, perhaps elsewhere."""
        task = f"{task_of(config)}/{call['id']}"
        for known in tuple(run.state.ahead.values()):
            asked = known.asked_as
            if (
                asked is None
                or asked.withheld is not None
                or (asked.task, asked.tool) != (task, call["name"])
            ):
                continue
            names = None if asked.schema_names is None else frozenset(asked.schema_names)
            return tool_call(
                asked.tool, asked.arguments, call_id=call["id"], config=config, schema_names=names
            )
        return None

    # ---- answers -----------------------------------------------------------------------------------

    def _hear(
        self,
        run: Run,
        runtime: Runtime[Any],
        waiting: Mapping[str, Waiting],
        shown: Sequence[Shown],
        answer: object,
        answers: dict[str, ToolMessage],
    ) -> None:
        """Do what a resume may do; whatever has no effect leaves its question open.

        Raises:
            ResumeError: It cannot be read; nothing was done.
        """
        read = reviews(answer, [asked.tool for asked in shown])
        who = self._answered_by(runtime) if self._answered_by is not None else None
        by = who if isinstance(who, str) and who else None
        for review, asked in zip(read, shown, strict=True):
            id = asked.call_id or ""
            one = waiting.get(id)
            if one is None:  # it was answered elsewhere meanwhile
                continue
            tickets = one.pending.tickets if asked.is_about(run, one) else ()
            if review.kind == "respond":
                answers[id] = self._respond(run, one, review, by)
            elif review.kind == "reject" and not self._answer(tickets, review, by):
                answers[id] = self._refusal(withdrawn(self._guard, run, one, review.because), one.tool, id)
            elif review.kind in ("approve", "edit"):
                self._answer(tickets, review, by)

    def _answer(self, tickets: Sequence[str], review: Review, by: object) -> bool:
        """Give a verified person's answer to the first ticket that takes it; say whether one did."""
        approves = review.kind != "reject"
        edited = review.edited if approves else None
        return answer(self._guard, tickets, by, approves=approves, edited=edited, because=review.message)

    def _respond(self, run: Run, one: Waiting, review: Review, by: str | None) -> ToolMessage:
        """Answer the model in the tool's place: nothing runs."""
        text = review.message or ""
        withdrawn(self._guard, run, one, f"{IN_PLACE}{text}")
        # SECURITY: only the run's own user, verified, speaks as the user; anybody else came along.
        source = "user" if by is not None and by == run.principal.user else "host"
        self._guard.record(run, PromptGiven(source, jsonable(text, hide=run.hide)), keeps_open=True)
        return ToolMessage(content=text, name=one.tool, tool_call_id=str(one.call_id))

    def _in_place(self, run: Run, error: DeniedError, one: Foreseen) -> ToolMessage:
        """Return the answer to a call that is refused: a person's, if one was given while others waited."""
        known = run.state.calls.get(error.call or "")
        told_before = self._guard.runs.get(run.id).events if known is not None and known.given_back else ()
        for event in (stamped.event for stamped in told_before):
            if not isinstance(event, ApprovalAnswered) or event.call != error.call:
                continue
            because = event.because or ""
            if event.verdict == "withdraw" and because.startswith(IN_PLACE):
                text = because.removeprefix(IN_PLACE)
                return ToolMessage(content=text, name=one.name, tool_call_id=one.id)
        return self._refusal(error, one.name, one.id)

    def _refusal(self, error: DeniedError, name: str, id: str) -> ToolMessage:
        return error_message(told(error, self._guard.plan), name=name, call_id=id)


def foreseen(gate: Gate, call: Mapping[str, Any], config: Mapping[str, Any] | None) -> ToolCall | None:
    """Return a model's call as it will arrive at the gate; None where that cannot be known beforehand.

    It is only foreseen: what arrives there is decided, and if it is another call, then as that one.
    """
    parameters, given = gate.parameters, dict(call["args"])
    if parameters.injected & given.keys():
        return None  # a model forged it, or another way leads there
    try:
        args, values = gate.tool._to_args_and_kwargs(dict(given), call["id"])
        if args:
            if parameters.single is None or len(args) != 1:
                return None
            values = {**values, parameters.single: args[0]}
        chosen = parameters.decided(parameters.settled(values))
        seen = {name: json_of(value) for name, value in chosen.items()}
        extra = parameters.extra(given, seen)
    except Exception:  # fails closed: the gate will say what is wrong with it, and asks by itself
        return None
    return tool_call(
        gate.name,
        {**seen, **{name: json_of(value) for name, value in extra.items()}},
        call_id=call["id"],
        config=config,
        schema_names=parameters.visible,
    )
