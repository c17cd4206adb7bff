"""Which clauses of a policy its tests, or recorded runs, have reached.

A clause is reached when its condition came out other than false in a decision; one without a condition,
when the call came so far that it was asked; a budget or a limit, when it spoke.  Clauses of ceilings are
left out: they are their own authors' to test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from ringfence.dsl.plan import (
    AuditRule,
    Clause,
    Condition,
    LabelClause,
    Plan,
    Redaction,
    ToolPlan,
    Truth,
)
from ringfence.dsl.source import Place
from ringfence.engine.decision.calls import Decision
from ringfence.engine.decision.watched import Watched


@dataclass(frozen=True, slots=True, order=True)
class Reachable:
    """One clause as the author wrote it; a rule that covers several tools is one."""

    file: str
    line: int
    column: int
    name: str
    """Of the reason that it gives: `send_email.allow`; or what it does: `send_email.result`."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.name}"


class Coverage:
    """What decisions under one policy have reached; `plan` is that policy, and tells what is asked of it."""

    def __init__(self, plan: Plan) -> None:
        self.all: set[Reachable] = set()
        self.reached: set[Reachable] = set()
        self._speaking: set[Reachable] = set()
        """Budgets and limits: they have no condition that could be asked."""
        self._now: set[Reachable] = set()
        """Reached in the round of the decision that is on."""
        tools = {name: self._watched(tool) for name, tool in plan.tools.items()}
        self.plan = replace(
            plan,
            tools=MappingProxyType(tools),
            by_bound_name=MappingProxyType({tool.bound: tool for tool in tools.values()}),
        )
        for agent in plan.agents.values():
            for limit in (agent.stop, agent.calls, agent.denials, agent.requests):
                if limit is not None:
                    self._speaking.add(self._reachable(limit.place, limit.reason))

    @property
    def unreached(self) -> list[Reachable]:
        """The clauses that were not reached, by place."""
        return sorted(self.all - self.reached)

    def begin(self) -> None:
        """Forget what was reached in a round that is asked again with more answers."""
        self._now = set()

    def end(self, decision: Decision) -> None:
        """Keep what the last round reached, and what spoke in the decision."""
        for reason in decision.reasons:
            if reason.place is not None:
                place = reason.place
                spoke = Reachable(place.file, place.line, place.column, reason.name.removesuffix("!error"))
                if spoke in self._speaking:
                    self._now.add(spoke)
        self.reached |= self._now
        self._now = set()

    def _watched(self, tool: ToolPlan) -> ToolPlan:
        for budget in tool.budgets:
            if budget.layer is None:
                self._speaking.add(self._reachable(budget.place, budget.reason))
        return replace(
            tool,
            denies=self._each(tool.denies),
            asks=self._each(tool.asks),
            allows=self._each(tool.allows, opening=True),
            redactions=self._each(tool.redactions),
            labels=tuple(self._label(tool, label) for label in tool.labels),
            audits=tuple(self._audit(audit) for audit in tool.audits),
        )

    def _each(self, clauses: "Sequence[_C]", *, opening: bool = False) -> "tuple[_C, ...]":
        return tuple(
            clause
            if clause.layer is not None
            else replace(clause, condition=self._asked(clause.condition, clause.place, clause.name, opening))
            for clause in clauses
        )

    def _label(self, tool: ToolPlan, label: LabelClause) -> LabelClause:
        if label.layer is not None or label.place is None:
            return label
        if label.otherwise:
            # It holds if the others are false, which its own condition does not say.
            return label
        return replace(label, condition=self._asked(label.condition, label.place, f"{tool.name}.result"))

    def _audit(self, audit: AuditRule) -> AuditRule:
        if audit.place is None:
            return audit
        return replace(audit, condition=self._asked(audit.condition, audit.place, audit.name))

    def _reachable(self, place: Place, name: str) -> Reachable:
        one = Reachable(place.file, place.line, place.column, name)
        self.all.add(one)
        return one

    def _asked(
        self, condition: Condition | None, place: Place, name: str, opening: bool = False
    ) -> Condition:
        """Watch a condition; one that only opens (an `allow`) is not reached where it is undecided."""
        one = self._reachable(place, name)

        def told(truth: Truth) -> None:
            if truth is True or (truth is None and not opening):
                self._now.add(one)

        return Watched(condition, told)


_C = TypeVar("_C", Clause, Redaction)
