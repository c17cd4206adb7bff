"""What another policy would have said to a recorded run: the same calls, clock and facts, other rules.

The run is told as it went: a call that the other policy would have denied still gave its result here, since
nobody knows what the model would have done instead.  So each change stands on the recorded history, and what
comes after the first one is no longer comparable.  Budgets that were not asked then are taken to have had
room; functions that were not asked are undecided; a run holds no more than it was handed then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import Decision, Facts
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.decision.records import facts_of
from ringfence.engine.decision.retold import call_again
from ringfence.engine.retrospect.coverage import Coverage
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
    known_budgets = frozenset(budget.id for tool in plan.tools.values() for budget in tool.budgets)
    for stamped in record.events[1:]:
        event = stamped.event
        if isinstance(event, CallDecided) and (known := fold.state.calls.get(event.call)) is not None:
            try:
                call = call_again(known, event, plan.by_bound_name.get(known.tool))
                facts = _told(facts_of(event.facts), known_budgets)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RecordError(f"the facts of event {stamped.seq} cannot be read: {error}") from error
            if isinstance(call, str):
                yield Unreplayable(stamped.seq, event.call, call)
            else:
                now_ns = max(stamped.at_ns, fold.state.latest_ns)
                if coverage is not None:
                    coverage.begin()
                made = decide(plan, fold.state, call, facts, now_ns=now_ns, key=event.call)
                if coverage is not None:
                    coverage.end(made)
                same = str(made.verdict) == event.verdict and frozenset(made.asks) == frozenset(event.asks)
                change = None if same else _change(stamped.seq, now_ns, event, known.tool, made)
                yield Again(stamped.seq, now_ns, change)
        fold.take(stamped)


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
