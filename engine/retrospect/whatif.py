"""What another policy would have said to a recorded run: the same calls, clock and facts, other rules.

The run is told as it went: a call that the other policy would have denied still gave its result here, since
nobody knows what the model would have done instead.  So each change stands on the recorded history.  Budgets
that were not asked then are taken to have had room; functions that were not asked are undecided.
"""

from dataclasses import dataclass, replace

from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import Decision, Facts
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.decision.records import facts_of
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Fold, Unreplayable


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that comes out otherwise."""

    seq: int
    call: str
    tool: str
    recorded: str
    """The verdict then."""
    verdict: str
    """The verdict of the other policy."""
    rules: tuple[str, ...]
    """The rules that it rests on, with their places."""
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would have changed in a run."""

    run: str
    decisions: int
    changes: tuple[Change, ...]
    not_replayable: tuple[Unreplayable, ...] = ()


def what_if(record: RunRecord, plan: Plan) -> WhatIf:
    """Decide every call of the run by another policy.

    Raises:
        RecordError: The run, or one that it goes on from, is not whole.
    """
    gaps = [f"{seq} ({record.purged[seq]})" for seq in sorted(record.tale.gaps)]
    if gaps:
        raise RecordError(f"run `{record.run}` cannot be decided again, purged: event {gaps[0]}")
    fold = Fold(record, plan)
    known_budgets = frozenset(budget.id for tool in plan.tools.values() for budget in tool.budgets)
    decisions = 0
    changes: list[Change] = []
    skipped: list[Unreplayable] = []
    for stamped in record.events[1:]:
        event = stamped.event
        if isinstance(event, CallDecided) and (known := fold.state.calls.get(event.call)) is not None:
            if known.withheld is not None:
                skipped.append(Unreplayable(stamped.seq, event.call, known.withheld))
            else:
                decisions += 1
                try:
                    facts = _told(facts_of(event.facts), known_budgets)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise RecordError(f"the facts of event {stamped.seq} cannot be read: {error}") from error
                now_ns = max(stamped.at_ns, fold.state.latest_ns)
                made = decide(plan, fold.state, known.request, facts, now_ns=now_ns, key=event.call)
                if str(made.verdict) != event.verdict or frozenset(made.asks) != frozenset(event.asks):
                    changes.append(_change(stamped.seq, event, known.tool, made))
        fold.take(stamped)
    return WhatIf(record.run, decisions, tuple(changes), tuple(skipped))


def _told(facts: Facts, budgets: frozenset[str]) -> Facts:
    """Return the facts as the other policy may use them."""
    reserved = tuple(one for one in facts.reserved or () if one.budget in budgets)
    attempted = tuple(one for one in facts.attempted or () if one.budget in budgets)
    return replace(facts, reserved=reserved, attempted=attempted)


def _change(seq: int, event: CallDecided, tool: str, made: Decision) -> Change:
    rules = tuple(
        reason.name if reason.place is None else f"{reason.name} at {reason.place}"
        for reason in made.reasons
        if made.verdict is Verdict.ALLOW or reason.effect != "allow"
    )
    return Change(seq, event.call, tool, event.verdict, str(made.verdict), rules, made.asks)
