"""`decide` against the naive model, on generated plans and histories."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.plan import Clause, Condition, Plan, Scope, Truth, Verdict
from ringfence.engine.decision.calls import Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetRefunded,
    CallFailed,
    CallFinished,
    CallStarted,
    RunEvent,
    RunHalted,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start
from tests.naive import naive
from tests.plans import SECOND_NS, T0, approver, budget, clause, parameter, plan, run_started, tool


def table(truths: tuple[Truth, Truth, Truth]) -> Condition:
    def condition(scope: Scope) -> Truth:
        return truths[scope.arguments["x"] % 3]

    return condition


truths = st.tuples(*[st.sampled_from([True, False, None])] * 3)
conditions = st.none() | truths.map(table)
rarely = st.sampled_from([0, 0, 0, 1])
"""How many: most plans are open, so that histories grow long before the run halts."""


@st.composite
def clauses(draw: st.DrawFn, effect: str, most: int) -> list[Clause]:
    found = draw(st.lists(conditions, max_size=most)) if effect == "ask" or draw(rarely) else []
    who = draw(st.sampled_from(["lead", "boss"]))
    return [
        clause(f"{effect}{n}", effect, condition, approver=who if effect == "ask" else None)
        for n, condition in enumerate(found)
    ]


budgets = st.lists(
    st.builds(
        budget,
        st.sampled_from(["b.rate", "b.blast"]),
        st.sampled_from([1, 1, 2, 3, 0]),
        period_ns=st.sampled_from([3 * SECOND_NS, None]),
        scope=st.sampled_from(["run", "run", "run", "user", "tool", "x", "y"]),
        halts=st.booleans(),
    ),
    max_size=2,
    unique_by=lambda made: made.id,
)

tools = st.builds(
    lambda name, denies, asks, allows, budgets, needs, fields: tool(
        name,
        takes=[parameter("x", kind="integer"), parameter("y", optional=True)],
        denies=denies,
        asks=asks,
        allows=allows or [clause("allow0", "allow")],
        budgets=budgets,
        needs=needs,
        fields=fields,
    ),
    st.just("t"),
    clauses("deny", 1),
    clauses("ask", 2),
    clauses("allow", 2),
    budgets,
    st.sampled_from([[], [], [], [], ["cap"], ["cap"], ["other"]]),
    st.sampled_from([[], [], [], [], ["user"], ["tier"]]),
)

most = st.sampled_from([None, None, None, 4, 2, 1, 0])
plans = st.builds(
    lambda one, stop, calls, denials, requests: plan(
        one,
        stop_ns=stop,
        calls=calls,
        denials=denials,
        requests=requests,
        holds=["cap"],
        approvers=[approver("lead"), approver("boss", never_requester=False)],
    ),
    tools,
    st.sampled_from([None, 5, 10]).map(lambda seconds: seconds and seconds * SECOND_NS),
    most,
    most,
    most,
)

steps = st.tuples(
    st.sampled_from(
        [
            "call",
            "call",
            "call",
            "again",
            "again",
            "start",
            "start",
            "finish",
            "fail",
            "refund",
            "ask",
            "ask",
            "answer",
        ]
    ),
    st.integers(0, 5),
    st.sampled_from([0, 0, 1, 2, 3]),
)


@dataclass
class Run:
    """A run under way: what the guard would record, without a guard."""

    plan: Plan
    events: list[Stamped]
    state: State
    now_ns: int = T0
    keys: list[str] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)

    def record(self, event: RunEvent) -> None:
        stamped = Stamped(len(self.events) + 1, self.now_ns, event)
        self.events.append(stamped)
        apply(self.state, stamped)

    def decide(self, key: str, number: int) -> None:
        """Decide by both and compare; the ledger refuses every wide budget when `number` is odd."""
        call = self.calls[key]
        approved = {"lead": ("bob",)} if number >= 3 else {}
        asked = assess(self.plan, self.state, call, Facts(approved_by=approved), now_ns=self.now_ns, key=key)
        full = frozenset(charge.budget for charge in asked.wider) if number % 2 else frozenset[str]()
        refusals = tuple(Refusal(charge.budget, charge.key, None) for charge in asked.wider if full)
        facts = Facts(refusals if asked.verdict >= Verdict.ASK else None, approved)
        decision = conclude(asked, facts)
        verdict, names, halt, label = naive(
            self.plan,
            self.events,
            key,
            call.tool,
            call.arguments,
            # `lead` is never the requester: of an unnamed one nobody can be told apart.
            approved=frozenset(approved if "user" in self.state.principal else ()),
            full=full,
            now_ns=self.now_ns,
        )
        assert int(decision.verdict) == verdict
        assert {reason.name for reason in decision.reasons} == names
        assert (decision.halt.name if decision.halt else None) == halt
        assert decision.label == label
        self.record(decided(key, call, decision, facts))
        if decision.halt:
            self.record(RunHalted(decision.halt.name, None, None))

    def step(self, what: str, number: int, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS
        if what == "call":
            name = "nothing" if number == 5 and seconds == 3 else "t"
            arguments = {"x": number} if (number, seconds) != (4, 3) else {"x": number, "z": 1}
            call = ToolCall(name, arguments if number % 2 else {**arguments, "y": "b"})
            key = f"k{len(self.keys)}.0"
            self.keys.append(key)
            self.calls[key] = call
            self.record(requested(key, call))
            self.decide(key, number)
        elif self.keys:
            self._go_on(what, self.keys[-1 if number < 4 else seconds % len(self.keys)], number)

    def _go_on(self, what: str, key: str, number: int) -> None:
        known = self.state.calls[key]
        verdict = known.verdict
        if what == "again" and verdict is Verdict.ASK:
            self.decide(key, number)
        elif what == "start" and known.takes_place and known.started_ns is None:
            self.record(CallStarted(key))
        elif what == "finish" and known.in_flight:
            self.record(CallFinished(key, 1, None, 1))
        elif what == "fail" and known.in_flight:
            self.record(CallFailed(key, "raised", "ValueError", 1))
        elif what == "refund":
            self.record(BudgetRefunded(key, "withdrawn"))
        elif what == "ask" and verdict is Verdict.ASK:
            expires = None if number % 2 else self.now_ns + number * SECOND_NS
            self.record(ApprovalAsked(key, f"T-{len(self.events)}", "lead", expires))
        elif what == "answer" and known.tickets:
            ticket = known.tickets[-1]
            verdicts = ["approve", "reject", "expire"]
            self.record(ApprovalAnswered(key, ticket.id, verdicts[number % 3], "bob", None, None))


@settings(max_examples=600)
@given(plans, st.lists(steps, min_size=3, max_size=24), st.sampled_from([{}, {"user": "alice"}]))
def test_decide_says_what_the_naive_model_says(
    of: Plan, taken: list[tuple[str, int, int]], principal: dict[str, str]
) -> None:
    began = run_started(of, principal=principal)
    run = Run(of, [began], start(of, began))
    for step in taken:
        run.step(*step)


def asks_large(scope: Scope) -> Truth:
    return bool(scope.arguments["x"] > 1)


OPEN = plan(
    tool(
        "t",
        takes=[parameter("x", kind="integer"), parameter("y", optional=True)],
        asks=[clause("ask0", "ask", asks_large, approver="lead")],
        budgets=[budget("b.rate", 2, period_ns=3 * SECOND_NS)],
    ),
    stop_ns=8 * SECOND_NS,
    approvers=[approver("lead")],
)


@settings(max_examples=600)
@given(st.lists(steps, min_size=6, max_size=24))
def test_pauses_and_windows_are_those_of_the_naive_model(taken: list[tuple[str, int, int]]) -> None:
    began = run_started(OPEN)
    run = Run(OPEN, [began], start(OPEN, began))
    for step in taken:
        run.step(*step)


def test_the_generator_reaches_calls_that_are_allowed_refused_and_halted() -> None:
    of = plan(tool("t", takes=[parameter("x", kind="integer"), parameter("y", optional=True)]), calls=1)
    began = run_started(of)
    run = Run(of, [began], start(of, began))
    run.step("call", 1, 0)
    run.step("call", 4, 0)
    run.step("call", 1, 0)
    verdicts = [str(known.verdict) for known in run.state.calls.values()]
    assert verdicts == ["allow", "deny", "deny"]
    assert run.state.halted is not None and run.state.halted.name == "main.calls"
