"""Each step of one decision, in the order of LANGUAGE section 5."""

import math

import pytest

from ringfence.dsl.plan import Plan, Scope, Truth, Verdict
from ringfence.engine.decision.arguments import MOST_BYTES
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude, decide
from ringfence.engine.decision.events import RunHalted, Stamped
from ringfence.engine.decision.state import State, apply, start
from tests.plans import (
    PLACE,
    SECOND_NS,
    T0,
    approver,
    budget,
    clause,
    parameter,
    plan,
    run_started,
    tool,
)


def never(scope: Scope) -> Truth:
    return False


def undecided(scope: Scope) -> Truth:
    return None


def broken(scope: Scope) -> Truth:
    raise RuntimeError("a condition must not raise")


X = parameter("x", kind="integer")


def began(of: Plan, **said: object) -> State:
    return start(of, run_started(of, **said))  # type: ignore[arg-type]


def decision(
    of: Plan,
    arguments: dict[str, object] | None = None,
    *,
    name: str = "t",
    facts: Facts = NO_FACTS,
    state: State | None = None,
    now_ns: int = T0,
    schema_names: frozenset[str] | None = None,
) -> Decision:
    call = ToolCall(name, arguments or {}, schema_names=schema_names)
    return decide(of, state or began(of), call, facts, now_ns=now_ns)


def names(made: Decision) -> list[str]:
    return [reason.name for reason in made.reasons]


# ---- 1. is the run live ------------------------------------------------------------------------


def test_a_call_before_the_deadline_is_allowed_and_one_at_it_halts_the_run() -> None:
    of = plan(tool("t"), stop_ns=5)
    assert decision(of, now_ns=T0 + 4).allowed
    late = decision(of, now_ns=T0 + 5)
    assert late.verdict is Verdict.DENY
    assert names(late) == ["main.stop", "t.allow"]
    assert late.halt is not None and late.halt.name == "main.stop" and late.halt.place == PLACE


def test_after_a_halt_every_call_is_denied_for_what_halted_it_and_halts_nothing_again() -> None:
    of = plan(tool("t"), denials=0)
    state = began(of)
    apply(state, Stamped(2, T0, RunHalted("operator", "dana", "stop it")))
    made = decision(of, state=state)
    assert made.verdict is Verdict.DENY and names(made) == ["operator", "t.allow"]
    assert made.halt is None


def test_an_unknown_tool_is_unknown_even_in_a_halted_run() -> None:
    of = plan(tool("t"))
    state = began(of)
    apply(state, Stamped(2, T0, RunHalted("main.stop", None, None)))
    made = decision(of, name="nothing", state=state)
    assert made.verdict is Verdict.UNKNOWN and names(made) == ["main.stop", "unknown"]


# ---- 2. is the tool declared, and held ---------------------------------------------------------


def test_an_undeclared_tool_is_unknown() -> None:
    made = decision(plan(tool("t")), name="drop_everything")
    assert made.verdict is Verdict.UNKNOWN and names(made) == ["unknown"]


def test_a_tool_that_the_agent_or_the_run_does_not_hold_is_unknown() -> None:
    of = plan(tool("t", needs=["mail", "read"]), holds=["mail", "read"])
    assert decision(of).allowed
    for held in ([], ["mail"], ["other"]):
        made = decision(of, state=began(of, capabilities=held))
        assert made.verdict is Verdict.UNKNOWN and names(made) == ["t.needs"]


def test_a_host_cannot_hand_a_run_more_than_its_agent_holds() -> None:
    of = plan(tool("t", needs=["mail"]), holds=[])
    assert decision(of, state=began(of, capabilities=["mail"])).verdict is Verdict.UNKNOWN


def test_an_agent_that_the_plan_does_not_know_holds_nothing() -> None:
    of = plan(tool("t", needs=["mail"]), holds=["mail"])
    assert decision(of, state=began(of, agent="other")).verdict is Verdict.UNKNOWN
    of = plan(tool("t"), calls=1)
    assert decision(of).allowed
    made = decision(of, state=began(of, agent="other"))
    assert made.verdict is Verdict.UNKNOWN and names(made) == ["t.needs"]


# ---- 3. the arguments and the principal ----------------------------------------------------------


