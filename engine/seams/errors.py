"""The errors a caller of the guard can meet.  Each says what, where, why and what to do."""

from collections.abc import Sequence

from ringfence.dsl.plan import Reason
from ringfence.dsl.source import Place
from ringfence.engine.decision.calls import Decision


class RingfenceError(Exception):
    """The root of everything Ringfence raises on purpose.

    `code` is a stable word for programs.  `model_text` is all that the model may be told.
    """

    code = "ringfence"

    def __init__(
        self,
        message: str,
        *,
        reason: Reason | None = None,
        decision: Decision | None = None,
        model_text: str | None = None,
        help: str | None = None,
        run: str | None = None,
        call: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.decision = decision
        self.model_text = model_text
        self.help = help
        self.run = run
        self.call = call

    @property
    def rule(self) -> str | None:
        """The name of the rule that decided, or None."""
        return self.reason.name if self.reason else None

    @property
    def place(self) -> Place | None:
        """Where that rule stands in the policy, or None."""
        return self.reason.place if self.reason else None

    def diagnostics(self) -> str:
        """Return all of it for a person: what, where, why, how to mend.  Never for the model."""
        lines = [f"{self.code}: {self}"]
        reasons: Sequence[Reason] = self.decision.reasons if self.decision else ()
        for reason in reasons or ([self.reason] if self.reason else []):
            where = f" at {reason.place}" if reason.place else ""
            why = f": {reason.because}" if reason.because else ""
            found = f" ({reason.detail})" if reason.detail else ""
            lines.append(f"  {reason.effect} by {reason.name}{where}{why}{found}")
        if self.run:
            lines.append(f"  run {self.run}" + (f", call {self.call}" if self.call else ""))
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class DeniedError(RingfenceError):
    """The policy, or a person, refused the call.  `decision.verdict` is deny or unknown."""

    code = "denied"


class NoTicketError(DeniedError):
    """An answer names a ticket that does not exist."""


class PendingError(RingfenceError):
    """The call waits for people; `tickets` are the open questions.  Nothing ran."""

    code = "pending"

    def __init__(self, message: str, *, tickets: Sequence[str], **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]
        self.tickets = tuple(tickets)


class RunHaltedError(RingfenceError):
    """The run is over: a limit, a budget with `otherwise halt`, an operator, or an unclean end."""

    code = "halted"


class EngineError(RingfenceError):
    """Ringfence itself could not do its work (store, log, plugin).  Nothing ran; never fails open."""

    code = "engine"


class StoreAwayError(EngineError):
    """A store does not answer now (its server is down, slow or restarting) and may be back.

    What was asked of it may have happened or not: ask the same again.
    """

    code = "away"


class TakenOverError(EngineError):
    """Another process has taken the run over, or ended it, while this one could not say that it lives."""

    code = "taken over"


class PolicyError(RingfenceError):
    """The policy has mistakes and loads nothing; `diagnostics()` draws all of them."""

    code = "policy"


class SettingsError(RingfenceError):
    """`ringfence.toml` or a `RINGFENCE_*` variable is wrong."""

    code = "settings"


class ToolFailedError(RingfenceError):
    """The body was stopped at its time bound, or had failed before the run was resumed."""

    code = "failed"
