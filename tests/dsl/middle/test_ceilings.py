"""A ceiling only narrows: what it sees of the policy under it, and what it may not say."""

from collections.abc import Sequence

from ringfence.dsl.load import Loaded, load_text
from ringfence.dsl.plan import Plan

POLICY = """language 1
policy shop under "org.fence"
levels low < high
capability look is read
capability send is external
capability odd is read
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
agent main { holds look, send, odd may start helper }
agent helper { holds look }
tool query {
  needs look
  takes table: text
  allow when table == "a"
  result is high
  result at most 9 KB
  rate 9 per hour
}
tool mail {
  needs send
  takes to: list of email, body: text
  touches to as recipient
  allow when size(to) < 3
  deny when after reading high
  rate 9 per hour
}
tool strange {
  needs odd
  allow always
  result is low
}
tool free { allow always }
"""
ORG = """language 1
ceiling org version "7"
levels low < high
capability look is read
capability send is external
"""


def load(policy: str = POLICY, *ceilings: str) -> Loaded:
    """Load a policy under these ceilings: the first is the one that it names, the host pins the others."""
    names = ["org.fence", *(f"other{index}.fence" for index in range(1, len(ceilings)))]
    texts = dict(zip(names, ceilings, strict=False))
    return load_text(policy, "shop.fence", ceilings=names[: len(ceilings)], read=lambda name: texts[name])


def planned(policy: str, *ceilings: str) -> Plan:
    loaded = load(policy, *ceilings)
    assert [report.code for report in loaded.diagnostics] == []
    assert loaded.plan is not None
    return loaded.plan


def codes(loaded: Loaded) -> Sequence[tuple[str, str, str]]:
    return [
        (
            report.code,
            str(report.source.place(report.span)),
            report.source.text[report.span.start : report.span.end],
        )
        for report in loaded.diagnostics
    ]


def denied(plan: Plan, tool: str, layer: str = "org") -> list[str]:
    return [clause.name for clause in plan.tools[tool].denies if clause.layer == layer]


def test_a_rule_of_a_ceiling_denies_beside_those_of_the_policy() -> None:
    plan = planned(POLICY, ORG + "rule r: deny any tool that is external when after reading high\n")
    assert denied(plan, "mail") == ["r"]
    assert plan.layers == ("org",)
    assert [clause.layer for clause in plan.tools["mail"].denies] == [None, "org"]


def test_to_a_ceiling_what_it_cannot_judge_has_every_trait() -> None:
    plan = planned(POLICY, ORG + "rule r: deny any tool that is money when after reading high\n")
    covered = [name for name in plan.tools if denied(plan, name)]
    assert covered == ["strange", "free"]
    assert plan.tools["free"].traits == frozenset()


def test_a_start_call_has_the_traits_of_what_the_started_agent_holds() -> None:
    rule = "rule r: deny any tool that is read when after reading high\n"
    assert denied(planned(POLICY, ORG + rule), "helper") == ["r"]
    wide = POLICY.replace("agent helper { holds look }", "agent helper { holds look, odd }")
    money = "rule r: deny any tool that is money when after reading high\n"
    assert denied(planned(POLICY, ORG + money), "helper") == []
    assert denied(planned(wide, ORG + money), "helper") == ["r"]


def test_needs_matches_only_what_the_ceiling_declares() -> None:
    plan = planned(POLICY, ORG + "rule r: deny any tool that needs send when after reading high\n")
    assert [name for name in plan.tools if denied(plan, name)] == ["mail"]
    loaded = load(POLICY, ORG + "rule r: deny any tool that needs odd\n")
    assert [code for code, _, _ in codes(loaded)] == ["E106"]


def test_traits_join_over_layers() -> None:
    plan = planned(POLICY, ORG.replace("look is read", "look is read, money"))
    assert plan.tools["query"].traits == {"read", "money"}
    narrow = ORG.replace("send is external", "send is write")
    plan = planned(POLICY, narrow + "rule r: deny any tool that is external when after reading high\n")
    assert denied(plan, "mail") == ["r"]


