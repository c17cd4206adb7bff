"""From declarations and clauses to the plan: labels, budgets, redactions, starts, orders, watches."""

from pathlib import Path

import pytest

from ringfence.dsl.explain import explain
from ringfence.dsl.load import load, load_files, load_text
from ringfence.dsl.plan import AuditRule, Happening, Plan, Scope, TextFile

HEAD = """language 1
policy p
levels low < mid < high
capability look is read
capability send is external
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
isolate box { lockdown full memory 4 MB cpu 500 ms output at most 16 KB may call query clock frozen }
agent main { holds look, send may start helper }
agent helper { holds look }
tool query {
  needs look
  takes table: text, limit: integer, price: number
  allow always
  QUERY
}
tool mail {
  needs send
  takes to: list of email, cc: list of email, body: text, subject: line, account: text
  allow when size(to) < 9
  deny when after reading mid
  rate 9 per hour
  MAIL
}
"""
LABEL = "result is high"


def planned(query: str = LABEL, mail: str = "", more: str = "") -> Plan:
    text = HEAD.replace("QUERY", query).replace("MAIL", mail) + more
    loaded = load_text(text, read={"quote.js": "() => 2"}.__getitem__)
    errors = [(report.code, report.message) for report in loaded.diagnostics if report.is_error]
    assert errors == []
    assert loaded.plan is not None
    return loaded.plan


def test_labels_keep_rank_condition_and_otherwise() -> None:
    plan = planned('result is high when table == "a"\n  result is low otherwise')
    high, low = plan.tools["query"].labels
    assert plan.levels == ("low", "mid", "high")
    assert (high.rank, high.otherwise, low.rank, low.otherwise, low.condition) == (2, False, 0, True, None)
    assert high.condition is not None
    assert high.condition(Scope({"table": "a"}, {})) is True
    assert high.condition(Scope({"table": "b"}, {})) is False


def test_a_blast_radius_counts_the_values_of_all_parameters_of_its_resource() -> None:
    text = (
        "touches to as person, cc as person, account as account\n"
        "  blast radius 3 person per run, 5 person per day, 1 account per run"
        " for each workspace otherwise halt"
    )
    run, day, account = planned(mail=text).tools["mail"].budgets[1:]
    assert (run.kind, run.resource, run.resources, run.limit) == ("distinct", "person", ("cc", "to"), 3)
    assert (run.scope, run.period_ns, run.halts, run.reason) == ("run", None, True, "mail.blast")
    assert (day.scope, day.period_ns) == ("workspace", 86_400_000_000_000)
    assert (account.resource, account.resources, account.scope) == ("account", ("account",), "run")
    assert len({run.id, day.id, account.id}) == 3


def test_rates_say_what_they_count_and_for_what() -> None:
    text = LABEL + "\n  rate 3 per run counting attempts\n  rate 2 per run for each table"
    attempts, each = planned(text).tools["query"].budgets
    assert (attempts.counting, attempts.scope, attempts.id) == (
        "attempts",
        "run",
        "p/query/rate.attempts/run/run",
    )
    assert (each.counting, each.scope, each.period_ns, each.id) == (
        "calls",
        "table",
        None,
        "p/query/rate/run/arg.table",
    )


def test_a_budget_over_tools_is_one_for_all_that_it_covers() -> None:
    more = "budget out: 2 KB per day for each user of size(body) over mail, post otherwise halt\n"
    more += 'tool post { needs send takes body: text allow when body == "x" deny when after reading mid }\n'
    plan = planned(more=more)
    first, second = plan.tools["mail"].budgets[-1], plan.tools["post"].budgets[-1]
    assert first.id == second.id == "p/*/out/day/user"
    assert (first.kind, first.limit, first.scale, first.reason, first.halts) == (
        "amount",
        2048,
        1,
        "out",
        True,
    )
    assert first.amount is not None
    assert first.amount(Scope({"body": "é"}, {})) == 2


def test_a_budget_of_numbers_is_counted_in_millionths() -> None:
    budget = planned(more="budget spent: 9 per day of price over query\n").tools["query"].budgets[-1]
    assert (budget.limit, budget.scale) == (9_000_000, 1_000_000)
    assert budget.amount is not None
    assert budget.amount(Scope({"price": 1.5}, {})) == 1.5
    with pytest.raises(KeyError):
        budget.amount(Scope({}, {}))


