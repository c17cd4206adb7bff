"""The support desk's tests hold its policy: whichever rule is taken away, some test fails.

Rules that only thousands of calls meet are held by tests that are written here; they are run for those
rules alone, and once for the policy itself.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.dsl import syntax
from ringfence.dsl.load import load_text
from ringfence.dsl.parse import parse
from ringfence.dsl.source import Source, Span
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.rehearsal import rehearse

POLICIES = Path(__file__).parents[2] / "dsl" / "policies"
TEXT = (POLICIES / "support_desk.fence").read_text(encoding="utf-8")
CEILING = (POLICIES / "acme_ceiling.fence").read_text(encoding="utf-8")
QUOTE = (POLICIES / "tools" / "price_quote.js").read_text(encoding="utf-8")
TESTS = (Path(__file__).parent / "policies" / "support_desk_test.fence").read_text(encoding="utf-8")
USE = '"../../../dsl/policies/support_desk.fence"'

WHO = 'as agent support, user "alice", workspace "w1", tier "gold"\n'
LIMITS = (syntax.StopAfter, syntax.AtMost)
RULES = (syntax.Allow, syntax.Require, syntax.Deny, syntax.Ask, syntax.Rate)


def in_runs(call: str, count: int, *, each: int = 40, minutes: int = 1, before: str = "") -> str:
    """Steps in which a call runs so often, `each` times in a run, with so many minutes between runs."""
    steps = [f"ran {call}\n"] * count
    runs = ["".join(steps[start : start + each]) for start in range(0, count, each)]
    return WHO + before + f"wait {minutes} minutes\nnew run\n".join(runs) + "new run\n"


def bulk(name: str, steps: str, last: str) -> str:
    return f'test "{name}" {{\n{steps}{last}\n}}\n'


QUERY = 'query_database(table: "orders", columns: ["id"], limit: 1)'
FETCH = 'web_fetch(url: "https://docs.acme.example/returns")'
QUOTE = 'price_quote(items: ["lamp"], country: "FR")'
MAIL = f'send_email(to: ["bob@acme.example"], subject: "x", body: "{"y" * 20_480}")'
SHORT = 'send_email(to: ["bob@acme.example"], subject: "x", body: "y")'


def crm(number: int) -> str:
    return f'write_to_crm(workspace: "w1", account_id: "a{number}", field: "note", value: "x")'


MANY = {
    "query_database.rate": bulk(
        "queries a day", in_runs(QUERY, 5000), f"call {QUERY} is denied by query_database.rate"
    ),
    "web_fetch.rate": bulk("pages a day", in_runs(FETCH, 200), f"call {FETCH} is denied by web_fetch.rate"),
    "run_js.rate": bulk(
        "scripts a day",
        in_runs('run_js(code: "1")', 500, each=20),
        'call run_js(code: "1") is denied by run_js.rate',
    ),
    "price_quote.rate": bulk(
        "quotes a day", in_runs(QUOTE, 1000), f"call {QUOTE} is denied by price_quote.rate"
    ),
    "write_to_crm.blast": bulk(
        "accounts a day",
        WHO + "".join(f"ran {crm(n)} signed by support_lead\nnew run\n" for n in range(20)),
        f"call {crm(20)} is denied by write_to_crm.blast",
    ),
    "outbound": bulk(
        "bytes a day",
        in_runs(MAIL, 10, each=5, minutes=60, before='prompt "mail bob@acme.example"\n'),
        f"call {SHORT} is denied by outbound",
    ),
}  # fmt: skip
"""Name of the reason -> a test that only many calls can make."""


def mutants() -> Iterator[tuple[str, str]]:
    """Yield the name of each rule, and the policy's text without it."""
    document, found = parse(Source("support_desk.fence", TEXT))
    assert not found
    for node in document.declarations:
        match node:
            case syntax.Agent():
                for limit in node.clauses:
                    if isinstance(limit, LIMITS):
                        yield f"{node.name.text}: {words(limit.span)}", without(limit.span)
            case syntax.Tool():
                for clause in node.clauses:
                    if isinstance(clause, RULES) or (
                        isinstance(clause, syntax.ResultIs) and clause.condition is not None
                    ):
                        yield f"{node.name.text}: {words(clause.span)}", without(clause.span)
                    elif isinstance(clause, syntax.BlastRadius):
                        for blast in clause.blasts:
                            yield f"{node.name.text}: {words(blast.span)}", unbounded(blast.count.span)
            case syntax.Rule(shadow=True):
                pass  # it enforces nothing
            case syntax.Rule() | syntax.Order() | syntax.BudgetOf():
                yield words(node.name.span), without(node.span)


def words(span: Span) -> str:
    return " ".join(TEXT[span.start : span.end].split())[:60]


def without(span: Span) -> str:
    return TEXT[: span.start] + TEXT[span.end :]


def unbounded(count: Span) -> str:
    return f"{TEXT[: count.start]}1000000{TEXT[count.end :]}"


MUTANTS = dict(mutants())


def failures(policy: str, tests: str) -> list[str] | None:
    """Return the names of the tests that fail under a policy; None: it does not load."""
    files = {"support_desk.fence": policy, "org/acme.fence": CEILING, "tools/price_quote.js": QUOTE}
    text = tests if tests.startswith("#") else f"language 1\nuse {USE}\n{tests}"
    loaded = load_text(text.replace(USE, '"support_desk.fence"'), "t.fence", read=files.__getitem__)
    if loaded.plan is None:
        return None
    assert loaded.tests
    rehearsed = [rehearse(loaded.plan, test) for test in loaded.tests]
    return [one.test.name.value for one in rehearsed if not one.passed]


def test_the_policy_itself_passes_and_every_clause_of_it_is_reached() -> None:
    files = {"support_desk.fence": TEXT, "org/acme.fence": CEILING, "tools/price_quote.js": QUOTE}
    text = TESTS.replace(USE, '"support_desk.fence"') + "".join(MANY.values())
    loaded = load_text(text, "t.fence", read=files.__getitem__)
    assert loaded.plan is not None
    coverage = Coverage(loaded.plan)
    failed = [one for one in loaded.tests if not rehearse(coverage.plan, one, coverage=coverage).passed]
    assert failed == []
    assert coverage.unreached == []


@pytest.mark.parametrize("rule", MUTANTS)
def test_without_this_rule_some_test_fails(rule: str) -> None:
    policy = MUTANTS[rule]
    assert policy != TEXT
    if failures(policy, TESTS):
        return
    tool = rule.split(":")[0]
    many = [text for name, text in MANY.items() if name.split(".")[0] == tool]
    assert many, f"no test fails without `{rule}`"
    assert any(failures(policy, text) for text in many), f"no test fails without `{rule}`"