def test_a_ceilings_own_clauses_narrow_a_tool() -> None:
    block = """tool query {
  deny late: when table == "b"
  rate 5 per day for each workspace
  result is low
  result at most 4 KB
  audit full
}
"""
    tool = planned(POLICY, ORG + block).tools["query"]
    assert tool.obligations.max_bytes == 4096
    assert tool.obligations.audit == "full"
    assert [(label.rank, label.layer) for label in tool.labels] == [(1, None), (0, "org")]
    assert [(budget.id, budget.layer) for budget in tool.budgets] == [
        ("shop/query/rate/hour/policy", None),
        ("shop/org:query/rate/day/workspace", "org"),
    ]
    assert denied(planned(POLICY, ORG + block), "query") == ["query.late"]
    wide = block.replace("4 KB", "64 KB").replace("audit full", "audit minimal")
    assert planned(POLICY, ORG + wide).tools["query"].obligations.max_bytes == 9 * 1024
    assert planned(POLICY, ORG + wide).tools["query"].obligations.audit == "minimal"


def test_a_ceiling_counts_resources_that_the_policy_touches() -> None:
    plan = planned(POLICY, ORG + "tool mail { blast radius 2 recipient per run }\n")
    assert [budget.resources for budget in plan.tools["mail"].budgets] == [(), ("to",)]
    loaded = load(POLICY, ORG + "tool mail { blast radius 2 person per run }\n")
    assert codes(loaded) == [("E114", "org.fence:6:28", "person")]


def test_allow_in_a_ceiling_is_refused_at_each_allow() -> None:
    block = 'tool query {\n  allow always\n  allow when table == "b"\n}\n'
    expected = [("E116", "org.fence:7:3", "allow"), ("E116", "org.fence:8:3", "allow")]
    assert codes(load(POLICY, ORG + block)) == expected
    assert [code for code, _, _ in codes(load(ORG + block))] == ["E116", "E116"]


def test_levels_and_approvers_may_be_repeated_and_never_changed() -> None:
    boss = 'approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }\n'
    planned(POLICY, ORG + boss)
    changed = POLICY.replace("within 5 minutes", "within 6 minutes")
    assert codes(load(changed, ORG + boss)) == [("E115", "shop.fence:7:10", "lead")]
    swapped = POLICY.replace("levels low < high", "levels low < mid < high")
    assert ("E115", "shop.fence:3:14", "mid") in codes(load(swapped, ORG))


def test_levels_and_approvers_of_a_ceiling_need_not_be_repeated() -> None:
    boss = 'approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }\n'
    silent = POLICY.replace("levels low < high\n", "").replace(boss, "")
    asking = silent + "rule r: ask lead before mail when after reading low\n"
    plan = planned(asking, ORG + boss)
    assert plan.levels == ("low", "high")
    assert list(plan.approvers) == ["lead"]


def test_names_of_a_ceiling_are_its_own() -> None:
    own = ORG + 'set tables = ["x"]\nfunction f(a: text) gives boolean from "a"\n'
    own += "rule r: deny query when table in tables and f(table)\n"
    policy = POLICY + 'set tables = ["y"]\nfunction f(a: text) gives boolean from "b"\n'
    plan = planned(policy + "rule r: deny query when table in tables and f(table)\n", own)
    cores = {clause.layer: clause.core for clause in plan.tools["query"].denies}
    assert cores[None][1] == ["in", ["arg", "table"], ["const", ["y"]]]
    assert cores["org"][1] == ["in", ["arg", "table"], ["const", ["x"]]]
    assert {name: function.plugin for name, function in plan.functions.items()} == {"f": "b", "org/f": "a"}
    loaded = load(POLICY + "rule r: deny query when table in tables\n", own)
    assert [code for code, _, _ in codes(loaded)] == ["E102"]


def test_an_approver_who_could_be_the_requester_is_found_in_a_ceiling_too() -> None:
    self_serving = 'approver boss { group "b" answer within 5 minutes otherwise deny }\n'
    loaded = load(POLICY, ORG + self_serving + "rule r: ask boss before free\n")
    assert codes(loaded) == [("E131", "org.fence:7:13", "boss")]


def test_a_rule_that_names_no_tool_of_the_policy_is_told_and_one_by_trait_is_not() -> None:
    loaded = load(
        POLICY, ORG + "rule r: deny qery\nrule s: deny any tool that is read when after reading high\n"
    )
    assert codes(loaded) == [("W203", "org.fence:6:6", "r")]


def test_a_ceiling_alone_is_valid_and_has_no_plan() -> None:
    loaded = load_text(ORG + "rule r: deny any tool that is money\ntool t { deny when a == 1 }\n")
    assert loaded.diagnostics == ()
    assert loaded.valid
    assert loaded.plan is None


