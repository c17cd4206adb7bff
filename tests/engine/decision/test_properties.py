"""The laws of LANGUAGE section 1, as properties of `decide`."""

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.plan import Clause, Condition, Plan, Scope, ToolPlan, Truth, Verdict
from ringfence.engine.decision.calls import RESERVED, Facts, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallStarted, Stamped
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import apply, start
from tests.plans import T0, approver, budget, clause, parameter, plan, run_started, tool

Effect = str


def says(truth: Truth) -> Condition:
    return lambda scope: truth


def raises(scope: Scope) -> Truth:
    raise ValueError("broken")


truths = st.sampled_from([True, False, None])
clauses = st.tuples(st.sampled_from(["deny", "ask", "allow"]), truths, st.sampled_from(["lead", "boss"]))
many = st.lists(clauses, max_size=6)
people = st.dictionaries(st.sampled_from(["lead", "boss"]), st.just(("bob",)))


def made_of(found: Sequence[tuple[str, Condition | None, str]]) -> ToolPlan:
    made = [
        clause(f"{effect}{n}", effect, condition, approver=who if effect == "ask" else None)
        for n, (effect, condition, who) in enumerate(found)
    ]
    by_effect: dict[str, list[Clause]] = {"deny": [], "ask": [], "allow": []}
    for one in made:
        by_effect[one.effect].append(one)
    return tool("t", denies=by_effect["deny"], asks=by_effect["ask"], allows=by_effect["allow"])


def verdict_of(one: ToolPlan, facts: Facts = RESERVED) -> Verdict:
    of = plan(one, approvers=[approver("lead"), approver("boss")])
    return decide(of, start(of, run_started(of)), ToolCall("t", {}), facts, now_ns=T0).verdict


def conditions(found: list[tuple[str, Truth, str]]) -> list[tuple[str, Condition | None, str]]:
    return [(effect, says(truth), who) for effect, truth, who in found]


@given(many, people, st.data())
def test_what_cannot_be_decided_never_helps_the_caller(
    found: list[tuple[str, Truth, str]], approved: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    facts = Facts((), approved)
    broken = [
        (effect, data.draw(st.sampled_from([condition, says(None), raises])), who)
        for effect, condition, who in conditions(found)
    ]
    assert verdict_of(made_of(broken), facts) <= verdict_of(made_of(conditions(found)), facts)


@given(many, people, st.sampled_from(["deny", "ask"]), truths, st.integers(0, 6))
def test_one_more_deny_or_ask_never_allows_more(
    found: list[tuple[str, Truth, str]],
    approved: dict[str, tuple[str, ...]],
    effect: str,
    truth: Truth,
    at: int,
) -> None:
    facts = Facts((), approved)
    more = [*found[:at], (effect, truth, "lead"), *found[at:]]
    assert verdict_of(made_of(conditions(more)), facts) <= verdict_of(made_of(conditions(found)), facts)


@given(many, people, st.randoms(use_true_random=False))
def test_the_order_of_clauses_is_irrelevant(
    found: list[tuple[str, Truth, str]],
    approved: dict[str, tuple[str, ...]],
    random: object,
) -> None:
    facts = Facts((), approved)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert verdict_of(made_of(conditions(shuffled)), facts) == verdict_of(made_of(conditions(found)), facts)


@given(many, people)
def test_nothing_is_permitted_that_no_allow_permits(
    found: list[tuple[str, Truth, str]], approved: dict[str, tuple[str, ...]]
) -> None:
    closed = [one for one in found if one[:2] != ("allow", True)]
    assert verdict_of(made_of(conditions(closed)), Facts((), approved)) <= Verdict.DENY


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40), st.integers(1, 4), st.integers(1, 9)
)
def test_no_window_of_a_run_holds_more_dispatches_than_its_limit(
    steps: list[tuple[int, bool]], limit: int, period_ns: int
) -> None:
    of = plan(tool("t", budgets=[budget("t.rate", limit, period_ns=period_ns)]))
    state, seq, now_ns = start(of, run_started(of)), 1, T0
    waiting: list[str] = []
    dispatched: list[int] = []

    def record(event: Callable[[], object] | object) -> None:
        nonlocal seq
        seq += 1
        apply(state, Stamped(seq, now_ns, event))  # type: ignore[arg-type]

    for number, (wait_ns, at_once) in enumerate(steps):
        now_ns += wait_ns
        key, call = f"k{number}.0", ToolCall("t", {})
        record(requested(key, call))
        made = decide(of, state, call, RESERVED, now_ns=now_ns, key=key)
        record(decided(key, call, made, RESERVED))
        if made.allowed:
            waiting.append(key)
        if waiting and at_once:
            record(CallStarted(waiting.pop(0)))
            dispatched.append(now_ns)
    for since_ns in dispatched:
        assert sum(since_ns <= at_ns < since_ns + period_ns for at_ns in dispatched) <= limit


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), st.none() | st.booleans() | st.text() | st.floats()))
def test_decide_is_total_pure_and_never_allows_what_does_not_fit(arguments: dict[str, object]) -> None:
    of: Plan = plan(tool("t", takes=[parameter("x", kind="integer"), parameter("y", optional=True)]))
    state = start(of, run_started(of))
    call = ToolCall("t", arguments)
    first = decide(of, state, call, RESERVED, now_ns=T0)
    again = decide(of, state, call, RESERVED, now_ns=T0)
    assert first == again
    if first.allowed:
        assert set(first.arguments) <= {"x", "y"} and type(first.arguments["x"]) is int
        fitted = call._replace(arguments=first.arguments)
        assert decide(of, state, fitted, RESERVED, now_ns=T0).arguments == first.arguments
