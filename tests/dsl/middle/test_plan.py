"""The plan: what the sugar becomes, the names of reasons, the digest, and what it prints."""

import os
import threading
from pathlib import Path

import pytest

from ringfence.dsl.canonical import digest
from ringfence.dsl.diagnostic import draw
from ringfence.dsl.explain import explain
from ringfence.dsl.load import load, load_text
from ringfence.dsl.plan import ISOLATE_EXECUTOR, Limit, Plan, Scope

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"


def plan_of(text: str) -> Plan:
    loaded = load_text("language 1\npolicy p\n" + text)
    assert loaded.plan is not None, loaded.diagnostics
    return loaded.plan


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.fence")))
def test_a_policy_prints_as_stored(name: str) -> None:
    """`REWRITE_GOLDEN=1 pytest tests/dsl/middle` stores what is printed now, for review."""
    source = GOLDEN / f"{name}.fence"
    loaded = load_text(source.read_text("utf-8"), source.name)
    printed = draw(loaded.diagnostics) + "\n" if loaded.diagnostics else ""
    if loaded.plan is not None:
        printed += explain(loaded.plan)
    stored = GOLDEN / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        stored.write_text(printed, "utf-8")
    assert printed == stored.read_text("utf-8")


def test_the_whole_policy_of_the_language_prints_as_stored() -> None:
    policies = Path(__file__).parents[1] / "policies"
    ceiling = (policies / "acme_ceiling.fence").read_text("utf-8")
    script = (policies / "tools" / "price_quote.js").read_text("utf-8")
    loaded = load_text(
        (policies / "support_desk.fence").read_text("utf-8"),
        "support_desk.fence",
        read={"org/acme.fence": ceiling, "tools/price_quote.js": script}.__getitem__,
        installed={"acme_plugins", "pii", ISOLATE_EXECUTOR}.__contains__,
    )
    assert loaded.diagnostics == ()
    assert loaded.plan is not None
    stored = GOLDEN / "support_desk.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        stored.write_text(explain(loaded.plan), "utf-8")
    assert explain(loaded.plan) == stored.read_text("utf-8")


def test_the_articles_policy_loads_without_an_error() -> None:
    loaded = load(ROOT / "examples" / "blog.fence")
    assert loaded.diagnostics == ()
    assert loaded.plan is not None
    mail, query, crm = loaded.plan.tools.values()
    (budget,) = mail.budgets
    assert (budget.limit, budget.period_ns, budget.scope, budget.halts) == (10, 3_600_000_000_000, None, True)
    assert query.obligations.max_rows == 1000
    assert [clause.approver for clause in crm.asks] == ["owner"]
    assert crm.obligations.audit == "full"
    stop = loaded.plan.agents["main"].stop
    assert stop is not None
    assert stop == Limit("main.stop", 300_000_000_000, stop.place)


TEXT = """
set names = ["a", "b"]
tool t {
  takes x: text, n: integer
  allow when x in names
  require cap: n <= 5 because "five"
}
rule r: deny t when n == 3 unless x == "a"
"""


def test_the_digest_is_of_the_core_and_ignores_layout_and_comments() -> None:
    plan = plan_of(TEXT)
    assert plan.digest == digest(plan.core)
    again = TEXT.replace("\n", "\n\n  # a remark\n").replace("  ", "\t ")
    assert plan_of(again).digest == plan.digest
    assert load_text("language 1 policy p" + TEXT, "elsewhere.fence").plan.digest == plan.digest  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<= 5", "< 5"),
        ('"five"', '"six"'),
        ("cap", "top"),
        ('["a", "b"]', '["a"]'),
        ("unless", "when false or not"),
        ("deny t", "deny any tool that is read"),
    ],
)
def test_the_digest_changes_with_the_meaning(old: str, new: str) -> None:
    if old == "unless":
        changed = TEXT.replace('when n == 3 unless x == "a"', "when n == 3")
    else:
        changed = TEXT.replace(old, new)
    assert plan_of(changed).digest != plan_of(TEXT).digest


def test_sugar_and_what_it_means_have_one_core() -> None:
    required = plan_of("tool t { takes n: integer allow always require n <= 5 }").core
    denied = plan_of("tool t { takes n: integer allow always deny when not (n <= 5) }").core
    assert required["tools"]["t"]["clauses"][1]["when"] == denied["tools"]["t"]["clauses"][1]["when"]
    unless = plan_of("tool t { takes n: integer allow always }\nrule r: deny t when n > 5 unless n == 7").core
    written = plan_of("tool t { takes n: integer allow always }\nrule r: deny t when n > 5 and n != 7").core
    assert unless == written