def test_redactions_do_not_depend_on_the_order_of_clauses() -> None:
    one = planned(mail="redact body with pii\n  redact body with keys")
    two = planned(mail="redact body with keys\n  redact body with pii")
    assert [(r.param, r.redactor) for r in one.tools["mail"].redactions] == [
        ("body", "keys"),
        ("body", "pii"),
    ]
    assert one.digest == two.digest


def test_a_rule_redacts_where_the_parameter_is() -> None:
    plan = planned(more="rule r: redact body with pii for any tool\n")
    assert [r.name for r in plan.tools["mail"].redactions] == ["r"]
    assert plan.tools["query"].redactions == ()
    assert [r.name for r in plan.tools["helper"].redactions] == ["r"]


def test_audit_rules_and_shadow_rules_keep_their_conditions() -> None:
    more = 'rule full: audit full for query when table == "a"\nshadow rule quiet: deny query when limit > 3\n'
    tool = planned(more=more).tools["query"]
    (audit,) = tool.audits
    assert isinstance(audit, AuditRule)
    assert (audit.level, audit.name, audit.shadow) == ("full", "full", False)
    assert audit.condition is not None and audit.condition(Scope({"table": "a"}, {})) is True
    (quiet,) = tool.denies
    assert (quiet.name, quiet.shadow) == ("quiet", True)


def test_starting_an_agent_is_a_tool_that_only_its_starter_sees() -> None:
    plan = planned()
    start = plan.tools["helper"]
    assert (start.starts, start.bound, start.parameters, start.needs) == (
        "helper",
        "helper",
        None,
        frozenset(),
    )
    assert start.traits == {"read"}
    assert [clause.name for clause in start.allows] == ["helper.allow"]
    assert plan.agents["main"].may_start == {"helper"}
    assert plan.agents["helper"].may_start == frozenset()
    assert "main" not in plan.tools


def test_a_body_in_an_isolate_is_named_with_its_isolate() -> None:
    more = "tool js { takes code: text allow always runs code in box }\n"
    more += 'tool quote { allow always runs "quote.js" in box }\n'
    loaded = planned(more=more)
    js, quote = loaded.tools["js"].isolated, loaded.tools["quote"].isolated
    assert js is not None and (js.isolate, js.param, js.file) == ("box", "code", None)
    assert quote is not None and (quote.isolate, quote.param, quote.file) == ("box", None, "quote.js")
    assert (js.source, quote.source) == (None, "() => 2")
    box = loaded.isolates["box"]
    assert (box.time_ns, box.tick_ms) == (5_000_000_000, None)
    assert (box.memory_bytes, box.cpu_ns, box.output_bytes) == (
        4 << 20,
        500_000_000,
        16 << 10,
    )
    assert (box.may_call, box.lockdown, box.clock) == (frozenset({"query"}), "full", "frozen")


def test_what_an_isolate_does_not_say_has_a_bound_all_the_same() -> None:
    bare = planned(more="isolate bare { }").isolates["bare"]
    assert (bare.memory_bytes, bare.cpu_ns, bare.time_ns, bare.output_bytes) == (
        64 << 20,
        500_000_000,
        5_000_000_000,
        16 << 10,
    )
    assert (bare.lockdown, bare.clock, bare.tick_ms, bare.may_call) == ("full", "frozen", None, frozenset())


def test_a_coarse_clock_and_a_lesser_lock_down_stand_in_the_plan() -> None:
    plan = planned(more="isolate bare { lockdown process clock coarse 2 seconds }")
    bare = plan.isolates["bare"]
    assert (bare.lockdown, bare.clock, bare.tick_ms) == ("process", "coarse", 2000)
    assert "  lockdown process" in explain(plan) and "  clock coarse 2 seconds" in explain(plan)
    assert plan.digest != planned(more="isolate bare { lockdown process clock coarse 3 seconds }").digest


def test_the_script_is_in_the_plan_in_its_digest_and_among_the_files_it_is_made_again_from() -> None:
    text = 'language 1 policy p isolate box { } tool quote { allow always runs "lib/q.js" in box }'
    one, two = (
        load_text(text, "a/p.fence", read={"a/lib/q.js": body}.__getitem__).plan
        for body in ("() => 1", "() => 2")
    )
    assert one is not None and two is not None
    assert one.digest != two.digest
    assert one.files[1:] == (TextFile("script", "a/lib/q.js", "() => 1"),)
    again = load_files(one.files).plan
    assert again is not None and again.digest == one.digest
    assert again.tools["quote"].isolated == one.tools["quote"].isolated


