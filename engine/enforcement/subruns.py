"""Runs inside of runs: which may begin, and what the runs around refuse and count of them."""

from collections.abc import Sequence
from dataclasses import replace

from ringfence.dsl.plan import Reason, Verdict
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.calls import Decision, Facts
from ringfence.engine.decision.decide import conclude
from ringfence.engine.decision.tree import refused_above
from ringfence.engine.enforcement.current import current_call
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError


def may_begin(around: Run, agent: str) -> None:
    """Raise EngineError unless the policy lets the agent of the run around start this one.

    A policy in which no agent `may start` another says nothing of it.  Where one does, only those that are
    named may be started; the same agent once more is no other agent.
    """
    agents = around.plan.agents
    if not any(one.may_start for one in agents.values()):
        return
    inside = current_call()
    known = around.state.calls.get(inside[1]) if inside is not None and inside[0] is around else None
    tool = around.plan.by_bound_name.get(known.tool) if known is not None else None
    starts = tool.starts if tool is not None else None
    if starts is not None and agent != starts:
        raise EngineError(
            f"a call of `{starts}` starts the agent `{starts}`, not `{agent}`",
            run=around.id,
            help=f'begin the run inside of it with `agent="{starts}"`',
        )
    own = agents.get(around.agent)
    if agent != around.agent and (own is None or agent not in own.may_start):
        raise EngineError(
            f"the agent `{around.agent}` may not start `{agent}`",
            run=around.id,
            help=f"write `may start {agent}` into the block of the agent `{around.agent}`",
        )


def with_above(
    run: Run, key: str, assessed: Assessment, facts: Facts, *, now_ns: int
) -> tuple[Facts, list[tuple[Run, Reason]]]:
    """Return the facts with what the runs around refuse, and which of those are to be halted.

    The caller has the lock of the tree until the decision is recorded.
    """
    if run.parent is None:
        return facts, []
    above: list[Run] = []
    around: Run | None = run.parent
    while around is not None:
        above.append(around)
        around = around.parent
    states = [one.state for one in above]
    halts: list[tuple[Run, Reason]] = []
    for _ in range(2):  # a call that is denied may be one denial too many
        decision = conclude(assessed, facts)
        found = refused_above(states, run.id, key, decision, now_ns=now_ns)
        more = tuple(reason for reasons in found for reason in reasons)
        if not more:
            break
        facts = replace(facts, above=(*facts.above, *more))
        halts += [
            (one, r) for one, reasons in zip(above, found, strict=True) for r in reasons if r.effect == "halt"
        ]
        if decision.verdict <= Verdict.DENY:
            break
    return facts, halts


def halt_above(run: Run, decision: Decision, halts: Sequence[tuple[Run, Reason]]) -> None:
    """Halt this run, and those around it whose limits the decision was beyond."""
    for one, reason in halts:
        one.halt(reason.name, by=None, detail=reason.detail)
    if decision.halt is not None:
        run.halt(decision.halt.name, by=None, detail=decision.halt.detail)
