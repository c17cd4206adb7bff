"""The decisions of a recorded run, made anew: each with what was decided, and whether that differs."""

from collections.abc import Iterator
from dataclasses import dataclass

from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import Decision
from ringfence.engine.decision.events import CallDecided
from ringfence.engine.decision.written import reason_of
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import Fold, Unreplayable, decided_again
from ringfence.engine.retrospect.whatif import Again
from ringfence.engine.retrospect.whatif import decided_again as decided_otherwise
from ringfence.engine.seams.escape import escaped


@dataclass(frozen=True, slots=True)
class Anew:
    """One recorded decision and what it comes to now."""

    seq: int
    decision: Decision
    differs: str | None
    """How it differs from the recorded one, for people; None: it does not."""


def by_own(record: RunRecord, plan: Plan) -> Iterator[Anew]:
    """Make the decisions anew by the policy that the run began with: equal in every field, or different.

    Those whose arguments are not in the record are left out.

    Raises:
        RecordError: The run, or one that it goes on from, is not whole.
    """
    fold = Fold(record, plan)
    for stamped in record.events[1:]:
        event = stamped.event
        if isinstance(event, CallDecided):
            if event.call not in fold.state.calls:
                raise RecordError(f"event {stamped.seq} decides a call that was never requested")
            made = decided_again(plan, fold.state, stamped, event, record.body_of(stamped))
            if not isinstance(made, Unreplayable):
                decision, divergence = made
                yield Anew(stamped.seq, decision, None if divergence is None else _lines(str(divergence)))
        fold.take(stamped)


def by_other(record: RunRecord, plan: Plan) -> Iterator[Anew]:
    """Make the decisions anew by another policy: another verdict, or other approvers, is a difference.

    Raises:
        RecordError: The run, or one that it goes on from, is not whole.
    """
    for again in decided_otherwise(record, plan):
        if isinstance(again, Again):
            yield Anew(again.seq, again.decision, _said(again))


def as_recorded(event: CallDecided) -> Decision:
    """Return the decision as the record has it, not made anew.

    Raises:
        RecordError: It is of another shape than a guard writes.
    """
    try:
        reasons = tuple(map(reason_of, event.reasons))
        return Decision(_VERDICTS[event.verdict], reasons, event.arguments or {}, asks=event.asks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the decision of call {escaped(event.call)} cannot be read: {error}") from error


def _lines(said: str) -> str:
    """Return lines with nothing in them that steers a terminal."""
    return "\n".join(map(escaped, said.split("\n")))


_VERDICTS = {str(verdict): verdict for verdict in Verdict}


def _said(again: Again) -> str | None:
    change = again.change
    if change is None:
        return None
    rules = "; ".join(
        str(rule) + ("" if rule.because is None else f", because {rule.because}") for rule in change.rules
    )
    asks = f" of {', '.join(change.asks)}" if change.asks else ""
    return escaped(f"decided then: {change.recorded}; by this policy: {change.verdict}{asks}, by {rules}")
