"""What another policy would have said to a recorded run: the same calls, clock and facts, other rules.

The run is told as it went: a call that the other policy would have denied still gave its result here, since
nobody knows what the model would have done instead.  So each change stands on the recorded history, and what
comes after the first one is no longer comparable.  Budgets that were not asked then are taken to have had
room; functions that were not asked are undecided; a run holds no more than it was handed then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ringfence.dsl.plan import Plan, ToolPlan, Verdict
from ringfence.engine.decision.calls import Decision, Facts
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallDecided, RunStarted, Stamped, SubrunJoined
from ringfence.engine.decision.lineage import Family, Lineage, Point
from ringfence.engine.decision.records import facts_of
from ringfence.engine.decision.retold import call_again
from ringfence.engine.decision.state import State
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.policies import policy_of
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Fold, Unreplayable


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that a decision rests on."""

    name: str
    place: str | None
    """`FILE:LINE:COLUMN`; None: no clause stands behind it."""
    because: str | None = None
    """The author's words."""

    def __str__(self) -> str:
        return self.name if self.place is None else f"{self.name} at {self.place}"


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that comes out otherwise."""

    seq: int
    at_ns: int
    call: str
    tool: str
    recorded: str
    """The verdict then."""
    verdict: str
    """The verdict of the other policy."""
    rules: tuple[Rule, ...]
    """Those of the other policy that gave this verdict."""
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would have changed in a run."""

    run: str
    decisions: int
    changes: tuple[Change, ...]
    comparable: int = 0
    """Of the decisions, those before the first change and that one: their history is also the one that the
    run would have had under the other policy, as far as the run itself goes."""
    not_replayable: tuple[Unreplayable, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """One recorded decision, made again by another policy."""

    seq: int
    at_ns: int
    """When it was made, by the clock of the run: never before the decision before it."""
    change: Change | None
    """None: it comes out the same."""
    decision: Decision
    """By the other policy."""


def what_if(record: RunRecord, plan: Plan) -> WhatIf:
    """Decide every call of the run by another policy.

    Raises:
        RecordError: The run, or one that it goes on from, is not whole.
    """
    decisions = comparable = 0
    changes: list[Change] = []
    skipped: list[Unreplayable] = []
    for one in decided_again(record, plan):
        if isinstance(one, Unreplayable):
            skipped.append(one)
            continue
        decisions += 1
        comparable += not changes
        if one.change is not None:
            changes.append(one.change)
    return WhatIf(record.run, decisions, tuple(changes), comparable, tuple(skipped))


def decided_again(
    record: RunRecord, plan: Plan, *, coverage: Coverage | None = None
) -> Iterator[Again | Unreplayable]:
    """Decide every call of the run by another policy, one after another.

    Args:
        plan: That policy; `coverage.plan` where there is a coverage.
        coverage: Is told what the decisions reached.
    Raises:
        RecordError: The run, or one that it goes on from, is not whole.
    """
    gaps = [f"{seq} ({record.purged[seq]})" for seq in sorted(record.tale.gaps)]
    if gaps:
        raise RecordError(f"run `{record.run}` cannot be decided again, purged: event {gaps[0]}")
    fold = Fold(record, plan)
    deciding = _Deciding(plan, coverage)
    for stamped in record.events[1:]:
        if isinstance(stamped.event, CallDecided) and stamped.event.call in fold.state.calls:
            yield deciding.again(fold.state, stamped, stamped.event, record.started)
        fold.take(stamped)


def decided_together(
    records: Sequence[RunRecord], plan: Plan, *, coverage: Coverage
) -> Mapping[str, list[Again | Unreplayable]] | None:
    """Decide every call of runs that remember each other, in one pass over all of them.

    Each run is folded once, however many go on from it; what comes out is what `decided_again` gives for each
    by itself.  None: these runs are not as simple as that, or not whole, and must be decided by themselves.
    """
    family = _one_by_one(records)
    if family is None:
        return None
    deciding = _Deciding(plan, coverage)
    found: dict[str, list[Again | Unreplayable]] = {record.run: [] for record in records}
    begun = {record.run: record.started for record in records}

    def decide_it(run: str, state: State, stamped: Stamped) -> None:
        if run in found and isinstance(stamped.event, CallDecided) and stamped.event.call in state.calls:
            found[run].append(deciding.again(state, stamped, stamped.event, begun[run]))

    lineage = Lineage(plan, family, deciding=decide_it)
    for record in records:
        lineage.state(record.run, record.tale.last)
    return found


def _one_by_one(records: Sequence[RunRecord]) -> Family | None:
    """Return the family of these runs, if no memory was put together of several; None: one was, or is gone.

    INVARIANT: what a run that remembers several others gives on is settled by the runs of its own family
    alone, which are fewer here than in a pass over all.
    """
    family, joined = Family(), set[Point]()
    told = {record.run: record for record in records}
    for record in records:
        family.want(record.run, record.tale.last)
    while (run := family.missing()) is not None:
        record = told[run] if run in told else records[0].other(run)
        tale = record.tale
        if tale.gaps or tale.last < family.upto[run] or record.started.continues[1:]:
            return None
        for stamped in record.events:
            event = stamped.event
            if isinstance(event, SubrunJoined):
                if (event.run, event.seq) in joined:
                    return None
                joined.add((event.run, event.seq))
            elif isinstance(event, RunStarted) and any(len(point) != 2 for point in event.continues):
                return None
        family.tell(run, tale)
    return family


class _Deciding:
    """Makes recorded decisions again, by another policy."""

    def __init__(self, plan: Plan, coverage: Coverage | None) -> None:
        self._plan = plan
        self._coverage = coverage
        self._budgets = frozenset(budget.id for tool in plan.tools.values() for budget in tool.budgets)

    def again(
        self, state: State, stamped: Stamped, event: CallDecided, begun: RunStarted
    ) -> Again | Unreplayable:
        """Make one again; `state` is the run's before it, `begun` its beginning."""
        known = state.calls[event.call]
        if known.withheld == "redacted" and not self._takes_the_same(known.tool, begun):
            # SECURITY: whether a hidden value would have been taken, nobody can tell any more.
            return Unreplayable(stamped.seq, event.call, known.withheld)
        try:
            call = call_again(known, event, self._plan.by_bound_name.get(known.tool))
            facts = _told(facts_of(event.facts), self._budgets)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"the facts of event {stamped.seq} cannot be read: {error}") from error
        if isinstance(call, str):
            return Unreplayable(stamped.seq, event.call, call)
        now_ns = max(stamped.at_ns, state.latest_ns)
        if self._coverage is not None:
            self._coverage.begin()
        made = decide(self._plan, state, call, facts, now_ns=now_ns, key=event.call)
        if self._coverage is not None:
            self._coverage.end(made)
        same = str(made.verdict) == event.verdict and frozenset(made.asks) == frozenset(event.asks)
        change = None if same else _change(stamped.seq, now_ns, event, known.tool, made)
        return Again(stamped.seq, now_ns, change, made)

    def _takes_the_same(self, bound: str, begun: RunStarted) -> bool:
        """Say whether what the tool's parameters may hold is the same by both policies."""
        if begun.policy_digest == self._plan.digest:
            return True
        then = policy_of(begun)
        if then is None:
            return False
        before, now = then.by_bound_name.get(bound), self._plan.by_bound_name.get(bound)
        return now is None or (before is not None and _takes(before) == _takes(now))


