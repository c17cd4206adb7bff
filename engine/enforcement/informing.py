"""What a call's conditions want to know of plugins is asked, and the call assessed with the answers."""

from dataclasses import replace

from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.calls import Facts, ToolCall
from ringfence.engine.decision.decide import assess
from ringfence.engine.enforcement.drive import Steps
from ringfence.engine.enforcement.questions import Inquiry
from ringfence.engine.enforcement.runs import Run


def assessed_now(run: Run, key: str, call: ToolCall, facts: Facts, now_ns: int) -> Assessment:
    """Return how the call stands at this moment; the caller has the run's lock."""
    return assess(run.plan, run.state, call, facts, now_ns=now_ns, key=key)


def informed(
    run: Run, key: str, call: ToolCall, facts: Facts, assessed: Assessment
) -> Steps[tuple[Facts, Assessment, int, int]]:
    """Ask plugins what the conditions want to know, and assess again, until nothing more is wanted.

    Returns:
        The facts with the answers, the assessment with them, its moment, and the last event that it saw.
    """
    inquiry = Inquiry(run.opening.questions, run.plan)
    seen, now_ns = run.state.seq, run.now_ns()
    while assessed.wanted and (yield from inquiry.put(assessed.wanted)):
        facts = replace(facts, answers=dict(inquiry.answers))
        with run.lock:
            now_ns = run.now_ns()
            assessed = assessed_now(run, key, call, facts, now_ns)
            seen = run.state.seq
    return facts, assessed, now_ns, seen
