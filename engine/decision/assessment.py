"""What is known of a call before the ledger has answered: the sum of a decision's steps so far."""

from collections.abc import Mapping
from types import MappingProxyType

from ringfence.dsl.plan import Json, Obligations, Question, Reason, Verdict
from ringfence.engine.decision.calls import Charge, Decision
from ringfence.engine.decision.prepared import Prepared

_NO_OBLIGATIONS = Obligations()
_DENY, _ALLOW = Verdict.DENY, Verdict.ALLOW


class Assessment:
    """Everything about a call but the ledger's answer.

    `wider` are the charges to reserve, in the fixed order (budget, key), before `conclude`; empty: none.
    Those that count successes (`Charge.counting`) go into a reservation of their own, which is given back
    when the body fails.  `attempts` are reserved whatever the verdict, and kept.  `wanted` are the questions
    whose answers would say more: with them as `Facts.answers`, the call is assessed anew.
    """

    # The values here are what most calls have: an assessment holds only what it was given.
    arguments: Mapping[str, Json]
    reasons: list[Reason]
    verdict: Verdict = _ALLOW
    obligations: Obligations = _NO_OBLIGATIONS
    charges: tuple[Charge, ...] = ()
    wider: tuple[Charge, ...] = ()
    attempted: tuple[Charge, ...] = ()
    """All charges that count attempts, the run's own with them."""
    attempts: tuple[Charge, ...] = ()
    """Of those, the ones to reserve in the ledger."""
    label: int | None = None
    asks: tuple[str, ...] = ()
    halt: Reason | None = None
    shadow: list[Reason] | None = None
    denial_halts: Reason | None = None
    """The reason that halts the run if this call is denied."""
    decision: Decision | None = None
    """What comes of it, once its `wider` charges are reserved; None: that is put together then."""
    prepared: Prepared | None = None
    wanted: Mapping[str, Question] = MappingProxyType({})
    """Questions to plugins that have no answer yet, by key."""

    def deny_and_halt(self, reason: Reason) -> None:
        """Deny for a reason that ends the run; the first one says why."""
        self.verdict = min(self.verdict, _DENY)
        self.reasons.append(reason)
        if self.halt is None:
            self.halt = reason

    def note_shadow(self, reason: Reason) -> None:
        """Record what a shadow clause would have done."""
        if self.shadow is None:
            self.shadow = []
        self.shadow.append(reason)