def _takes(tool: ToolPlan) -> dict[str, tuple[str, bool]] | None:
    taken = tool.parameters
    return None if taken is None else {one.name: (one.type, one.optional) for one in taken.values()}


def _told(facts: Facts, budgets: frozenset[str]) -> Facts:
    """Return the facts as the other policy may use them."""
    reserved = tuple(one for one in facts.reserved or () if one.budget in budgets)
    attempted = tuple(one for one in facts.attempted or () if one.budget in budgets)
    return replace(facts, reserved=reserved, attempted=attempted)


_GIVING = {
    Verdict.UNKNOWN: ("unknown",),
    Verdict.DENY: ("deny", "halt"),
    Verdict.ASK: ("ask",),
    Verdict.ALLOW: ("allow",),
}
"""The effects of the reasons that give a verdict; the others spoke, too, and did not matter."""


def _change(seq: int, at_ns: int, event: CallDecided, tool: str, made: Decision) -> Change:
    giving = [reason for reason in made.reasons if reason.effect in _GIVING[made.verdict]]
    rules = tuple(
        Rule(reason.name, None if reason.place is None else str(reason.place), reason.because)
        for reason in giving or made.reasons
    )
    return Change(seq, at_ns, event.call, tool, event.verdict, str(made.verdict), rules, made.asks)
