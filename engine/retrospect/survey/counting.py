"""Running totals over many runs: as much memory as there are names, and of names no more than are allowed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ringfence.dsl.plan import Json
from ringfence.engine.retrospect.survey.gathered import CallFacts, ModelFacts, RunFacts, TicketFacts, Unread
from ringfence.engine.retrospect.survey.spread import Durations
from ringfence.engine.retrospect.whatif import Rule
from ringfence.engine.seams.ports import RunRow

K = TypeVar("K")
V = TypeVar("V")

OTHERS = "(others)"
"""Stands for all names beyond those that are counted each."""

_WORDS = 100
"""So many verdicts, outcomes, statuses: a log that was changed may hold any text."""

_TOKENS = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
"""What frameworks call the tokens that went in and came out."""


class Named(Generic[K, V]):
    """One total for each name, up to so many of them; the names that come after share one."""

    def __init__(self, most: int, make: Callable[[], V]) -> None:
        self._most = most
        self._make = make
        self.each: dict[K | None, V] = {}

    def __getitem__(self, name: K | None) -> V:
        # SECURITY: a model can call tools by any name; names must not fill the memory.
        if name not in self.each and len(self.each) >= self._most:
            name = None
        total = self.each.get(name)
        if total is None:
            total = self.each[name] = self._make()
        return total


def count(counter: Counter[str], name: str, *, most: int = _WORDS) -> None:
    """Count a name; beyond `most` of them as `OTHERS`."""
    counter[name if name in counter or len(counter) < most else OTHERS] += 1


@dataclass(slots=True)
class ToolTotal:
    """The calls of one tool."""

    verdicts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of those whose body was started."""
    unknown: int = 0
    durations: Durations = field(default_factory=Durations)

    def add(self, call: CallFacts) -> None:
        """Add one call."""
        count(self.verdicts, call.verdict)
        if not call.started:
            return
        if call.outcome is None:
            self.unknown += 1
        else:
            count(self.outcomes, call.outcome)
        if call.duration_ns is not None:
            self.durations.add(call.duration_ns)


@dataclass(slots=True)
class ApproverTotal:
    """The questions to one approver."""

    fates: Counter[str] = field(default_factory=Counter)
    durations: Durations = field(default_factory=Durations)

    def add(self, fate: str, waited_ns: int | None) -> None:
        """Add one question."""
        self.fates[fate] += 1
        if waited_ns is not None:
            self.durations.add(waited_ns)


@dataclass(slots=True)
class ModelTotal:
    """The requests to one model."""

    asked: int = 0
    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    without_usage: int = 0
    durations: Durations = field(default_factory=Durations)

    def add(self, model: ModelFacts) -> None:
        """Add one request."""
        self.asked += 1
        if not model.answered:
            return
        if model.duration_ns is not None:
            self.durations.add(model.duration_ns)
        if model.failed:
            self.failed += 1
            return
        self.answered += 1
        tokens = _tokens(model.usage)
        if tokens is None:
            self.without_usage += 1
        else:
            self.input_tokens += tokens[0]
            self.output_tokens += tokens[1]


class Totals:
    """All that is counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.runs = 0
        self.events = 0
        self.statuses: Counter[str] = Counter()
        self.tools: Named[str, ToolTotal] = Named(most, ToolTotal)
        self.rules: Named[Rule, Counter[str]] = Named(most, Counter)
        self.people = ApproverTotal()
        self.approvers: Named[str, ApproverTotal] = Named(most, ApproverTotal)
        self.models: Named[str, ModelTotal] = Named(most, ModelTotal)
        self.halts: Counter[str] = Counter()
        self.unknown_in_running = 0
        self.not_read: list[Unread] = []
        self.runs_not_read = 0

    def unread(self, row: RunRow, because: str) -> None:
        """Count a run of which nothing further counts."""
        self._row(row)
        self.runs_not_read += 1
        if len(self.not_read) < self._most:
            self.not_read.append(Unread(row.run, because))

    def add(self, row: RunRow, facts: RunFacts) -> None:
        """Count a run."""
        self._row(row)
        self.events += facts.events
        for call in facts.calls.values():
            self.tools[call.tool].add(call)
            self.unknown_in_running += call.started and call.outcome is None and row.status == "running"
            if call.verdict in ("deny", "unknown"):
                for rule in dict.fromkeys(call.said[-1].told):
                    self.rules[rule]["calls"] += 1
        for model in facts.models.values():
            self.models[model.model].add(model)
        for reason in facts.halts:
            count(self.halts, reason, most=self._most)
        if facts.tickets:
            self._people(facts)

    def _row(self, row: RunRow) -> None:
        self.runs += 1
        count(self.statuses, row.status)

    def _people(self, facts: RunFacts) -> None:
        plan = facts.policy
        for ticket in facts.tickets.values():
            approver = None if plan is None else plan.approvers.get(ticket.approver)
            fate, waited_ns = _fate(ticket, 1 if approver is None else approver.quorum)
            self.people.add(fate, waited_ns)
            self.approvers[ticket.approver].add(fate, waited_ns)


def _fate(ticket: TicketFacts, quorum: int) -> tuple[str, int | None]:
    """Return what became of a question, and how long it took people to settle it."""
    if len(ticket.approvals) >= quorum:
        return "approve", max(0, [*ticket.approvals.values()][quorum - 1] - ticket.asked_ns)
    if ticket.closed is None:
        return "open", None
    how, at_ns = ticket.closed
    return how, max(0, at_ns - ticket.asked_ns) if how == "reject" else None


def _tokens(usage: Json) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    spent, made = (next((usage[name] for name in names if name in usage), None) for names in _TOKENS)
    if isinstance(spent, int) and isinstance(made, int) and spent >= 0 and made >= 0:
        return spent, made
    return None
