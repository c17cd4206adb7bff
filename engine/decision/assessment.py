"""What is known of a call before the ledger has answered: the sum of a decision's steps so far."""

from collections.abc import Mapping

from ringfence.dsl.plan import Json, Obligations, Question, Reason, Verdict
from ringfence.engine.decision.calls import Charge
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

    __slots__ = (
        "arguments",
        "asks",
        "attempted",
        "attempts",
        "charges",
        "denial_halts",
        "halt",
        "label",
        "obligations",
        "prepared",
        "reasons",
        "shadow",
        "verdict",
        "wanted",
        "wider",
    )

    def __init__(self, arguments: Mapping[str, Json]) -> None:
        self.verdict = _ALLOW
        self.reasons: list[Reason] = []
        self.arguments = arguments
        self.obligations = _NO_OBLIGATIONS
        self.charges: tuple[Charge, ...] = ()
        self.wider: tuple[Charge, ...] = ()
        self.attempted: tuple[Charge, ...] = ()
        """All charges that count attempts, the run's own with them."""
        self.attempts: tuple[Charge, ...] = ()
        """Of those, the ones to reserve in the ledger."""
        self.label: int | None = None
        self.asks: tuple[str, ...] = ()
        self.halt: Reason | None = None
        self.shadow: list[Reason] | None = None
        self.denial_halts: Reason | None = None
        """The reason that halts the run if this call is denied."""
        self.prepared: Prepared | None = None
        self.wanted: dict[str, Question] = {}
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
