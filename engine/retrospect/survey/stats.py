"""What many recorded runs add up to: calls and verdicts, denials by rule, people, durations, models, halts.

The runs are read one after the other, newest first, and no more than one is held.  A run of which something
that counts cannot be read (purged, newer, changed) is named; it counts as a run, and nothing of it further.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ringfence.engine.retrospect.record import RecordError
from ringfence.engine.retrospect.survey.counting import ApproverTotal, ModelTotal, ToolTotal, Totals
from ringfence.engine.retrospect.survey.gathered import Pages, Unread, gathered
from ringfence.engine.retrospect.survey.search import Each, Rows, Wanted, rows_of
from ringfence.engine.retrospect.survey.spread import Spread
from ringfence.engine.retrospect.whatif import Rule

NAMED = 1_000
"""So many tools, rules, models and reasons are counted by name, each; of more, all others together."""


@dataclass(frozen=True, slots=True)
class ToolStats:
    """The calls of one tool."""

    tool: str | None
    """The framework's name; None: all tools beyond the first `NAMED`."""
    calls: int
    verdicts: Mapping[str, int]
    """By the last verdict of each; `undecided`: the run ended before there was one."""
    ran: int
    """Those whose body was started."""
    finished: int
    failed: Mapping[str, int]
    """By how: `raised`, `timeout`, `cancelled`, …"""
    unknown: int
    """Started, and no outcome was recorded."""
    took: Spread | None
    """How long the bodies took whose end was recorded."""


@dataclass(frozen=True, slots=True)
class RuleStats:
    """The refused calls that rest on one rule; one that rests on several is with each of them."""

    rule: Rule | None
    """None: all rules beyond the first `NAMED`."""
    calls: int


@dataclass(frozen=True, slots=True)
class ApproverStats:
    """The questions to one approver, or to all of them."""

    approver: str | None
    """As the policy names it; None: all, or all beyond the first `NAMED`."""
    asked: int
    approved: int
    """By as many people as the policy wants."""
    rejected: int
    expired: int
    withdrawn: int
    open: int
    """Nobody has settled it yet, as far as the run has learnt."""
    waited: Spread | None
    """From the question until the run learnt that it was approved or rejected."""


@dataclass(frozen=True, slots=True)
class ModelStats:
    """The requests to one model."""

    model: str | None
    """None: the framework did not say which, or all models beyond the first `NAMED`."""
    asked: int
    answered: int
    failed: int
    input_tokens: int
    output_tokens: int
    without_usage: int
    """Answers that do not say how many tokens they took."""
    took: Spread | None


@dataclass(frozen=True, slots=True)
class Stats:
    """What came of counting."""

    runs: int
    statuses: Mapping[str, int]
    events: int
    """Those of the runs that were read."""
    calls: int
    verdicts: Mapping[str, int]
    tools: tuple[ToolStats, ...]
    """The one with most calls first."""
    denials: tuple[RuleStats, ...]
    """Of calls whose last verdict is `deny` or `unknown`; the rule with most of them first."""
    approvals: ApproverStats
    approvers: tuple[ApproverStats, ...]
    models: tuple[ModelStats, ...]
    halts: Mapping[str, int]
    """By reason: a limit or a budget of the policy, `killed`, …"""
    unknown_in_running: int
    """Of the calls without an outcome, those of runs that go on: they may be at work still."""
    unread: tuple[Unread, ...]
    """The first `NAMED` runs that cannot be read."""
    runs_unread: int

    @property
    def slowest(self) -> tuple[ToolStats, ...]:
        """The tools whose bodies ran, by the 95th percentile of their time, the slowest first."""
        timed = [(tool.took.p95_ns, tool) for tool in self.tools if tool.took is not None]
        return tuple(tool for _, tool in sorted(timed, key=lambda one: -one[0]))


def stats(wanted: Wanted, rows: Rows, pages: Pages, *, each: Each = lambda row: None) -> Stats:
    """Count what happened in the runs that began as wanted; the log is only read.

    Args:
        wanted: By what the row of a run says; tool, verdict and rule leave nothing out here.
        each: Is told of each run that is counted.
    """
    totals = Totals(NAMED)
    for row in rows_of(wanted, rows):
        try:
            facts = gathered(row.run, pages)
        except RecordError as error:  # nothing of it counts, and it is named
            totals.unread(row, str(error))
        else:
            totals.add(row, facts)
        each(row)
    return _stats(totals)


def _stats(totals: Totals) -> Stats:
    tools = [_tool(name, total) for name, total in totals.tools.each.items()]
    rules = [RuleStats(rule, total["calls"]) for rule, total in totals.rules.each.items()]
    approvers = [_approver(name, total) for name, total in totals.approvers.each.items()]
    models = [_model(name, total) for name, total in totals.models.each.items()]
    verdicts: Counter[str] = Counter()
    for tool in tools:
        verdicts.update(tool.verdicts)
    return Stats(
        runs=totals.runs,
        statuses=_ordered(totals.statuses),
        events=totals.events,
        calls=sum(tool.calls for tool in tools),
        verdicts=_ordered(verdicts),
        tools=tuple(sorted(tools, key=lambda one: (-one.calls, one.tool is None, one.tool or ""))),
        denials=tuple(sorted(rules, key=lambda one: (-one.calls, one.rule is None, str(one.rule)))),
        approvals=_approver(None, totals.people),
        approvers=tuple(sorted(approvers, key=lambda one: (-one.asked, one.approver or ""))),
        models=tuple(sorted(models, key=lambda one: (-one.asked, one.model or ""))),
        halts=_ordered(totals.halts),
        unknown_in_running=totals.unknown_in_running,
        unread=tuple(totals.not_read),
        runs_unread=totals.runs_not_read,
    )


def _tool(name: str | None, total: ToolTotal) -> ToolStats:
    finished = total.outcomes["finished"]
    failed = _ordered(Counter({how: count for how, count in total.outcomes.items() if how != "finished"}))
    return ToolStats(
        tool=name,
        calls=total.verdicts.total(),
        verdicts=_ordered(total.verdicts),
        ran=total.outcomes.total() + total.unknown,
        finished=finished,
        failed=failed,
        unknown=total.unknown,
        took=total.durations.spread,
    )


def _approver(name: str | None, total: ApproverTotal) -> ApproverStats:
    fates = total.fates
    return ApproverStats(
        approver=name,
        asked=fates.total(),
        approved=fates["approve"],
        rejected=fates["reject"],
        expired=fates["expire"],
        withdrawn=fates["withdraw"],
        open=fates["open"],
        waited=total.durations.spread,
    )


def _model(name: str | None, total: ModelTotal) -> ModelStats:
    return ModelStats(
        model=name,
        asked=total.asked,
        answered=total.answered,
        failed=total.failed,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        without_usage=total.without_usage,
        took=total.durations.spread,
    )


def _ordered(counted: Counter[str]) -> dict[str, int]:
    """Return what was counted, the most frequent first."""
    return dict(sorted(counted.items(), key=lambda one: (-one[1], one[0])))