def test_a_script_that_is_named_in_a_used_file_lies_beside_that_one() -> None:
    used = 'language 1 isolate box { } tool quote { allow always runs "q.js" in box }'
    files = {"lib/tools.fence": used, "lib/q.js": "() => 3"}
    plan = load_text('language 1 policy p use "lib/tools.fence"', read=files.__getitem__).plan
    assert plan is not None
    isolated = plan.tools["quote"].isolated
    assert isolated is not None and isolated.source == "() => 3"
    again = load_files(plan.files).plan
    assert again is not None and again.digest == plan.digest


def test_a_script_that_is_not_utf8_or_too_large_is_refused_at_its_name(tmp_path: Path) -> None:
    policy = tmp_path / "p.fence"
    policy.write_text('language 1 policy p isolate box { } tool q { allow always runs "q.js" in box }')
    script = tmp_path / "q.js"
    for content, why in ((b"() => '\xff'", "it is not UTF-8"), (b" " * 1_048_577, "larger than")):
        script.write_bytes(content)
        (report,) = load(policy).diagnostics
        assert (report.code, report.message) == ("E132", "`q.js` cannot be read")
        assert why in report.label
    script.write_bytes(b"() => 1")
    assert load(policy).diagnostics == ()


def test_an_order_denies_its_last_step_alone() -> None:
    more = 'order steps same account: mail where (subject == "a") then post\n'
    more += (
        'tool post { needs send takes account: text allow when account == "x" deny when after reading mid }\n'
    )
    plan = planned(more=more)
    assert [clause.name for clause in plan.tools["post"].denies] == ["steps", "post.deny"]
    assert [clause.name for clause in plan.tools["mail"].denies] == ["mail.deny"]
    (watch,) = (watch for watch in plan.watches.values() if watch.kind == "order")
    assert watch.same == "account"
    (happening,) = watch.events
    where = happening.tools["mail"]
    assert where is not None
    assert where(Scope({"subject": "a"}, {})) is True
    assert where(Scope({"subject": "b"}, {})) is False


def test_only_what_a_clause_mentions_is_watched() -> None:
    plan = planned(more="rule r: deny mail when calls to any tool that needs look within 1 hour > 3\n")
    kinds = sorted(watch.kind for watch in plan.watches.values())
    assert kinds == ["after", "calls"]
    (calls,) = (watch for watch in plan.watches.values() if watch.kind == "calls")
    assert calls.within_ns == 3_600_000_000_000
    assert calls.events == (Happening({"query": None}),)
    assert plan.tools["mail"].remembers
    assert not plan.tools["query"].remembers


def test_texts_are_traced_where_sources_are_asked_or_people_are() -> None:
    assert not planned().traces
    assert planned(more="rule r: deny mail when body comes from query\n").traces
    assert planned(mail="ask lead").traces


def test_latency_and_steps_of_results_are_kept() -> None:
    plan = planned(
        LABEL + "\n  result in steps of 4 KB", more="responses { latency at least 40 ms in steps of 20 ms }\n"
    )
    assert (plan.responses.floor_ns, plan.responses.step_ns) == (40_000_000, 20_000_000)
    assert plan.tools["query"].obligations.step_bytes == 4096


BASE = planned(
    LABEL + "\n  rate 3 per run\n  result in steps of 4 KB",
    "touches to as person\n  blast radius 3 person per run\n  redact body with pii",
    "responses { latency at least 40 ms in steps of 20 ms }\n"
    'function f(a: text) gives boolean from "x"\n'
    "guarantee g: never mail\nbudget out: 2 KB per day of size(body) over mail\norder o: query then mail\n",
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("low < mid", "least < mid"),
        ("result is high", "result is mid"),
        ("rate 3 per run", "rate 3 per run counting successes"),
        ("steps of 4 KB", "steps of 8 KB"),
        ("to as person", "cc as person"),
        ("3 person", "4 person"),
        ("with pii", "with keys"),
        ("in steps of 20 ms", "in steps of 10 ms"),
        ("least 40 ms", "least 50 ms"),
        ('from "x"', 'from "y"'),
        ("never mail", "never query"),
        ("2 KB per day", "3 KB per day"),
        ("size(body) over", "size(subject) over"),
        ("order o: query then", "order o: mail then"),
        ("may start helper", ""),
        ("memory 4 MB", "memory 8 MB"),
        ("may call query", "may call mail"),
    ],
)
def test_everything_that_decides_is_in_the_digest(old: str, new: str) -> None:
    assert old in BASE.text
    changed = load_text(BASE.text.replace(old, new)).plan
    assert changed is not None
    assert changed.digest != BASE.digest