def test_reasons_are_named_as_the_language_says() -> None:
    tool = plan_of(
        """approver a { group "people" answer within 1 minute otherwise deny }
        tool t {
          takes n: integer
          allow when n > 1
          allow when n < 1
          require n != 4
          deny when n == 5
          deny six: when n == 6
          require cap: n < 100
          ask a when n > 50
          rate 5 per hour
        }
        rule across: ask a before t when n == 9"""
    ).tools["t"]
    assert [clause.name for clause in tool.allows] == ["t.allow", "t.allow"]
    assert [clause.name for clause in tool.denies] == ["t.require", "t.deny", "t.six", "t.cap"]
    assert [clause.name for clause in tool.asks] == ["t.ask", "across"]
    assert [budget.reason for budget in tool.budgets] == ["t.rate"]


def test_a_rule_reaches_each_covered_tool_in_the_order_of_the_source() -> None:
    plan = plan_of(
        """capability c is external
        rule first: deny any tool that is external when principal.user == "eve"
        tool a { needs c takes n: integer allow when n > 1 deny own: when n == 3 rate 1 per hour }
        tool b { takes n: integer allow always }
        rule second: deny any tool that needs c when n == 2
        rule third: deny any tool when n == 9"""
    )
    assert [clause.name for clause in plan.tools["a"].denies] == ["first", "a.own", "second", "third"]
    assert [clause.name for clause in plan.tools["b"].denies] == ["third"]
    assert plan.tools["a"].denies[3] is plan.tools["b"].denies[0]
    assert [field for field, _, _ in plan.tools["a"].principal_fields] == ["user"]


def test_one_rule_means_the_right_thing_for_parameters_of_two_types() -> None:
    plan = plan_of(
        """tool a { takes x: email allow always }
        tool b { takes x: text allow always }
        rule r: deny any tool when x == "Bob@ACME.example" """
    )
    for tool, value in (("a", "Bob@acme.example"), ("b", "Bob@ACME.example")):
        (clause,) = plan.tools[tool].denies
        assert clause.condition is not None
        assert clause.condition(Scope({"x": value}, {})) is True


def test_a_budgets_id_outlives_a_change_of_its_limit() -> None:
    def ids(clauses: str) -> list[str]:
        return [
            budget.id
            for budget in plan_of(f"tool t {{ takes k: text allow always {clauses} }}").tools["t"].budgets
        ]

    assert ids("rate 5 per hour") == ids("rate 9 per hour")
    different = ids(
        "rate 5 per hour rate 5 per day rate 5 per run "
        "rate 5 per hour for each user rate 5 per hour for each k"
    )
    assert len(set(different)) == 5
    assert len(set(ids("rate 5 per hour rate 6 per hour otherwise halt"))) == 2


def test_per_run_is_counted_for_each_run() -> None:
    (budget,) = plan_of("tool t { allow always rate 3 per run }").tools["t"].budgets
    assert (budget.scope, budget.period_ns) == ("run", None)


def test_without_an_agent_block_main_holds_everything_declared() -> None:
    plan = plan_of("capability a is read\ncapability b is read\ntool t { needs a, b allow always }")
    assert plan.agents["main"].holds == {"a", "b"}
    assert plan.agents["main"].place is None


def test_traits_of_all_needed_capabilities_unite() -> None:
    plan = plan_of(
        "capability a is read\ncapability b is external, money\n"
        "tool t { needs a, b allow always rate 1 per day }"
    )
    assert plan.tools["t"].traits == {"read", "external", "money"}


def test_bounds_of_an_agent_are_limits_with_their_reasons() -> None:
    plan = plan_of(
        "agent m { stop after 90 seconds at most 40 calls at most 5 denials at most 3 approval requests }"
    )
    agent = plan.agents["m"]
    found = [
        limit and (limit.reason, limit.at_most)
        for limit in (agent.stop, agent.calls, agent.denials, agent.requests)
    ]
    assert found == [("m.stop", 90_000_000_000), ("m.calls", 40), ("m.denials", 5), ("m.requests", 3)]


def test_responses_may_say_because_or_another_text() -> None:
    plan = plan_of('responses { deny says because failure says "broken" }')
    assert (plan.responses.unknown, plan.responses.deny, plan.responses.failure) == (
        "tool not found",
        None,
        "broken",
    )


