"""The support desk's policy tests hold its policy: without any part, or one more in a number, one fails."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from ringfence.dsl import syntax
from ringfence.dsl.draft import Draft
from ringfence.dsl.layers import Gathered, gather
from ringfence.dsl.load import Loaded, load_drafts
from ringfence.dsl.shelves import Disk
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.rehearsal import rehearse
from tests.examples.mutations import Mutant, mutants

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "support_desk" / "support_desk_test.fence"


@cache
def gathered() -> Gathered:
    """Parse the tests, the policy and its ceiling, once."""
    return gather(str(FILE), FILE.read_text(encoding="utf-8"), Disk())


def made() -> Iterator[tuple[int, Mutant]]:
    """Yield every mutant with the number of its layer: 0, the policy; 1, the ceiling."""
    whole = gathered()
    for number, layer in enumerate((whole.policy, *whole.ceilings)):
        document = layer.document
        tested = document.file if number == 0 else None
        own = tuple(node for node in document.declarations if not tested or node.span.start >= tested.end)
        for mutant in mutants(document, own):
            yield number, mutant


MUTANTS = {("ceiling, " if layer else "") + mutant.name: (layer, mutant) for layer, mutant in made()}


def loaded(layer: int = 0, mutant: Mutant | None = None) -> Loaded:
    """Load the policy with one of its layers mutated; nothing is read or parsed again."""
    whole = gathered()
    documents = [each.document for each in (whole.policy, *whole.ceilings)]
    if mutant is not None:
        documents[layer] = mutant.document
    policy, *ceilings = (Draft(document) for document in documents)
    return load_drafts(policy, ceilings, whole.files)


def failing(policy: Loaded) -> str | None:
    """Return the name of a test that fails, the shortest tests first."""
    assert policy.plan is not None and policy.tests
    for test in sorted(policy.tests, key=lambda test: len(test.steps)):
        if not rehearse(policy.plan, test).passed:
            return test.name.value
    return None


ENFORCING = (
    syntax.Allow | syntax.Require | syntax.Deny | syntax.Ask | syntax.Rate | syntax.BlastRadius | syntax.Blast
    | syntax.Rule | syntax.Order | syntax.BudgetOf | syntax.Holds | syntax.AtMost | syntax.StopAfter
)  # fmt: skip
"""Kinds that the language never demands: without one, a policy loads, and a test must fail."""

ENGINE = "tests/engine/enforcement"
DECISION = "tests/engine/decision"
POLICY = "tests/dsl/middle"
NOT_VISIBLE = {
    "approver *: answer within *": (
        "people's time does not pass in a test",
        f"{ENGINE}/test_asking.py::test_a_second_and_a_late_answer_change_nothing",
    ),
    "approver *: quorum 2": (
        "`signed by` stands for as many people as it takes",
        f"{ENGINE}/test_asking.py::test_a_quorum_needs_different_people",
    ),
    "approver privacy_officer: 2 and one more": (
        "as the quorum",
        f"{ENGINE}/test_asking.py::test_a_quorum_needs_different_people",
    ),
    "approver privacy_officer: never the requester": (
        "`signed by` names no people; of the lead the language demands it (E131)",
        f"{ENGINE}/test_asking.py::test_never_the_requester_needs_a_requester",
    ),
    "responses*says*": (
        "tests see verdicts, not what the model is told",
        f"{ENGINE}/test_guard.py::test_an_undeclared_tool_is_not_found",
    ),
    "responses*latency*": (
        "the clock stands still",
        f"{ENGINE}/test_latency.py::test_a_refusal_is_told_at_the_floor_and_then_on_a_step",
    ),
    "responses": (
        "as its clauses",
        f"{ENGINE}/test_latency.py::test_refusals_for_different_reasons_are_alike_in_word_and_time",
    ),
    "isolate *: *": (
        "no isolate runs in a test",
        f"{POLICY}/test_tool_plans.py::test_everything_that_decides_is_in_the_digest",
    ),
    "tool *: runs *": (
        "no body runs in a test",
        f"{ENGINE}/test_counting.py::test_an_isolated_tool_never_runs_on_the_host_and_is_charged_nothing",
    ),
    "tool query_database: result is internal otherwise": (
        "no rule speaks of `internal`",
        f"{DECISION}/test_recall.py::test_a_result_without_a_level_carries_the_sessions_at_its_dispatch",
    ),
    "tool *: result at most * KB": (
        "what is cut off could only refuse: no rule allows because of it",
        f"{DECISION}/test_results.py::test_bytes_beyond_the_limit_are_cut_between_characters",
    ),
    "tool *: result in steps of *": (
        "padding says nothing",
        f"{DECISION}/test_results.py::test_a_text_is_padded_to_a_whole_number_of_steps",
    ),
    "tool web_fetch: stop after *": (
        "no body runs in a test",
        f"{ENGINE}/test_guard.py::test_a_function_past_its_tools_bound_is_abandoned_and_the_run_goes_on",
    ),
    "tool *: audit full": (
        "tests see verdicts, not the log",
        f"{DECISION}/test_obligations.py::test_audit_levels_join_to_the_one_that_records_more",
    ),
    "tool query_database: rate 12 per minute for each session: scope": (
        "a test has one session",
        f"{POLICY}/test_tool_plans.py::test_rates_say_what_they_count_and_for_what",
    ),
    "shadow rule *": (
        "it is recorded and enforces nothing",
        f"{DECISION}/test_decide.py::test_shadow_rules_are_recorded_and_not_enforced",
    ),
    "*guarantee *": (
        "a promise about the rules, which this version keeps and does not prove",
        f"{POLICY}/test_ceilings.py::test_a_guarantee_of_a_ceiling_is_kept_with_its_layer",
    ),
    "*levels *": (
        "the other layer says the same",
        f"{POLICY}/test_ceilings.py::test_levels_and_approvers_of_a_ceiling_need_not_be_repeated",
    ),
    "capability browse: *": (
        "the ceiling says the same",
        f"{POLICY}/test_ceilings.py::test_traits_join_over_layers",
    ),
    "ceiling, capability browse: *": (
        "the policy says the same",
        f"{POLICY}/test_ceilings.py::test_traits_join_over_layers",
    ),
    "ceiling, capability destroy": (
        "to a ceiling, what it does not declare has every trait",
        f"{POLICY}/test_ceilings.py::test_to_a_ceiling_what_it_cannot_judge_has_every_trait",
    ),
}
"""What policy tests, which see verdicts and reasons, cannot see: mutant -> why, and the test that sees it."""


def test_the_policy_itself_passes_and_every_clause_of_it_is_reached() -> None:
    policy = loaded()
    assert policy.plan is not None
    coverage = Coverage(policy.plan)
    failed = [
        test.name.value
        for test in policy.tests
        if not rehearse(coverage.plan, test, coverage=coverage).passed
    ]
    assert (failed, coverage.unreached) == ([], [])


@pytest.mark.parametrize("name", MUTANTS)
def test_without_this_part_some_test_fails(name: str) -> None:
    layer, mutant = MUTANTS[name]
    policy = loaded(layer, mutant)
    if policy.plan is None:
        wrong = [report for report in policy.diagnostics if report.is_error]
        in_tests = [report for report in wrong if policy.source.place(report.span).file == str(FILE)]
        assert wrong
        # A test that cannot be read any more has failed; else the language must demand the part.
        assert in_tests or not isinstance(mutant.taken, ENFORCING), f"without `{name}` it does not load"
        return
    killer = failing(policy)
    if any(fnmatchcase(name, pattern) for pattern in NOT_VISIBLE):
        assert killer is None, f"`{name}` is visible: {killer}"
    else:
        assert killer is not None, f"no test fails without `{name}`"


def test_a_part_that_no_test_holds_is_found() -> None:
    whole = gathered()
    tests = [node for node in whole.policy.document.declarations if isinstance(node, syntax.PolicyTest)]
    layer, mutant = MUTANTS["rule slow_drip"]
    assert mutant.taken in whole.policy.document.declarations
    held = next(test for test in tests if failing(loaded(layer, mutant)) == test.name.value)
    others = tuple(node for node in mutant.document.declarations if node is not held)
    assert (
        failing(loaded(layer, replace(mutant, document=replace(mutant.document, declarations=others))))
        is None
    )


@pytest.mark.parametrize("pattern", NOT_VISIBLE)
def test_what_policy_tests_cannot_see_is_tested_elsewhere(pattern: str) -> None:
    assert any(fnmatchcase(name, pattern) for name in MUTANTS), "nothing in the policy is like this any more"
    _, elsewhere = NOT_VISIBLE[pattern]
    file, name = elsewhere.split("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
