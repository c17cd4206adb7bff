"""The decision itself, with its rate limit in the memory ledger and its reasons; nothing is recorded."""

from collections.abc import Callable, Iterator
from itertools import count

from bench.harness import Row, spread
from bench.policies import calls_for, plan_of
from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Decision, Facts, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import RunStarted, Stamped
from ringfence.engine.decision.state import State, start
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.memory.ledger import MemoryLedger

START_NS = 1_795_000_000_000_000_000
_LEASE_NS = 60 * 10**9
_ASK = Verdict.ASK
_made = tuple.__new__


def rows() -> Iterator[Row]:
    """Measure 10 to 10,000 tools; the calls are spread evenly over them, and each was compiled before."""
    medians = {}
    for tools, goal in ((10, None), (50, 3.0), (1_000, None), (10_000, None)):
        plan = plan_of(tools)
        calls = calls_for(tools, count=10_000)
        decide = decider(plan)
        allowed = sum(decide(call).allowed for call in calls.all) / len(calls.all)
        if not 0.75 < allowed < 0.85:
            raise RuntimeError(f"the workload is wrong: {allowed:.0%} of the calls are allowed")
        taken = spread(decide, calls.all, rounds=3)
        medians[tools] = taken.p50_ns
        name = f"decision with rate and reasons, {tools:,} tools"
        yield Row(f"{name}, p50", taken.p50_ns / 1000, "us", goal)
        yield Row(f"{name}, p99 (CPU)", taken.p99_ns / 1000, "us")
    yield Row("the same, 10,000 tools against 10, p50", medians[10_000] / medians[10], "x", 2.0)


def decider(plan: Plan) -> Callable[[ToolCall], Decision]:
    """Return the steps that the guard makes for a decision, without the record of it."""
    return decider_of(plan, _state(plan), START_NS)


def decider_of(plan: Plan, state: State, begin_ns: int) -> Callable[[ToolCall], Decision]:
    """Return the same in a run that stands as `state` says."""
    ledger, numbers = MemoryLedger(), count(1)

    def decide(call: ToolCall) -> Decision:
        number = next(numbers)
        now_ns = begin_ns + number * 1_000
        assessment = assess(plan, state, call, NO_FACTS, now_ns=now_ns)
        if not assessment.wider or assessment.verdict < _ASK:
            return conclude(assessment, NO_FACTS)
        reservation = _made(Reservation, (f"run/{number}", assessment.wider, _LEASE_NS))
        refusals = ledger.reserve_now(reservation, now_ns=now_ns)
        return conclude(assessment, Facts(refusals) if refusals else RESERVED)

    return decide


def _state(plan: Plan) -> State:
    event = RunStarted(
        session="s", session_head=None, agent="main", principal={"user": "alice", "workspace": "w1"},
        capabilities=("work",), policy=plan.policy, policy_digest=plan.digest, policy_text="",
        mode="enforce", framework="python", external_id=None, resume_of=None, parent=None,
    )  # fmt: skip
    return start(plan, Stamped(1, START_NS, event))