def test_tools_are_found_by_the_frameworks_name_and_are_one_object() -> None:
    plan = plan_of('tool query is "db/query" { allow always }')
    assert plan.by_bound_name["db/query"] is plan.tools["query"]
    assert plan.by_bound_name.get("query") is None
    assert "query" not in plan.by_bound_name
    assert list(plan.tools) == ["query"]
    assert len(plan.tools) == 1


def test_a_tool_that_threads_ask_for_at_once_is_one_tool() -> None:
    plan = plan_of("\n".join(f"tool t{i} {{ takes n: integer allow when n > {i} }}" for i in range(50)))
    seen: list[list[int]] = []
    start = threading.Barrier(4)

    def look() -> None:
        start.wait()
        seen.append([id(plan.tools[name]) for name in plan.tools])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == seen[0] for one in seen)


def test_a_plan_cannot_be_changed() -> None:
    plan = plan_of("tool t { takes n: integer allow always }")
    with pytest.raises(AttributeError):
        plan.policy = "q"  # type: ignore[misc]
    for mapping in (
        plan.tools,
        plan.agents,
        plan.approvers,
        plan.capabilities,
        plan.principal,
        plan.tools["t"].parameters,
    ):
        with pytest.raises(TypeError):
            mapping["x"] = None  # type: ignore[index]


def test_an_optional_attribute_of_the_principal_is_not_demanded() -> None:
    plan = plan_of(
        """principal has team: text optional, tier: text
        tool t {
          allow when principal.team is missing or principal.team == "x"
          deny when principal.tier == "bad"
        }"""
    )
    assert [field for field, _, _ in plan.tools["t"].principal_fields] == ["tier"]


@pytest.mark.parametrize(
    "clauses",
    [
        "allow when principal.user is present",
        "allow always  require principal.user is present",
        "allow when principal.user not in nobody",
        'allow when principal.user == "alice" or "a" == "a"',
        "allow when principal.user is present and principal.user not in nobody",
    ],
)
def test_an_attribute_that_is_named_is_demanded_though_its_part_folds_away(clauses: str) -> None:
    plan = plan_of(f"set nobody = []  tool t {{ {clauses} }}  tool free {{ allow always }}")
    assert [field for field, _, _ in plan.tools["t"].principal_fields] == ["user"]
    assert plan.tools["free"].principal_fields == ()
    plain = plan_of("set nobody = []  tool t { allow always }  tool free { allow always }")
    assert plan.digest != plain.digest


def test_no_two_budgets_share_an_id_whatever_parameters_are_called() -> None:
    words = ["policy", "run_", "arg", "hour", "each"]
    scopes = ["", *(f" for each {one}" for one in ["user", "session", "workspace", "agent", "tool", *words])]
    rates = "".join(
        f"  rate {limit} per {period}{scope}\n"
        for limit in (1, 2)
        for period in ("minute", "hour")
        for scope in scopes
    )
    takes = ", ".join(f"{word}: text" for word in words)
    plan = plan_of("".join(f"tool {name} {{ takes {takes} allow always\n{rates} }}\n" for name in ("a", "b")))
    ids = [budget.id for tool in plan.tools.values() for budget in tool.budgets]
    assert len(ids) == len(set(ids)) == 2 * 2 * 2 * len(scopes)
    (old,) = plan_of("tool a { takes policy: text allow always rate 1 per hour }").tools["a"].budgets
    (new,) = (
        plan_of("tool a { takes policy: text allow always rate 1 per hour for each policy }")
        .tools["a"]
        .budgets
    )
    assert old.id != new.id


@pytest.mark.parametrize(
    "name", ["support_desk", "support_desk_test", "faq_bot", "from_the_article", "acme_ceiling"]
)
def test_every_policy_of_the_language_checks_without_a_diagnostic(name: str) -> None:
    policies = Path(__file__).parents[1] / "policies"
    texts = {f"{path.stem}.fence": path.read_text("utf-8") for path in policies.glob("*.fence")}
    texts["org/acme.fence"] = texts["acme_ceiling.fence"]
    texts["tools/price_quote.js"] = (policies / "tools" / "price_quote.js").read_text("utf-8")
    loaded = load_text(
        texts[f"{name}.fence"],
        f"{name}.fence",
        read=texts.__getitem__,
        installed={"acme_plugins", "pii", ISOLATE_EXECUTOR}.__contains__,
    )
    assert loaded.diagnostics == ()
    assert (loaded.plan is None) == (name == "acme_ceiling")
