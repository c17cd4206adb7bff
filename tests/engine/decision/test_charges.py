"""What a call is charged: amounts, members, attempts, successes; in the run and in the ledger."""

from typing import Any

import pytest

from ringfence.dsl.plan import Budget, Plan, Scope, Verdict
from ringfence.engine.decision.calls import Charge, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude, decide
from ringfence.engine.decision.events import BudgetRefunded, CallFailed, CallFinished, CallStarted, Stamped
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start
from tests.plans import PLACE, SECOND_NS, T0, budget, clause, parameter, plan, run_started, text, tool

TO = parameter("to", optional=True)
LIST = TO.__class__("to", "list of text", True, lambda value: [text(one) for one in value], PLACE)
N = TO.__class__("n", "number", True, lambda value: value, PLACE)


def of(*budgets: Budget, **more: Any) -> Plan:
    return plan(tool("t", takes=[LIST, N], budgets=budgets, **more))


def blast(limit: int, **more: Any) -> Budget:
    return budget("t.blast", limit, kind="distinct", resources=("to",), resource="recipient", **more)


def amount(limit: int, **more: Any) -> Budget:
    return budget("out", limit, kind="amount", amount=lambda scope: scope.arguments["n"], **more)


class Run:
    def __init__(self, of: Plan) -> None:
        self.plan, self.now_ns, self.seq = of, T0, 1
        self.state: State = start(of, run_started(of))

    def tell(self, event: Any) -> None:
        self.seq += 1
        apply(self.state, Stamped(self.seq, self.now_ns, event))

    def call(self, facts: Facts | None = None, **arguments: Any) -> tuple[str, Decision]:
        key, call = f"k{self.seq}.0", ToolCall("t", arguments)
        self.tell(requested(key, call))
        facts = facts or Facts(reserved=(), attempted=())
        made = decide(self.plan, self.state, call, facts, now_ns=self.now_ns, key=key)
        self.tell(decided(key, call, made, facts))
        return key, made

    def names(self, **arguments: Any) -> set[str]:
        _, made = self.call(**arguments)
        return {reason.name for reason in made.reasons if reason.effect != "allow"}


def test_a_blast_radius_counts_different_members() -> None:
    run = Run(of(blast(2)))
    assert run.call(to=["a", "b", "a"])[1].charges == (Charge("t.blast/run", "", 2, 2, None, ("a", "b")),)
    assert run.names(to=["b", "a"]) == set()
    assert run.names(to=["c"]) == {"t.blast"}


def test_a_blast_radius_of_nothing_touched_is_not_charged() -> None:
    assert Run(of(blast(0))).call()[1].charges == ()
    assert Run(of(blast(0))).names(to=["a"]) == {"t.blast"}


def test_members_given_back_are_free_again() -> None:
    run = Run(of(blast(1)))
    key, _ = run.call(to=["a"])
    run.tell(BudgetRefunded(key, "withdrawn"))
    assert run.names(to=["b"]) == set()


@pytest.mark.parametrize(("value", "charged"), [(3, 30), (0.25, 3), (0.1, 2), (0, 0), (1.0, 10)])
def test_an_amount_is_counted_in_the_ledgers_units_and_rounded_up(value: float, charged: int) -> None:
    # 0.1 is a little more than a tenth in binary, and what is more is rounded up.
    found = Run(of(amount(100, scale=10))).call(n=value)[1].charges
    assert [charge.amount for charge in found] == [charged]


@pytest.mark.parametrize("value", [-1, True, "3", float("nan"), float("inf"), 2**53, None])
def test_what_is_no_amount_denies_and_does_not_halt(value: Any) -> None:
    one = budget("out", 9, kind="amount", amount=lambda scope: value, halts=True)
    run = Run(of(one))
    _, made = run.call()
    assert made.verdict is Verdict.DENY and made.halt is None
    assert "out!error" in {reason.name for reason in made.reasons}


def test_an_amount_that_breaks_denies() -> None:
    def broken(scope: Scope) -> Any:
        raise RuntimeError

    assert Run(of(budget("out", 9, kind="amount", amount=broken))).names() == {"out!error"}
    assert Run(of(amount(9))).names() == {"out!error"}  # an optional parameter that was not given


def test_two_charges_of_nothing_end_in_any_order() -> None:
    run = Run(of(amount(9)))
    (one, _), (other, _) = run.call(n=0), run.call(n=0)
    run.tell(BudgetRefunded(one, "withdrawn"))
    run.tell(CallStarted(other))
    assert run.names(n=9) == set()


def test_an_attempt_is_charged_whatever_the_verdict_and_once_a_call() -> None:
    denied = clause("no", "deny")
    run = Run(of(budget("tries", 2, counting="attempts"), denies=[denied]))
    key, made = run.call()
    assert [(one.budget, one.counting) for one in made.charges] == [("tries/run", "attempts")]
    assert not run.state.calls[key].holds and run.state.calls[key].attempted
    again = assess(run.plan, run.state, ToolCall("t", {}), Facts(), now_ns=run.now_ns, key=key)
    assert again.attempted == ()
    assert run.names() == {"no"}
    assert run.names() == {"no", "tries"}


def test_an_attempt_that_the_ledger_refuses_denies_and_is_not_recorded_as_charged() -> None:
    wide = budget("tries", 2, counting="attempts", scope="user", period_ns=SECOND_NS)
    run = Run(of(wide))
    assessed = assess(run.plan, run.state, ToolCall("t", {}), Facts(), now_ns=T0)
    assert assessed.attempts == assessed.attempted and assessed.wider == ()
    assert assessed.attempts[0].counting == "attempts" and assessed.attempts[0].key == "alice"
    full = conclude(assessed, Facts(attempted=(Refusal("tries/user", "alice", None),)))
    assert full.verdict is Verdict.DENY and full.charges == ()
    assert "tries" in {reason.name for reason in full.reasons}
    unasked = conclude(assessed, Facts())
    assert unasked.verdict is Verdict.DENY and unasked.charges == ()
    assert conclude(assessed, Facts(attempted=())).charges == assessed.attempts


def test_a_success_is_given_back_when_the_body_fails_and_kept_when_it_returns() -> None:
    run = Run(of(budget("wins", 1, counting="successes", period_ns=9 * SECOND_NS)))
    key, _ = run.call()
    run.tell(CallStarted(key))
    assert run.names() == {"wins"}
    run.tell(CallFailed(key, "raised", "ValueError", 1))
    key, made = run.call()
    assert made.allowed
    run.tell(CallStarted(key))
    run.tell(CallFinished(key, 1, None, 1))
    assert run.names() == {"wins"}


def test_a_success_that_was_interrupted_is_kept() -> None:
    run = Run(of(budget("wins", 1, counting="successes")))
    key, _ = run.call()
    run.tell(CallStarted(key))
    run.tell(CallFailed(key, "interrupted", "GraphInterrupt", 1))
    assert run.names() == {"wins"}


def test_successes_of_members_are_given_back_alone() -> None:
    run = Run(of(blast(2, counting="successes")))
    (one, _), (other, _) = run.call(to=["a"]), run.call(to=["a", "b"])
    run.tell(CallStarted(one))
    run.tell(CallStarted(other))
    run.tell(CallFailed(other, "raised", "", 1))
    assert run.names(to=["c"]) == set()
    assert run.names(to=["d"]) == {"t.blast"}
