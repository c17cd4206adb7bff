"""The judges' own logic: what is compared with what, and when a run holds."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.upstream.judging import Row, judged
from tests.upstream.results import Outcome, ResultError, Results, compared
from tests.upstream.suites import SUITES, Inserted, Part, parts_of

AGENTS = SUITES[0]


def results(bodies: int = 1, **outcomes: Outcome) -> Results:
    why = {test: "E" for test, one in outcomes.items() if one == "failed"}
    return Results(outcomes, bodies, why, beside=Counter(), calls=1)


def row(inserted: Inserted, run: Results, unmodified: Results, *listed: str) -> Row:
    way = None if inserted == "nothing" else "GuardMiddleware"
    return judged(Part(AGENTS, inserted, way), "1.0", run, unmodified, listed)


def test_a_failure_that_the_unmodified_suite_has_too_is_none_of_ours() -> None:
    found = compared(results(a="failed", b="passed"), results(a="failed", b="passed"), ())
    assert found.holds and not found.new


def test_a_failure_more_is_new_unless_it_is_listed() -> None:
    unmodified, run = results(a="passed", b="passed"), results(a="failed", b="failed")
    found = compared(unmodified, run, ["a"])
    assert (found.new, found.listed, found.holds) == (("b",), ("a",), False)
    assert compared(unmodified, run, ["a", "b"]).holds


def test_a_test_that_is_skipped_only_with_a_policy_is_new() -> None:
    assert compared(results(a="passed"), results(a="skipped"), ()).new == ("a",)


def test_a_name_without_parameters_stands_for_all_of_them() -> None:
    unmodified, run = (
        Results({"a[1]": "passed", "a[2]": "passed"}, 1),
        Results({"a[1]": "failed", "a[2]": "failed"}, 1),
    )
    assert compared(unmodified, run, ["a"]).holds
    assert compared(unmodified, run, ["a[1]"]).new == ("a[2]",)


def test_what_is_listed_and_passes_is_said_and_breaks_nothing() -> None:
    said = row("allow", results(a="passed"), results(a="passed"), "a", "gone")
    assert said.holds
    assert said.lines() == ["listed, but passes: a", "listed, but passes: gone"]


def test_a_test_that_did_not_run_with_a_policy_is_a_fault() -> None:
    said = row("allow", results(a="passed"), results(a="passed", b="passed"))
    assert not said.holds and list(said.faults()) == ["did not run: b"]


def test_new_failures_are_named_with_where_they_were() -> None:
    said = row("allow", results(a="failed"), results(a="passed"))
    assert list(said.faults()) == ["fails with everything allowed: a  (E)"]


CUT = "langgraph.errors.GraphRecursionError: Recursion limit of 20 reached"


def test_a_test_that_a_bound_ends_is_named_unless_it_is_listed() -> None:
    unmodified, run = results(a="passed", b="passed"), results(0, a="failed", b="failed")
    run = replace(run, why={"a": CUT, "b": "E"})
    assert list(row("deny", run, unmodified).faults()) == [f"was cut: a  ({CUT})"]
    assert row("deny", run, unmodified, "a").holds
    assert row("deny", results(0, a="passed", b="failed"), unmodified, "a").lines() == [
        "listed, but comes to its end: a"
    ]


def test_an_agent_that_ends_at_its_last_step_is_cut_though_nothing_says_so() -> None:
    unmodified = replace(results(a="passed", b="passed"), last_steps=frozenset("b"))
    run = replace(results(0, a="failed", b="passed"), last_steps=frozenset("ab"))
    assert list(row("deny", run, unmodified).faults()) == ["was cut: a  (E)"]


@pytest.mark.parametrize(
    "why",
    [
        CUT,
        "MemoryError",
        "Failed: Timeout (>60.0s) from pytest-timeout.",
        "worker 'gw0' crashed while running",
    ],
)
def test_no_bound_cuts_an_unmodified_suite(why: str) -> None:
    run = replace(results(a="failed"), why={"a": why})
    assert list(row("nothing", run, run).faults()) == [f"was cut: a  ({why})"]


def test_a_policy_that_no_call_came_to_denied_nothing() -> None:
    run = replace(results(0, a="passed"), calls=0)
    assert list(row("deny", run, results(a="passed")).faults()) == ["no call came to the guard"]


def test_bodies_beside_the_guard_are_told_and_prove_nothing() -> None:
    run = replace(results(3, a="passed"), beside=Counter(a=2))
    assert row("allow", run, results(a="passed")).lines() == ["2 beside the guard: a"]
    only = replace(run, beside=Counter(a=3))
    assert list(row("allow", only, results(a="passed")).faults()) == [
        "no tool body ran through the guard with everything allowed"
    ]


@pytest.mark.parametrize("inserted", ["nothing", "allow", "deny"])
def test_a_test_that_takes_the_sight_away_is_a_fault(inserted: Inserted) -> None:
    run = replace(results(0 if inserted == "deny" else 1, a="passed"), blind=("a",))
    assert list(row(inserted, run, results(a="passed")).faults()) == ["bodies may have run unseen: a"]


def test_with_everything_denied_only_bodies_count() -> None:
    unmodified = results(3, a="passed")
    assert row("deny", results(0, a="failed"), unmodified).holds
    assert list(row("deny", results(2, a="passed"), unmodified).faults()) == [
        "2 tool bodies ran with everything denied"
    ]


@pytest.mark.parametrize("inserted", ["nothing", "allow"])
def test_a_counter_that_sees_no_body_proves_nothing(inserted: Inserted) -> None:
    assert not row(inserted, results(0, a="passed"), results(1, a="passed")).holds


def test_a_row_is_told_to_people_and_to_machines() -> None:
    said = row("allow", results(a="failed", b="failed"), results(a="passed", b="failed"), "a")
    assert said.cells() == (
        *("agents", "GuardMiddleware", "allow all", "2", "0", "2", "0", "1", "-", "1", "1", "0", "yes"),
    )
    assert json.loads(json.dumps(said.plain()))["listed"] == ["a"]


def test_every_way_of_a_suite_runs_under_both_policies_after_the_unmodified_one() -> None:
    titles = [part.title for part in parts_of(SUITES[1])]
    assert titles == [
        "tool nodes unmodified",
        *("tool nodes guard_tools allow", "tool nodes guard_tools deny"),
        *("tool nodes tool_node allow", "tool nodes tool_node deny"),
    ]


def seen(test: str, what: str, **more: object) -> str:
    return json.dumps({"test": test, "seen": what, **more}) + "\n"


def test_what_all_processes_saw_counts(tmp_path: Path) -> None:
    outcomes = {"a": {"outcome": "failed", "why": "E"}, "b": {"outcome": "passed", "why": ""}}
    (tmp_path / "outcomes.json").write_text(json.dumps(outcomes), encoding="utf-8")
    (tmp_path / "seen-main.jsonl").write_text(seen("", "beginning"), encoding="utf-8")
    first = (
        seen("", "beginning") + seen("a", "call", tools=["t"]) + seen("a", "body", tools=["t"], through=True)
    )
    (tmp_path / "seen-gw0.jsonl").write_text(first, encoding="utf-8")
    other = (
        seen("b", "body", tools=["t"], through=False) * 2 + seen("b", "blindness") + seen("a", "last step")
    )
    (tmp_path / "seen-gw1.jsonl").write_text(other, encoding="utf-8")
    found = Results.read(tmp_path)
    assert (found.bodies, found.calls, dict(found.beside), found.blind) == (3, 1, {"b": 2}, ("b",))
    assert found.last_steps == frozenset("a") and found.cut == ("a",)
    assert (found.count("failed"), dict(found.why)) == (1, {"a": "E"})


def test_a_run_in_which_nobody_looked_for_bodies_is_none(tmp_path: Path) -> None:
    (tmp_path / "outcomes.json").write_text('{"a": {"outcome": "passed", "why": ""}}', encoding="utf-8")
    (tmp_path / "seen-main.jsonl").write_text(seen("", "beginning"), encoding="utf-8")
    with pytest.raises(ResultError, match="looked for bodies"):
        Results.read(tmp_path)


@pytest.mark.parametrize("written", [None, "{", "{}"])
def test_a_run_without_results_is_never_taken_for_one_that_holds(tmp_path: Path, written: str | None) -> None:
    if written is not None:
        (tmp_path / "outcomes.json").write_text(written, encoding="utf-8")
    with pytest.raises(ResultError):
        Results.read(tmp_path)