def test_the_canonical_value_is_what_conditions_see_and_what_is_executed() -> None:
    seen: list[object] = []

    def look(scope: Scope) -> Truth:
        seen.append(scope.arguments["x"])
        return True

    made = decision(plan(tool("t", takes=[X], allows=[clause("t.allow", "allow", look)])), {"x": 3.0})
    assert made.allowed and repr(made.arguments) == "{'x': 3}" and repr(seen) == "[3]"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"x": "three"},
        {"x": None},
        {"x": 1, "y": 2},
        {"x": 2**53},
        {"x": 1, "\ud800": 2},
        {"x": 1, 5: 2},
    ],
)
def test_arguments_that_do_not_fit_are_denied_as_they_were_given(arguments: dict[str, object]) -> None:
    made = decision(plan(tool("t", takes=[X])), arguments)
    assert made.verdict is Verdict.DENY and names(made) == ["t.arguments"]
    assert made.arguments == arguments


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**53,
        1e17,
        "\ud800",
        {"a": "\ud800"},
        {"\udc00": 1},
        {1: 2},
        [b"x"],
        object(),
        (1, 2),
        {"a": [math.nan]},
    ],
)
def test_without_takes_any_json_fits_and_nothing_else(value: object) -> None:
    of = plan(tool("t", takes=None))
    assert decision(of, {"v": [1, 1.5, "é", None, True, {"a": []}]}).allowed
    assert names(decision(of, {"v": value})) == ["t.arguments"]


def test_arguments_nested_deeper_than_the_log_can_describe_do_not_fit() -> None:
    deep: object = 1
    for _ in range(60):
        deep = [deep]
    assert names(decision(plan(tool("t", takes=None)), {"v": deep})) == ["t.arguments"]
    endless: list[object] = []
    endless.append(endless)
    assert names(decision(plan(tool("t", takes=None)), {"v": endless})) == ["t.arguments"]