def test_a_guarantee_of_a_ceiling_is_kept_with_its_layer() -> None:
    guarantee = "guarantee g: never any tool that is external unless approved by anyone\n"
    plan = planned(POLICY, ORG + guarantee)
    assert [(one.name, one.layer, one.approved_by) for one in plan.guarantees] == [("g", "org", "anyone")]
    assert plan.guarantees[0].tools == ("free", "mail", "strange")


def test_the_order_of_ceilings_changes_nothing_and_each_of_them_counts() -> None:
    other = ORG.replace("ceiling org", "ceiling second") + "rule r: deny mail when size(to) == 2\n"
    first = ORG + "rule r: deny mail when size(to) == 1\n"
    one, two = planned(POLICY, first, other), planned(POLICY, other.replace("x", "x"), first)
    assert one.digest == two.digest
    assert one.layers == two.layers == ("org", "second")
    assert one.digest != planned(POLICY, first).digest
    assert planned(POLICY, ORG).digest != planned(POLICY.replace(' under "org.fence"', "")).digest


def test_two_ceilings_of_one_name_are_refused() -> None:
    assert codes(load(POLICY, ORG, ORG + "# another\n")) == [("E115", "other1.fence:2:9", "org")]


def test_a_policy_where_a_ceiling_should_be_is_refused_and_stands_for_nothing() -> None:
    loaded = load(POLICY, "language 1\npolicy other\ntool mail { allow always }\n")
    assert "E132" in [code for code, _, _ in codes(loaded)]
    assert loaded.plan is None
    assert load(POLICY, "").plan is None


def test_a_ceiling_may_use_the_levels_of_the_policy() -> None:
    silent = ORG.replace("levels low < high\n", "")
    plan = planned(POLICY, silent + "rule r: deny mail when after reading low\n")
    assert denied(plan, "mail") == ["r"]
    assert load_text(silent + "tool query { result is low }\n").diagnostics == ()


RENAMED = POLICY.replace("tool mail {", 'tool courier is "mail" {')


def test_a_tool_that_the_policy_renames_is_the_same_tool_to_a_ceiling() -> None:
    ceiling = (
        ORG
        + "tool mail { require few: size(to) < 2  rate 2 per day }\n"
        + "rule r: deny mail when after reading high\n"
        + "rule s: deny query when after mail where (size(to) > 1)\n"
        + "rule t: deny query when table comes from mail\n"
        + "order o: query then mail\n"
        + "budget b: 1 KB per day of size(body) over mail\n"
    )
    for policy, name in ((POLICY, "mail"), (RENAMED, "courier")):
        plan = planned(policy, ceiling)
        assert denied(plan, name) == [f"{name}.few", "r", "o"]
        assert [budget.reason for budget in plan.tools[name].budgets if budget.layer == "org"] == [
            f"{name}.rate",
            "b",
        ]
        (watch,) = [
            watch for watch in plan.watches.values() if watch.kind == "after" and watch.events[0].tools
        ]
        assert list(watch.events[0].tools) == [name]
        assert denied(plan, "query") == ["s", "t"]
        assert plan.tools["query"].denies[-1].core == ["comes_from", ["arg", "table"], [["tool", name]]]


def test_a_name_that_two_tools_answer_to_means_both_to_a_ceiling_and_one_to_the_policy() -> None:
    policy = RENAMED + 'tool mail is "other" { takes to: text allow when to == "a" }\n'
    policy += "rule own: deny free when after mail\n"
    plan = planned(policy, ORG + "rule r: deny mail when after query\nrule s: deny free when after mail\n")
    assert denied(plan, "mail") == denied(plan, "courier") == ["r"]
    happenings = [watch.events[0].tools for watch in plan.watches.values()]
    watched = sorted(sorted(tools) for tools in happenings if tools)
    assert watched == [["courier", "mail"], ["mail"], ["query"]]


def test_a_renamed_tool_opens_nothing_that_may_come_only_from_it() -> None:
    policy = RENAMED + 'tool mail is "other" { takes to: text allow when to == "a" }\n'
    plan = planned(policy, ORG + "rule r: deny query unless table comes only from [mail]\n")
    (clause,) = [clause for clause in plan.tools["query"].denies if clause.layer == "org"]
    assert clause.core == ["not", ["comes_only_from", ["arg", "table"], [["tool", "mail"]]]]
