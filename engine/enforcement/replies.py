"""What a caller is told: errors for the host, one constant text for the model."""

from typing import Final

from ringfence.dsl.plan import Plan, Reason, Verdict
from ringfence.engine.decision.calls import Decision
from ringfence.engine.enforcement.runs import Held, Run
from ringfence.engine.seams.errors import DeniedError, RingfenceError, RunHaltedError, ToolFailedError


def said_to_model(plan: Plan, decision: Decision) -> str:
    """Return the policy's text for a refusal; the rule's own words only where the policy says so."""
    unknown = decision.verdict is Verdict.UNKNOWN
    constant = plan.responses.unknown if unknown else plan.responses.deny
    if constant is not None:
        return constant
    spoken = [reason.because for reason in decision.reasons if reason.effect != "allow" and reason.because]
    return spoken[0] if spoken else "tool not found" if unknown else "not authorized"


def refusal(run: Run, held: Held) -> RingfenceError:
    """Return the error for a call that was decided `unknown` or `deny`."""
    decision = held.decision
    speaking = _speaking(decision)
    halted = decision.halt or run.state.halted
    make = RunHaltedError if halted is not None else DeniedError
    reason = halted or speaking
    named = f" by {reason.name}" if reason else ""
    return make(
        f"`{held.call.tool}` was refused{named}",
        reason=reason,
        decision=decision,
        model_text=said_to_model(run.plan, decision),
        run=run.id,
        call=held.key,
    )


def rejected(run: Run, held: Held, because: str) -> DeniedError:
    """Return the error for a call that people did not approve."""
    asking = next((reason for reason in held.decision.reasons if reason.effect == "ask"), None)
    decision = held.decision._replace(verdict=Verdict.DENY)
    return DeniedError(
        f"`{held.call.tool}` was not approved: {because}",
        reason=asking,
        decision=decision,
        model_text=said_to_model(run.plan, decision),
        run=run.id,
        call=held.key,
    )


LAPSED: Final = "what it had reserved was held for too long and counts no more"
"""Why a call is not dispatched whose reservation has left its windows."""


def lapsed(run: Run, held: Held) -> DeniedError:
    """Return the error for a call that came too late to its dispatch."""
    decision = held.decision._replace(verdict=Verdict.DENY)
    return DeniedError(
        f"`{held.call.tool}` was not started: {LAPSED}",
        decision=decision,
        model_text=said_to_model(run.plan, decision),
        run=run.id,
        call=held.key,
        help="make the call again: it is decided and charged anew",
    )


def refused_result(run: Run, held: Held, why: str) -> DeniedError:
    """Return the error for a result that could not be brought within the policy's limits."""
    decision = held.decision._replace(verdict=Verdict.DENY)
    return DeniedError(
        f"the result of `{held.call.tool}` is not handed over: {why}",
        decision=decision,
        model_text=said_to_model(run.plan, decision),
        run=run.id,
        call=held.key,
    )


def failed(run: Run, held: Held, why: str) -> ToolFailedError:
    """Return the error for a body that the guard had to stop, or whose recorded end was a failure."""
    return ToolFailedError(
        f"`{held.call.tool}` failed: {why}",
        decision=held.decision,
        model_text=failure_text(run.plan),
        run=run.id,
        call=held.key,
    )


def failure_text(plan: Plan) -> str:
    """Return what the model is told when a tool failed."""
    return plan.responses.failure if plan.responses.failure is not None else "the tool failed"


def _speaking(decision: Decision) -> Reason | None:
    for effect in ("halt", "unknown", "deny"):
        for reason in decision.reasons:
            if reason.effect == effect:
                return reason
    return decision.reasons[0] if decision.reasons else None
