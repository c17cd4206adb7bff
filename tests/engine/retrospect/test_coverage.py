"""Coverage says which clauses a test has made speak, and counts none that only was there."""

from pathlib import Path

from ringfence.dsl.diagnostic import draw
from ringfence.dsl.load import Loaded, load, load_text
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.rehearsal import rehearse

POLICY = """language 1
policy p
levels public < secret
capability look is read
capability send is external
function known(name: text) gives boolean from "crm"
approver lead { group "leads" never the requester answer within 5 minutes otherwise deny }
agent desk { holds look, send  at most 3 calls  at most 2 denials }
tool read {
  needs look
  takes what: text
  allow when what == "rows"
  allow when what == "secret"
  require no_cells: what != "cells"
  result is secret when what == "secret"
  result is public otherwise
  rate 1 per minute for each session
}
tool mail { needs send  takes to: text  allow when to == "ann" or known(to)  redact to with pii }
rule quiet: deny mail when after reading secret
shadow rule loud: deny mail when to == "ann"
rule signed: ask lead before mail when known(to)
"""
ALL = {
    "desk.calls", "desk.denials", "loud", "mail.allow", "mail.redact", "quiet", "read.allow", "read.no_cells",
    "read.rate", "read.result", "signed",
}  # fmt: skip


def covered(body: str, policy: str = POLICY) -> Coverage:
    return covered_by(load_text(f'{policy}test "it" {{ {body} }}', "p.fence"))


def covered_by(loaded: Loaded) -> Coverage:
    assert loaded.plan is not None, draw(loaded.diagnostics)
    coverage = Coverage(loaded.plan)
    for test in loaded.tests:
        assert rehearse(coverage.plan, test, coverage=coverage).passed
    return coverage


def names(coverage: Coverage) -> list[str]:
    return sorted(one.name for one in coverage.reached)


def test_without_tests_no_clause_is_reached() -> None:
    coverage = covered("")
    assert names(coverage) == []
    assert {one.name for one in coverage.unreached} == ALL
    assert [one.name for one in coverage.unreached].count("read.allow") == 2
    places = [(one.line, one.column) for one in coverage.unreached]
    assert places == sorted(places)
    assert str(coverage.unreached[0]).startswith("p.fence:8:")


def test_a_clause_is_reached_when_its_condition_is_not_false() -> None:
    assert names(covered('call read(what: "rows") is allowed')) == ["read.allow"]
    assert names(covered('call read(what: "cells") is denied')) == ["read.no_cells"]
    assert names(covered('call read(what: "x") is denied')) == []


def test_a_rule_that_could_not_be_decided_is_reached_and_so_is_one_in_the_shadow() -> None:
    reached = names(covered('call mail(to: "ann") asks lead by signed'))
    assert reached == ["loud", "mail.allow", "mail.redact", "signed"]


def test_an_allow_that_could_not_be_decided_opened_nothing_and_is_not_reached() -> None:
    assert "mail.allow" not in names(covered('call mail(to: "bob") is denied'))
    assert "mail.allow" in names(covered('given known("bob") gives true call mail(to: "bob") asks lead'))


def test_what_was_undecided_only_until_a_function_answered_is_not_reached() -> None:
    reached = names(covered('given known("ann") gives false call mail(to: "ann") is allowed'))
    assert reached == ["loud", "mail.allow", "mail.redact"]


def test_levels_budgets_and_limits_are_reached_when_they_speak() -> None:
    reached = names(covered('call read(what: "secret") is allowed  call mail(to: "ann") is denied by quiet'))
    assert {"quiet", "read.result"} <= set(reached)
    reached = names(
        covered('call read(what: "rows") is allowed call read(what: "rows") is denied by read.rate')
    )
    assert reached == ["read.allow", "read.rate"]
    denied = 'call read(what: "x") is denied '
    assert names(covered(denied * 3)) == ["desk.denials"]


def test_a_rule_over_several_tools_is_one_clause() -> None:
    policy = POLICY + 'rule all: deny any tool when principal.user == "eve"\n'
    coverage = covered('as agent desk, user "eve" call mail(to: "ann") is denied by all', policy)
    assert [one.name for one in coverage.all].count("all") == 1
    assert "all" in names(coverage)


def test_the_watched_plan_decides_as_the_policy_itself() -> None:
    loaded = load_text(
        POLICY + 'test "it" { call read(what: "rows") is allowed call mail(to: "bo") is denied }'
    )
    assert loaded.plan is not None
    (test,) = loaded.tests
    coverage = Coverage(loaded.plan)
    assert rehearse(coverage.plan, test, coverage=coverage) == rehearse(loaded.plan, test)
    assert coverage.plan.digest == loaded.plan.digest


def test_the_clauses_of_a_ceiling_are_not_listed_and_those_of_used_files_are(tmp_path: Path) -> None:
    (tmp_path / "top.fence").write_text(
        'language 1\nceiling top\nrule never: deny any tool when principal.user == "eve"\n'
    )
    (tmp_path / "p.fence").write_text(
        'language 1\npolicy p under "top.fence"\ntool t { allow always rate 1 per day }\n'
    )
    (tmp_path / "p_test.fence").write_text(
        'language 1\nuse "p.fence"\ntest "it" { as user "eve" call t() is denied by never }\n'
    )
    coverage = covered_by(load(tmp_path / "p_test.fence"))
    assert {one.name for one in coverage.all} == {"t.allow", "t.rate"}
    assert {Path(one.file).name for one in coverage.all} == {"p.fence"}