def test_arguments_of_more_than_a_megabyte_do_not_fit() -> None:
    of = plan(tool("t", takes=[parameter("a")]))
    assert decision(of, {"a": "x" * (MOST_BYTES - len('{"a":""}'))}).allowed
    assert names(decision(of, {"a": "x" * (MOST_BYTES - len('{"a":""}') + 1)})) == ["t.arguments"]
    assert names(decision(of, {"a": "é" * (MOST_BYTES // 2)})) == ["t.arguments"]


def test_an_argument_that_is_not_taken_fits_only_if_the_bound_schema_has_it() -> None:
    of = plan(tool("t", takes=[X]))
    assert decision(of, {"x": 1, "y": 2}, schema_names=frozenset({"x", "y"})).allowed
    assert not decision(of, {"x": 1, "y": 2}, schema_names=frozenset({"x"})).allowed
    of = plan(tool("t", takes=None))
    assert decision(of, {"y": 2}, schema_names=frozenset({"y"})).allowed
    assert not decision(of, {"z": 2}, schema_names=frozenset({"y"})).allowed


def test_an_optional_argument_that_is_absent_or_none_is_absent() -> None:
    of = plan(tool("t", takes=[parameter("y", optional=True)]))
    assert decision(of, {}).arguments == {} and decision(of, {"y": None}).arguments == {}
    assert decision(of, {"y": None}).allowed


def test_reasons_never_repeat_the_value_that_did_not_fit() -> None:
    made = decision(plan(tool("t", takes=[X])), {"x": "s3cret"})
    assert "s3cret" not in repr(made.reasons)


def test_a_principal_field_that_the_host_did_not_say_denies_and_names_the_clause() -> None:
    tier = {"tier": parameter("tier")}
    of = plan(tool("t", fields=["tier"]), principal=tier)
    made = decision(of)
    assert made.verdict is Verdict.DENY and names(made) == ["t.allow!key", "t.allow"]
    assert decision(of, state=began(of, principal={"tier": "gold"})).allowed


def test_a_principal_value_of_the_wrong_type_or_undeclared_was_not_said() -> None:
    of = plan(tool("t", fields=["tier"]), principal={"tier": parameter("tier")})
    assert not decision(of, state=began(of, principal={"tier": 5})).allowed
    of = plan(tool("t", fields=["tier"]))
    assert not decision(of, state=began(of, principal={"tier": "gold"})).allowed
    of = plan(tool("t", fields=["user"]))
    assert not decision(of, state=began(of, principal={"user": 7})).allowed


# ---- 4. denies and allows ----------------------------------------------------------------------


def test_a_tool_without_allow_is_closed() -> None:
    made = decision(plan(tool("t", allows=[])))
    assert made.verdict is Verdict.DENY and names(made) == ["t.allow"]


def test_any_one_allow_suffices() -> None:
    both = [clause("a", "allow", never), clause("b", "allow")]
    assert decision(plan(tool("t", allows=both))).allowed
    assert not decision(plan(tool("t", allows=both[:1]))).allowed


@pytest.mark.parametrize("condition", [undecided, broken])
def test_what_cannot_be_decided_counts_against_the_caller(condition: object) -> None:
    of = plan(tool("t", denies=[clause("r", "deny", condition)]))  # type: ignore[arg-type]
    assert decision(of).verdict is Verdict.DENY
    of = plan(tool("t", allows=[clause("t.allow", "allow", condition)]))  # type: ignore[arg-type]
    assert decision(of).verdict is Verdict.DENY


def test_an_undecided_clause_is_recorded_as_such() -> None:
    of = plan(
        tool("t", denies=[clause("r", "deny", undecided)], allows=[clause("t.allow", "allow", undecided)])
    )
    assert names(decision(of)) == ["r!error", "t.allow!error"]


def test_every_rule_that_speaks_gives_a_reason() -> None:
    of = plan(
        tool(
            "t",
            denies=[clause("r1", "deny"), clause("r2", "deny", never), clause("r3", "deny")],
            asks=[clause("r4", "ask", approver="lead")],
        ),
        approvers=[approver()],
    )
    made = decision(of)
    assert made.verdict is Verdict.DENY and names(made) == ["r1", "r3", "r4", "t.allow"]
    assert made.asks == ()


def test_shadow_rules_are_recorded_and_not_enforced() -> None:
    of = plan(
        tool(
            "t",
            denies=[clause("r", "deny", shadow=True)],
            asks=[clause("q", "ask", approver="lead", shadow=True)],
        )
    )
    made = decision(of)
    assert made.allowed and names(made) == ["t.allow"]
    assert [reason.name for reason in made.shadow] == ["r", "q"]
    assert not decision(plan(tool("t", allows=[clause("t.allow", "allow", shadow=True)]))).allowed


# ---- 5. asks -------------------------------------------------------------------------------------


def asking(**how: object) -> Plan:
    return plan(
        tool("t", asks=[clause("t.ask", "ask", approver="lead")]),
        approvers=[approver("lead", **how), approver("boss")],  # type: ignore[arg-type]
    )


def approved(**by: tuple[str, ...]) -> Facts:
    return Facts(approved_by=by)


def test_an_ask_waits_for_its_approver_and_is_allowed_after_the_approval() -> None:
    of = asking()
    made = decision(of)
    assert made.verdict is Verdict.ASK and made.asks == ("lead",) and names(made) == ["t.ask", "t.allow"]
    assert decision(of, facts=approved(lead=("bob",))).allowed


def test_approvals_of_others_of_nobody_and_of_the_requester_do_not_count() -> None:
    of = asking()
    for facts in (approved(boss=("bob",)), approved(lead=()), approved(lead=("alice",))):
        assert decision(of, facts=facts).verdict is Verdict.ASK
    assert decision(asking(never_requester=False), facts=approved(lead=("alice",))).allowed


def test_a_quorum_needs_different_people() -> None:
    of = asking(quorum=2)
    assert decision(of, facts=approved(lead=("bob", "bob"))).verdict is Verdict.ASK
    assert decision(of, facts=approved(lead=("bob", "carol"))).allowed


def test_an_approver_that_the_question_was_passed_on_to_may_answer() -> None:
    assert decision(asking(otherwise="boss"), facts=approved(boss=("bob",))).allowed
    assert decision(asking(otherwise="lead"), facts=approved(boss=("bob",))).verdict is Verdict.ASK


def test_all_approvers_must_approve() -> None:
    of = plan(
        tool("t", asks=[clause("a", "ask", approver="lead"), clause("b", "ask", approver="boss")]),
        approvers=[approver("lead"), approver("boss")],
    )
    assert decision(of).asks == ("lead", "boss")
    assert decision(of, facts=approved(lead=("bob",))).asks == ("boss",)
    assert decision(of, facts=approved(lead=("bob",), boss=("bob",))).allowed


def test_an_undecided_ask_asks_and_an_approver_that_does_not_exist_denies() -> None:
    of = plan(tool("t", asks=[clause("a", "ask", undecided, approver="lead")]), approvers=[approver()])
    assert decision(of).verdict is Verdict.ASK and names(decision(of)) == ["a!error", "t.allow"]
    of = plan(tool("t", asks=[clause("a", "ask", approver="nobody")]))
    assert decision(of, facts=approved(nobody=("bob",))).verdict is Verdict.DENY


# ---- 6. budgets ----------------------------------------------------------------------------------


def limited(limit: int = 1, **how: object) -> Plan:
    return plan(tool("t", takes=None, budgets=[budget("t.rate", limit, **how)]))  # type: ignore[arg-type]


def test_a_run_wide_budget_is_charged_without_asking_the_ledger() -> None:
    made = decision(limited())
    assert made.allowed and [charge.budget for charge in made.charges] == ["t.rate/run"]


def test_a_wider_budget_needs_the_ledgers_answer() -> None:
    of = limited(period_ns=SECOND_NS, scope="workspace")
    asked = assess(of, began(of), ToolCall("t", {}), NO_FACTS, now_ns=T0)
    assert [(charge.budget, charge.key) for charge in asked.wider] == [("t.rate/workspace", "w1")]
    assert conclude(asked, RESERVED).allowed
    assert names(conclude(asked, NO_FACTS)) == ["t.allow", "engine!error"]
    refused = conclude(asked, Facts(reserved=(Refusal("t.rate/workspace", "w1", 5),)))
    assert refused.verdict is Verdict.DENY and names(refused) == ["t.allow", "t.rate"]
    assert refused.charges == () and refused.halt is None


def test_a_refusal_that_halts_and_one_of_an_unknown_budget() -> None:
    of = limited(period_ns=SECOND_NS, scope="user", halts=True)
    made = decision(of, facts=Facts(reserved=(Refusal("t.rate/user", "alice", None),)))
    assert made.halt is not None and made.halt.name == "t.rate"
    made = decision(of, facts=Facts(reserved=(Refusal("other", "alice", None),)))
    assert made.verdict is Verdict.DENY and made.halt is None


@pytest.mark.parametrize("scope", ["user", "workspace", "account"])
def test_a_missing_key_denies_and_never_halts(scope: str) -> None:
    of = limited(period_ns=SECOND_NS, scope=scope, halts=True)
    made = decision(of, state=began(of, principal={}), facts=RESERVED)
    assert made.verdict is Verdict.DENY and names(made) == ["t.allow", "t.rate!key"] and made.halt is None


def test_a_rate_of_nothing_always_refuses() -> None:
    made = decision(limited(0, halts=True))
    assert made.verdict is Verdict.DENY and made.halt is not None and made.halt.name == "t.rate"


def test_keys_say_what_they_are_of_and_stay_short() -> None:
    of = limited(period_ns=SECOND_NS, scope="account")
    for value, key in [("a1", "a1"), (7, "7"), ([1], "[1]")]:
        assert decision(of, {"account": value}, facts=RESERVED).charges[0].key == key
    long = decision(of, {"account": "x" * 1000}, facts=RESERVED).charges[0].key
    assert long.startswith("sha256:") and len(long) == 71
    posing = decision(of, {"account": long}, facts=RESERVED).charges[0].key
    assert posing != long  # a value cannot be chosen to fill another value's budget


def test_charges_to_reserve_are_in_the_fixed_order_and_a_denied_call_is_charged_nothing() -> None:
    budgets = [budget(name, 5, period_ns=SECOND_NS, scope="user") for name in ("z", "a")]
    of = plan(tool("t", budgets=budgets))
    asked = assess(of, began(of), ToolCall("t", {}), NO_FACTS, now_ns=T0)
    assert [charge.budget for charge in asked.wider] == ["a/user", "z/user"]
    of = plan(tool("t", budgets=budgets, denies=[clause("r", "deny")]))
    assert assess(of, began(of), ToolCall("t", {}), NO_FACTS, now_ns=T0).wider == ()


# ---- failures ------------------------------------------------------------------------------------


def test_what_the_engine_could_not_ask_denies() -> None:
    made = decision(plan(tool("t")), facts=Facts(failed="the store is gone"))
    assert made.verdict is Verdict.DENY and names(made) == ["t.allow", "engine!error"]


def test_an_engine_failure_does_not_turn_unknown_into_denied() -> None:
    made = decision(plan(tool("t")), name="nothing", facts=Facts(failed="the store is gone"))
    assert made.verdict is Verdict.UNKNOWN


def test_a_denial_too_many_halts_beside_its_own_reasons() -> None:
    of = plan(tool("t", denies=[clause("r", "deny")]), denials=0)
    made = decision(of)
    assert names(made) == ["r", "t.allow", "main.denials"]
    assert made.halt is not None and made.halt.name == "main.denials"
    assert decision(of, name="nothing").halt is not None


def test_whatever_breaks_inside_denies() -> None:
    class Odd(dict[str, object]):
        def items(self) -> object:  # type: ignore[override]
            raise RuntimeError("odd")

    made = decide(
        plan(tool("t")),
        began(plan(tool("t"))),
        ToolCall(None, {}),  # type: ignore[arg-type]
        NO_FACTS,
        now_ns=T0,
    )
    assert made.verdict is Verdict.UNKNOWN or made.verdict is Verdict.DENY
    assert not decision(plan(tool("t", takes=None)), Odd({"a": 1})).allowed
