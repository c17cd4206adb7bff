"""What the worst agent could do under a plan: calls per run and per day, distinct resources, who signs.

Every figure is an upper bound for an agent that wants the most the policy allows, whatever the model
writes.  `None` is *unbounded*: nothing in the policy bounds it.  A bound per key (`for each workspace`) is
one per key, and says so: how many keys there are is not the policy's to say.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ringfence.dsl.compile.periods import SCOPES
from ringfence.dsl.plan import AgentPlan, Budget, Json, Plan, ToolPlan

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `count` (None: unbounded), counted for each `key` (None: over the whole policy)."""

    count: int | None
    key: str | None = None

    def __str__(self) -> str:
        if self.count is None:
            return "unbounded"
        return str(self.count) if self.key is None else f"{self.count} for each {self.key}"


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst case of one tool."""

    tool: str
    traits: tuple[str, ...]
    per_run: Bound
    per_day: Bound
    resources: tuple[str, ...]
    """Distinct resources, each bound in words: `10 recipient per run`."""
    amounts: tuple[str, ...]
    """What `budget … of` bounds: `outbound: 204800 per day for each workspace`."""
    signed: str
    """Whether people sign: nobody, sometimes (under a condition), always."""
    by: tuple[str, ...]
    """The approvers that may be asked."""

    def record(self) -> dict[str, Json]:
        """Return the row as data; unbounded counts are null."""
        return {
            "tool": self.tool,
            "traits": list(self.traits),
            "calls_per_run": self.per_run.count,
            "calls_per_run_for_each": self.per_run.key,
            "calls_per_day": self.per_day.count,
            "calls_per_day_for_each": self.per_day.key,
            "distinct_resources": list(self.resources),
            "amounts": list(self.amounts),
            "signed": self.signed,
            "signed_by": list(self.by),
        }


def blast(plan: Plan) -> list[Worst]:
    """Return the worst case of each tool that some agent can call, those with the fewest bounds first."""
    rows = [_worst(plan, tool) for tool in plan.tools.values() if tool.allows]
    return sorted(
        rows, key=lambda row: (row.per_day.count is not None, row.per_run.count is not None, row.tool)
    )


def _worst(plan: Plan, tool: ToolPlan) -> Worst:
    runs = [_per_run(plan, tool, agent) for agent in _callers(plan, tool)]
    signing = [ask for ask in tool.asks if not ask.shadow]
    always = any(ask.condition is None for ask in signing)
    return Worst(
        tool=tool.name,
        traits=tuple(sorted(tool.traits)),
        per_run=_most(runs) if runs else Bound(0),
        per_day=_least(_in(budget, DAY_NS) for budget in _calls(tool)) if runs else Bound(0),
        resources=tuple(f"{b.limit} {b.resource} {_span(b)}" for b in tool.budgets if b.kind == "distinct"),
        amounts=tuple(
            f"{b.reason}: {_plain(b.limit, b.scale)} {_span(b)}" for b in tool.budgets if b.kind == "amount"
        ),
        signed="always" if always else "sometimes" if signing else "nobody",
        by=tuple(dict.fromkeys(ask.approver for ask in signing if ask.approver is not None)),
    )


def _callers(plan: Plan, tool: ToolPlan) -> list[AgentPlan]:
    return [
        agent
        for agent in plan.agents.values()
        if tool.needs <= agent.holds and (tool.starts is None or tool.starts in agent.may_start)
    ]


def _calls(tool: ToolPlan) -> Iterator[Budget]:
    """Yield the budgets that bound how many calls run; one that counts successes bounds no attempts."""
    for budget in tool.budgets:
        if budget.kind == "calls" and budget.counting != "successes":
            yield budget


def _per_run(plan: Plan, tool: ToolPlan, agent: AgentPlan) -> Bound:
    longest_ns = _longest_run_ns(plan, agent)
    bounds = [_in(budget, longest_ns) for budget in _calls(tool)]
    if agent.calls is not None:
        bounds.append(Bound(agent.calls.at_most))
    return _least(bounds)


def _longest_run_ns(plan: Plan, agent: AgentPlan) -> int | None:
    """Return how long a run can last: its time, and each pause in which people may be waited for."""
    if agent.stop is None:
        return None
    waits = [approver.within_ns for approver in plan.approvers.values()]
    if not any(tool.asks for tool in plan.tools.values()):
        return agent.stop.at_most
    if agent.requests is None or any(within is None for within in waits):
        return None
    return agent.stop.at_most + agent.requests.at_most * max((within or 0 for within in waits), default=0)


def _in(budget: Budget, span_ns: int | None) -> Bound:
    """Return how many units fit into a span: windows are half-open, so each begins where one ended."""
    if budget.period_ns is None:
        # A budget per run bounds a run, and no day: nothing bounds the number of runs.
        return Bound(budget.limit if span_ns != DAY_NS else None, _key(budget))
    if span_ns is None:
        return Bound(None)
    return Bound(budget.limit * -(-span_ns // budget.period_ns), _key(budget))


def _key(budget: Budget) -> str | None:
    return None if budget.scope in (None, "run", "tool") else budget.scope


def _least(bounds: Iterable[Bound]) -> Bound:
    """Return the tightest; of two alike, the one over the whole policy.

    One for each value of a parameter is as many as the model has values, so any other comes before it.
    """
    known = [bound for bound in bounds if bound.count is not None]
    return min(
        known,
        key=lambda bound: (
            bound.key is not None and bound.key not in SCOPES,
            bound.count,
            bound.key is not None,
        ),
        default=Bound(None),
    )


def _most(bounds: list[Bound]) -> Bound:
    if any(bound.count is None for bound in bounds):
        return Bound(None)
    return max(bounds, key=lambda bound: (bound.count, bound.key is not None))


def _span(budget: Budget) -> str:
    from ringfence.dsl.types import duration_text

    period = "per run" if budget.period_ns is None else f"per {duration_text(budget.period_ns)}"
    for_each = f" for each {budget.scope}" if budget.scope not in (None, "run") else ""
    return period.replace("per 1 ", "per ") + for_each


def _plain(limit: int, scale: int) -> str:
    whole, rest = divmod(limit, scale)
    return str(whole) if not rest else f"{limit / scale}"
