"""The quick way to a decision says what the long way says, to the last byte, or nothing at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ringfence.dsl.compile.certain import _MOST_OF_NAMES, MOST_CHARACTERS, _Source
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Plan, Reason, ToolPlan, Verdict
from ringfence.engine.decision.arguments import MOST_BYTES
from ringfence.engine.decision.assessment import Assessment
from ringfence.engine.decision.at_once import at_once
from ringfence.engine.decision.calls import NO_FACTS, RESERVED, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import BudgetRefunded, CallStarted, RunEvent, RunHalted, Stamped
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start
from ringfence.engine.decision.watched import Watched
from ringfence.engine.decision.written import decided_body
from tests.fuzz import changed
from tests.plans import SECOND_NS, T0, run_started

HEAD = """language 1
policy quick
principal has tier: text, team: text optional, level: integer optional
set few = ["a", "b", "users"]
set people = ["bob@acme.example"]
set numbers = [1, 2, 5]
pattern word = /[a-z]+/
approver lead { group "leads" answer within 15 minutes otherwise deny }
capability work is read
"""


class Text(str):
    """No JSON: a text of another class."""


class Whole(int):
    """No JSON: an integer of another class."""


class Calls(dict[str, Any]):
    """No plain record of arguments."""


KINDS: dict[str, tuple[str, list[Any], list[Any]]] = {
    "n": ("integer", [1, 2, 7, 2**53 - 1], [1.0, 1.5, True, 2**53, Whole(1), "1"]),
    "f": ("number", [1, 2, 0.5, -3.25], [1.0, float("nan"), float("inf"), 1e300, -0.0, 2**60, False]),
    "t": (
        "text",
        ["a", "users", "zz", ""],
        ["é", "\u0430", "\uff41", "\u212a", "\ud800", "x" * 200_000, Text("a"), 1],
    ),
    "b": ("text at most 9 bytes", ["a", "abc", "abcdefghi"], ["é", "abcdefghij", "\udc80", Text("b")]),
    "c": ("text at most 3", ["a", "abc"], ["éée", "éééé", "abcd"]),
    "u": ("boolean", [True, False], [1, 0, "true"]),
    "m": ("email", ["bob@acme.example", "Bob@Acme.Example"], ["bob", "bob@münchen.example", 4]),
    "l": ("line", ["one line", ""], ["two\nlines", "two\u2028lines"]),
    "w": ("url", ["https://docs.acme.example/x", "HTTPS://Acme.Example"], ["nothing", "https://é.example/ü"]),
    "d": ("date", ["2026-11-23"], ["2026-13-40", "today"]),
    "s": (
        "list of text at most 4",
        [["a"], ["a", "b"], ["users", "x"]],
        [
            [],
            ["é"],
            ["a", "\u0430"],
            ["\ud800"],
            [None],
            ["a", 1],
            ("a",),
            ["a"] * 5,
            [Text("a")],
            [["a"]],
            ["x" * 100_000, "y"],
        ],
    ),
    "e": (
        "list of email",
        [["bob@acme.example"], ["A@b.example", "c@d.example"]],
        [["x"], [], "a@b.example"],
    ),
    "i": ("list of integer", [[1], [1, 2]], [[1.0], [True], []]),
    "o": ("text optional", ["a", "abc", None], ["é", 1, "x" * 200_000]),
    "p": ("integer optional", [1, 5, None], [1.0, True, "1"]),
    "q": ("list of text optional", [["a"], None], [["é"], [1], []]),
}
"""Parameter -> type, usual values, and others that fit or do not."""

ATOMS: dict[str, list[str]] = {
    "n": ["n > 1", "n >= 1 and n <= 5", "n in numbers", "n == 2", "n != 7", "n in [1, 2]"],
    "f": ["f < 2", "f >= 0.5", "f == 1", "f != 0.5"],
    "t": [
        't == "a"', "t in few", "t not in few", "t matches word", 't starts with "u"', 't contains "s"',
        "t == principal.tier", "lower(t) in few", "size(t) < 3 bytes",
        "principal.team is present and t == principal.team",
    ],
    "b": ['b == "a"', "size(b) > 2 bytes", 'b ends with "c"', "b == t"],
    "c": ['c in ["a", "abc"]', "c matches /a.*/"],
    "u": ["u", "not u", "u == true"],
    "m": ['domain(m) == "acme.example"', "m in people", "domain(m) == lower(principal.tier)"],
    "l": ['l != "x"', 'l contains "one"'],
    "w": ['host(w) == "docs.acme.example"', 'w starts with "https"'],
    "d": ['d >= "2026-01-01"'],
    "s": [
        "every x in s satisfies (x in few)", "some x in s satisfies (x == t)", "size(s) < 2",
        "every x in s satisfies (x matches word or x in few)", 's contains "a"', "t in s",
        "some x in s satisfies (every y in e satisfies (lower(x) == lower(y)))",
        'some x in s satisfies (x in few) and some y in s satisfies (y == "b" or y == "users")',
    ],
    "e": ['every x in e satisfies (domain(x) == "acme.example")', "some x in e satisfies (x in people)"],
    "i": ["every x in i satisfies (x < 2)", "some x in i satisfies (x in numbers)"],
    "o": [
        "o is missing", 'o is present and o == "a"', "o is missing or size(o) < 3 bytes",
        "o is present and o matches word",
    ],
    "p": ["p is present and p > 2", "p is missing or p in numbers", "p is present and p == n"],
    "q": ["q is present and every x in q satisfies (x in few)", "q is missing or size(q) < 2"],
    "": [
        'principal.tier == "gold"', "principal.team is missing", "principal.level is present",
        "principal.level is present and principal.level > 2", 'principal.user in ["alice"]',
        'principal.workspace starts with "w"',
    ],
}  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn, names: list[str], depth: int = 2) -> str:
    """A condition over these parameters."""
    kind = draw(st.sampled_from(["atom", "atom", "not", "and", "or"])) if depth else "atom"
    if kind == "atom":
        of = draw(st.sampled_from([*names, *names, ""]))
        known = [atom for atom in ATOMS[of] if all(word in names for word in _others(atom, of))]
        return draw(st.sampled_from(known))
    one = draw(conditions(names, depth - 1))
    if kind == "not":
        return f"(not ({one}))"
    return f"(({one}) {kind} ({draw(conditions(names, depth - 1))}))"


def _others(atom: str, own: str) -> list[str]:
    words = atom.replace("(", " ").replace(")", " ").split()
    return [word for word in words if word in KINDS and word != own]


@dataclass(frozen=True)
class Written:
    """A policy, and what the parameters of its tool are."""

    text: str
    names: list[str]


@st.composite
def policies(draw: st.DrawFn) -> Written:
    """A policy of one tool that allows about as often as it denies."""
    names = draw(st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=6, unique=True))
    some: st.SearchStrategy[list[str]] = st.just([]) | st.lists(conditions(names), max_size=2)
    clauses = [
        "needs work",
        "takes " + ", ".join(f"{name}: {KINDS[name][0]}" for name in names),
        *(f"deny when {one}" for one in draw(some)),
        *(f"ask lead when {one}" for one in draw(st.just([]) | st.lists(conditions(names), max_size=1))),
        *(f"require {one}" for one in draw(st.just([]) | st.lists(conditions(names, 0), max_size=1))),
    ]
    clauses += draw(
        st.just(["allow always"]) | st.lists(conditions(names, 1).map("allow when {}".format), max_size=2)
    )
    clauses += draw(
        st.lists(
            st.sampled_from(
                [
                    "rate 3 per run", "rate 9 per hour for each user", "rate 5 per hour for each workspace",
                    "rate 4 per minute for each run otherwise halt", "rate 2 per run counting attempts",
                    "rate 2 per day for each tool counting successes", "audit full",
                ]
            ),
            max_size=2,
            unique=True,
        )
    )  # fmt: skip
    rules = [
        f"shadow rule r{number}: {effect} tool_1 when {one}"
        for number, (effect, one) in enumerate(
            draw(
                st.lists(
                    st.tuples(st.sampled_from(["deny", "ask lead before"]), conditions(names, 1)), max_size=1
                )
            )
        )
    ]
    limits = draw(
        st.lists(
            st.sampled_from(["stop after 20 seconds", "at most 3 calls", "at most 2 denials"]),
            max_size=2,
            unique=True,
        )
    )
    agent = "agent main { holds work " + " ".join(limits) + " }"
    tool = "tool tool_1 {\n  " + "\n  ".join(clauses) + "\n}"
    return Written("\n".join([HEAD, agent, tool, *rules]), names)


@st.composite
def calls(draw: st.DrawFn, names: list[str]) -> ToolCall:
    """A call of the tool, usual in all or most of its values."""
    arguments: dict[str, Any] = {}
    odd = draw(st.sampled_from(["", "", "", *names, "more", "less", "class", "name", "any"]))
    for name in draw(st.permutations(names)):
        type_, usual, unusual = KINDS[name]
        if type_.endswith("optional") and draw(st.booleans()):
            continue
        among = {name: [*unusual, None], "any": [*usual, *unusual, None]}.get(odd, usual)
        arguments[name] = draw(st.sampled_from(among))
    if odd == "more":
        arguments["unknown"] = 1
    elif odd == "less":
        arguments.pop(names[0], None)
    schema = draw(st.sampled_from([None, None, frozenset(names), frozenset([*names, "unknown"])]))
    tool = "tool_2" if odd == "name" else "tool_1"
    return ToolCall(tool, Calls(arguments) if odd == "class" else arguments, schema_names=schema)


@dataclass
class Run:
    """A run under way, in which each call is decided both ways."""

    plan: Plan
    principal: Mapping[str, Json]
    now_ns: int = T0
    said: int = 0
    """How many calls were decided at once."""
    denied: int = 0
    """How many of those were denied."""
    allowed: int = 0
    keys: list[tuple[str, ToolCall]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seq = 1
        self.state: State = start(self.plan, run_started(self.plan, principal=self.principal))

    def record(self, event: RunEvent) -> None:
        self.seq += 1
        apply(self.state, Stamped(self.seq, self.now_ns, event))

    def both(self, call: ToolCall, key: str | None, plan: Plan | None = None) -> Assessment:
        """Decide both ways and compare; return what the long way says."""
        of = plan or self.plan
        slow = assess(of, self.state, call, NO_FACTS, now_ns=self.now_ns, key=key, at_length=True)
        quick = at_once(of, self.state, call, key, self.now_ns)
        self.allowed += slow.verdict is Verdict.ALLOW
        if quick is not None:
            self.said += 1
            self.denied += quick.verdict is Verdict.DENY
            assert shown(quick) == shown(slow)
            assert shown(assess(of, self.state, call, NO_FACTS, self.now_ns, key)) == shown(slow)
            assert list(quick.arguments) == list(slow.arguments)
            for facts in FACTS:
                one, other = conclude(quick, facts), conclude(slow, facts)
                assert one == other and repr(one) == repr(other)
                events = [decided(key or "k", call, each, facts) for each in (one, other)]
                assert events[0] == events[1]
                assert decided_body(events[0], one, facts) == decided_body(events[1], other, facts)
        return slow

    def call(self, call: ToolCall, then: str) -> None:
        key = f"k{len(self.keys)}.0"
        self.both(call, None)
        self.record(requested(key, call._replace(arguments={})))
        slow = self.both(call, key)
        self.keys.append((key, call))
        decision = conclude(slow, RESERVED)
        self.record(decided(key, call, decision, RESERVED))
        self.both(call, key)
        if decision.halt is not None or then == "halt":
            self.record(RunHalted("main.stop", None, None))
        elif decision.allowed and then == "start":
            self.record(CallStarted(key))
        elif decision.allowed and then == "refund":
            self.record(BudgetRefunded(key, "withdrawn"))
        self.both(call, key)


FACTS = (
    NO_FACTS,
    RESERVED,
    Facts(()),
    Facts((Refusal("b", "k", 5),), {"lead": ("dana",)}, {"q": ["gave", 1]}, ()),
    Facts(failed="the store was away"),
    Facts(above=(Reason("main.calls", "halt", None),)),
)


def shown(found: Assessment) -> dict[str, str]:
    """All that an assessment says, with the class of every value."""
    parts = {
        name: getattr(found, name)
        for name in get_type_hints(Assessment)
        if name not in ("prepared", "decision")
    }
    parts["wanted"] = dict(found.wanted)
    return {name: repr(part) for name, part in parts.items()}


def loaded(text: str) -> Plan:
    found = load_text(text, "quick.fence")
    assert found.plan is not None, (text, found.diagnostics)
    return found.plan


PRINCIPALS = st.sampled_from(
    [
        {"user": "alice", "workspace": "w1", "tier": "gold"},
        {"user": "alice", "workspace": "w1", "tier": "acme.example", "team": "a", "level": 3},
        {"user": "bob", "tier": "a"},
        {"workspace": "w1"},
    ]
)
THEN = st.sampled_from(["start", "start", "start", "refund", "", "", "", "halt"])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies(), PRINCIPALS, st.data())
def test_what_is_said_at_once_is_what_is_said_at_length(
    written: Written, principal: Mapping[str, Json], data: st.DataObject
) -> None:
    plan = load_text(written.text, "quick.fence").plan
    assume(plan is not None)  # some conditions contradict themselves
    assert plan is not None
    run = Run(plan, principal)
    for call, then, seconds in data.draw(
        st.lists(
            st.tuples(calls(written.names), THEN, st.sampled_from([0, 0, 0, 1, 9])), min_size=3, max_size=10
        )
    ):
        run.now_ns += seconds * SECOND_NS
        run.call(call, then)


def test_most_calls_that_are_allowed_are_allowed_at_once() -> None:
    names = list(KINDS)
    text = "\n".join(
        [
            HEAD, "tool tool_1 {", "needs work",
            "takes " + ", ".join(f"{name}: {KINDS[name][0]}" for name in names),
            "allow when n < 9 and t in few", "require every x in s satisfies (x in few or x == \"x\")",
            'deny when m in people and principal.tier == "tin"', "ask lead when n > 5",
            "rate 90 per run", "rate 90 per hour for each user", "}",
        ]
    )  # fmt: skip
    run = Run(loaded(text), {"user": "alice", "tier": "gold"})
    for number in range(20):
        arguments = {name: usual[number % len(usual)] for name, (_, usual, _) in KINDS.items()}
        arguments |= {"t": "a", "n": 1, "s": ["a", "x"]}
        arguments = {name: value for name, value in arguments.items() if value is not None or number % 3}
        run.call(ToolCall("tool_1", arguments), "start")
    # Of a key that holds its reservation, as every second here, nothing is said at once.
    assert run.allowed == 80 and run.said == 40


def policy(clauses: str, *, more: str = "") -> str:
    return f"{HEAD}\n{more}\ntool tool_1 {{ needs work takes n: integer, t: text {clauses} }}"


GOOD = ToolCall("tool_1", {"n": 1, "t": "a"})


def said(text: str, call: ToolCall = GOOD) -> bool:
    """Whether the call passes at once, after a first one."""
    run = Run(loaded(text), {"user": "alice", "tier": "gold"})
    run.both(GOOD, None)
    before = run.said
    run.both(call, None)
    return run.said > before


def test_a_plain_call_passes_at_once() -> None:
    assert said(policy("allow when n < 5"))


@pytest.mark.parametrize(
    "clauses",
    [
        "allow always ask lead when n == 1",
        "allow when n < 1 ask lead when n == 1",
        "allow always deny when n == 1 rate 9 per run counting attempts",
        "allow always ask lead",
        'allow when n == 1 allow when t == "a"',
        "allow always redact t with pii",
        "allow always audit full rate 9 per run counting attempts",
        "allow always blast radius 2 item per run touches t as item",
        "allow always rate 0 per run",
        "allow when after tool_1 or n == 1",
    ],
)
def test_of_a_call_with_something_special_nothing_is_said_at_once(clauses: str) -> None:
    assert not said(policy(clauses))


@pytest.mark.parametrize("every", ["every x in s satisfies (x in few)", 'every x in s satisfies (x == "a")'])
def test_of_every_over_nothing_nothing_is_said_at_once(every: str) -> None:
    text = f"{HEAD}\ntool tool_1 {{ takes s: list of text allow when {every} }}"
    run = Run(loaded(text), {})
    for elements, passes in ((["a"], 1), ([], 0)):
        before = run.said
        run.both(ToolCall("tool_1", {"s": elements}), None)
        assert run.said == before + passes


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("tool_1", {"n": True, "t": "a"}),
        ToolCall("tool_1", {"n": 1.0, "t": "a"}),
        ToolCall("tool_1", {"n": 1, "t": Text("a")}),
        ToolCall("tool_1", {"n": 1, "t": "\ud800"}),
        ToolCall("tool_1", {"n": 1, "t": "x" * (MOST_CHARACTERS + 1)}),
        ToolCall("tool_1", {"n": 1, "t": None}),
        ToolCall("tool_1", {"n": 1}),
        ToolCall("tool_1", {"n": 1, "t": "a", "more": 1}),
        ToolCall("tool_1", Calls(n=1, t="a")),
        ToolCall("tool_2", {"n": 1, "t": "a"}),
    ],
    ids=lambda call: repr(call.arguments)[:20],
)
def test_of_values_of_an_unusual_kind_nothing_is_said_at_once(call: ToolCall) -> None:
    assert not said(policy("allow always"), call)


@pytest.mark.parametrize(
    ("name", "value"),
    [("halted", RunHalted), ("status", "done"), ("denials", 3), ("places_taken", 3), ("deadline_ns", T0)],
)
def test_in_a_run_that_meets_a_limit_nothing_is_said_at_once(name: str, value: Any) -> None:
    agent = "agent main { holds work at most 3 calls at most 3 denials stop after 9 seconds }"
    text = policy("allow always", more=agent)
    assert said(text)
    run = Run(loaded(text), {"user": "alice"})
    run.both(GOOD, None)
    setattr(run.state, name, value)
    assert at_once(run.plan, run.state, GOOD, None, T0) is None


@pytest.mark.parametrize("value", [Text("a"), "é", "\ud800", "b" * (MOST_CHARACTERS + 1), None, 1])
def test_a_text_that_must_be_one_of_a_set_is_looked_at_all_the_same(value: Any) -> None:
    assert said(policy("allow when t in few and n == 1"))
    assert not said(policy("allow when t in few and n == 1"), ToolCall("tool_1", {"n": 1, "t": value}))


@pytest.mark.parametrize(
    "elements", [[Text("a")], ["a", "é"], ["a", 1], ["a", ["a"]], ["a"] * MOST_CHARACTERS, ("a",)]
)
def test_elements_that_must_be_of_a_set_are_looked_at_all_the_same(elements: Any) -> None:
    text = f"{HEAD}\ntool tool_1 {{ takes s: list of text allow when every x in s satisfies (x in few) }}"
    run = Run(loaded(text), {})
    for values, passes in ((["a", "b"], 1), (elements, 0)):
        before = run.said
        run.both(ToolCall("tool_1", {"s": values}), None)
        assert run.said == before + passes


@pytest.mark.parametrize(
    "condition",
    [
        "t in few or n == 1",
        "t not in few",
        't in ["a", "\u00e9", "\u00e9\u00e9"]',
        "not (t in few and n == 2)",
        "every x in s satisfies (x in few) or n == 1",
    ],
)
@pytest.mark.parametrize("value", ["\u00e9", "\ud800", "x" * (MOST_CHARACTERS + 1)])
def test_a_text_that_need_not_be_of_a_set_is_looked_through(condition: str, value: str) -> None:
    text = f"{HEAD}\ntool tool_1 {{ takes n: integer, t: text, s: list of text allow when {condition} }}"
    run = Run(loaded(text), {})
    run.both(ToolCall("tool_1", {"n": 1, "t": "a", "s": ["a"]}), None)
    for arguments in ({"t": value, "s": ["a"]}, {"t": "a", "s": [value]}):
        before = run.said
        run.both(ToolCall("tool_1", {"n": 1} | arguments), None)
        assert run.said == before


def test_texts_of_sets_are_measured_by_the_longest_of_them() -> None:
    text = f'{HEAD}set long = ["{"x" * (MOST_CHARACTERS - 10)}"]\n' + (
        "tool tool_1 { takes t: text, u: text, w: text allow when t in long and u in few }"
    )
    run = Run(loaded(text), {})
    for size, passes in ((5, 1), (6, 0)):
        before, most = run.said, "x" * (MOST_CHARACTERS - 10)
        run.both(ToolCall("tool_1", {"t": most, "u": "a", "w": "x" * size}), None)
        assert run.said == before + passes  # `users` is the longest of the few


def test_a_pattern_that_must_not_fit_is_asked_of_ascii_alone() -> None:
    run = Run(loaded(policy("allow always deny when t matches /[a-c]+/")), {})
    for value, passes in (("zz", 1), ("abc", 1), ("é", 0)):
        before = run.said
        run.both(ToolCall("tool_1", {"n": 1, "t": value}), None)
        assert run.said == before + passes


def test_of_an_attribute_that_was_not_said_the_function_itself_says_nothing() -> None:
    plan = loaded(policy('allow always deny when principal.tier == "tin"'))
    made = plan.tools["tool_1"].certain
    assert made is not None
    assert made.tells({"n": 1, "t": "a"}, {"tier": "gold"}, made.objects) == {"n": 1, "t": "a"}
    assert made.tells({"n": 1, "t": "a"}, {}, made.objects) is None


def test_where_the_host_has_not_said_what_a_clause_names_nothing_is_said_at_once() -> None:
    plan = loaded(policy('allow always deny when n == 9 and principal.tier == "tin"'))
    for principal, passes in (({"tier": "gold"}, 1), ({}, 0)):
        run = Run(plan, principal)
        slow = run.both(GOOD, None)
        assert run.said == passes and (slow.verdict is Verdict.ALLOW) is bool(passes)


def test_a_clause_whose_condition_was_put_in_place_is_asked() -> None:
    told: list[object] = []

    def watched(tool: ToolPlan, of: str) -> ToolPlan:
        clauses = [replace(one, condition=Watched(one.condition, told.append)) for one in getattr(tool, of)]
        changes: dict[str, Any] = {of: tuple(clauses)}
        return replace(tool, **changes)

    for of in ("denies", "asks", "allows"):
        plain = loaded(policy("allow when n < 5 deny when n == 3 ask lead when n == 4"))
        plan = changed(plain, partial(watched, of=of))
        run = Run(plan, {})
        told.clear()
        for _ in range(3):
            run.both(GOOD, None)
        assert run.said == 0 and len(told) == 3


def test_a_tool_that_was_changed_is_looked_at_anew() -> None:
    plan = loaded(policy("allow when n < 5"))
    assert plan.tools["tool_1"].certain is not None
    closed = changed(plan, lambda tool: replace(tool, allows=()))
    run = Run(closed, {})
    run.both(GOOD, None)
    run.both(GOOD, None)
    assert run.said == run.allowed == 0


def test_another_plan_says_nothing_at_once_of_what_this_one_prepared() -> None:
    plan, other = (loaded(policy(f"allow when n < {most}")) for most in (5, 1))
    run = Run(plan, {})
    run.both(GOOD, None)
    assert at_once(other, run.state, GOOD, None, T0) is None
    assert run.both(GOOD, None, other).verdict is Verdict.DENY
    assert run.both(GOOD, None).verdict is Verdict.ALLOW


@given(written=policies())
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_word_of_a_policy_stands_in_a_source(written: Written) -> None:
    marked = written.text.replace('"a"', '"EVIL"').replace("few", "evil_few")
    plan = load_text(marked).plan
    assume(plan is not None and plan.tools["tool_1"].certain is not None)
    assert plan is not None
    tool = plan.tools["tool_1"]
    source = _Source(tool).text()
    assert "vil" not in source.lower() and '"' not in source and "'" not in source
    assert set(source) <= set("abcdefghijklmnopqrstuvwxyzNETF0123456789_ ()[].,:=<>!+-*\n")


def test_tools_of_one_shape_share_their_function() -> None:
    text = HEAD + "".join(
        f'\ntool tool_{n} {{ takes n{n}: integer, t: text allow when n{n} < {n} deny when t == "x{n}" }}'
        for n in range(3)
    )
    found = [tool.certain for tool in loaded(text).tools.values()]
    assert None not in found
    assert len({made.tells for made in found if made is not None}) == 1


def test_what_passes_at_once_is_never_too_large() -> None:
    assert 6 * MOST_CHARACTERS + _MOST_OF_NAMES < MOST_BYTES
