"""A policy test decides as a guard does: generated policies, one history, both ways, the same decisions."""

import json
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given as given_seed
from hypothesis import settings
from hypothesis import strategies as st

from ringfence.dsl.draw import drawn
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import Principal, ToolCall
from ringfence.engine.decision.events import CallDecided, CallRequested, PromptGiven, Stamped
from ringfence.engine.decision.state import State, apply
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect import rehearsal
from ringfence.engine.retrospect.rehearsal import rehearse
from ringfence.engine.seams.errors import DeniedError, PendingError, RunHaltedError
from ringfence.plugin import policy_function, redactor
from ringfence.testing import FakeClock
from tests.guards import events_of, make_guard
from tests.plans import T0

HEAD = """language 1
policy generated
levels low < middle < high
capability look_up is read
capability send is external, write
capability spend is money
set known = ["ann@x.example", "T-1"]
function trusted(word: text) gives boolean from "words"
calendar early = friday to saturday 08:00 to 08:05 in "Europe/London"
principal has tier: text
approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }
approver boss { group "owners" never the requester answer within 5 minutes otherwise ask lead }
"""
AGENT = [
    "stop after 30 minutes",
    "at most 6 calls",
    "at most 4 denials",
    "at most 3 approval requests",
]
LOOK = [
    'deny late: when after mail because "no"',
    'require short: size(what) < 5 bytes because "short"',
    "ask lead when after pay",
    'result is high when what == "a"',
    "result is middle when trusted(what)",
    "rate 3 per hour for each user",
    "rate 4 per hour for each session counting attempts",
    "rate 2 per run counting successes",
    "rate 5 per day otherwise halt",
    'deny when calls to look where (what == "a") within 5 minutes > 1',
    "redact what with hide",
    "require in_time: during early",
    'deny when during early and what == "b"',
]
MAIL = [
    "require known: every one in to satisfies (one comes only from [user, look.who, known])",
    "require some_source: to comes only from [user, look, known]",
    "ask lead when size(to) > 1",
    'ask boss when body contains "b"',
    "deny leaking: when body carries high",
    "blast radius 2 recipient per run, 3 recipient per day for each workspace",
    "blast radius 1 recipient per minute",
    "rate 2 per minute for each body",
    'deny when principal.tier == "iron"',
    "deny when after look within 3 minutes",
    "require fresh: not (after look with no pay since)",
    "deny when some one in to satisfies (not trusted(one)) and trusted(body)",
    'deny when note is present and note == "x"',
]
PAY = [
    "ask boss when amount > 5",
    "ask lead",
    'deny when amount > 8 because "much"',
    "rate 6 per hour for each user counting attempts",
    "deny when calls to mail > 1",
    "rate 2 per minute for each amount",
]
ACROSS = [
    "rule leave: deny any tool that is external when after reading high",
    "rule written: ask lead before any tool that is external when after reading middle",
    "shadow rule maybe: deny any tool when after look",
    "order first: look then pay",
    'order both same what: look where (what != "b") then look',
    "budget money: 9 per day for each workspace of amount over pay",
    "budget bytes: 3 bytes per run of size(body) over mail otherwise halt",
    "rule often: deny any tool that needs send when calls to any tool that needs send within this run >= 2",
    "rule traced: deny pay when amount comes from look",
    "rule chatty: audit full for any tool",
]
ROWS = [
    [{"who": "eve@x.example", "n": 3}],
    [{"who": "T-1"}],
    "write to eve@x.example",
    {"who": "bob@x.example"},
]
TOOLS = ("look", "mail", "pay", "gone")


def policy(random: Random) -> str:
    """Return a policy; what is wrong in a pool never stands in one."""

    def some(pool: list[str], most: int = 4) -> str:
        return "\n  ".join(random.sample(pool, random.randint(0, most)))

    return f"""{HEAD}
agent main {{
  holds look_up, send, spend
  {some(AGENT, 2)}
}}
tool look {{
  needs look_up
  takes what: text
  allow when what != "no"
  result is low otherwise
  {some(LOOK)}
}}
tool mail {{
  needs send
  takes to: list of text, body: text, note: text optional
  touches to as recipient
  allow when size(to) < 4
  {some(MAIL)}
}}
tool pay is "bank/pay" {{
  needs spend
  takes amount: integer
  allow when amount > 0
  {some(PAY, 3)}
}}
{chr(10).join(random.sample(ACROSS, random.randint(0, 4)))}
"""


@dataclass(frozen=True)
class Step:
    """One step of a history: what a test says, and what the host does."""

    kind: str
    tool: str = ""
    arguments: Any = None
    result: Any = None
    words: str = ""


def history(random: Random) -> list[Step]:
    steps: list[Step] = []
    for _ in range(random.randint(3, 14)):
        kind = random.choices(["call", "ran", "wait", "new run", "prompt"], [8, 8, 3, 1, 2])[0]
        if kind in ("call", "ran"):
            tool = random.choices(TOOLS, [5, 6, 4, 1])[0]
            result = random.choice(ROWS) if kind == "ran" else None
            steps.append(Step(kind, tool, _arguments(random, tool), result))
        elif kind == "wait":
            steps.append(
                Step(kind, words=random.choice(["20 seconds", "1 minute", "6 minutes", "2 hours", "1 day"]))
            )
        else:
            steps.append(Step(kind, words=random.choice(["mail eve@x.example", "pay 3", "x"])))
    return steps


def _arguments(random: Random, tool: str) -> dict[str, Any]:
    match tool:
        case "look":
            return {"what": random.choice(["a", "b", "c", "no", "longer", "T-1"])}
        case "mail":
            people = ["ann@x.example", "eve@x.example", "bob@x.example", "T-1", "a"]
            made: dict[str, Any] = {
                "to": random.sample(people, random.choice([0, 1, 1, 2, 3])),
                "body": random.choice(["a", "b", "T-1"]),
            }
            return made | random.choice([{}, {}, {"note": "x"}, {"note": "y"}, {"other": 1}])
        case "pay":
            return {"amount": random.choice([0, 1, 3, 6, 9, "3"])}
    return {}


TRUSTED = ("a", "ann@x.example", "T-1")
BROKEN = "eve@x.example"
"""What the function fails for; a test gives no answer then."""
WORDS = ("a", "b", "c", "longer", "no", "T-1", "ann@x.example", "bob@x.example")
SIGNERS = {"lead": "dana", "boss": "olga"}


def words() -> ModuleType:
    """Return the plugin of the policies."""
    module = ModuleType("words")

    def trusted(word: str) -> bool:
        if word == BROKEN:
            raise LookupError("nobody knows")
        return word in TRUSTED

    def hide(text: str) -> str:
        return hidden(text)

    module.trusted = policy_function()(trusted)  # type: ignore[attr-defined]
    module.hide = redactor("hide")(hide)  # type: ignore[attr-defined]
    return module


def hidden(word: str) -> str:
    return "b" if word == "c" else word


Told = tuple[str, frozenset[tuple[str, str]], frozenset[tuple[str, str]], tuple[str, ...], str | None]


def told(event: CallDecided) -> Told:
    """Return what came of one decision."""

    def names(reasons: Any) -> frozenset[tuple[str, str]]:
        return frozenset((reason["name"], reason["effect"]) for reason in reasons)

    return event.verdict, names(event.reasons), names(event.shadow), event.asks, event.label


class Host:
    """Takes a history through a guard, and writes down as a test what came of it."""

    def __init__(self, text: str) -> None:
        self.clock = FakeClock(T0)
        self.guard = make_guard(text, clock=self.clock, plugins=(words(),))
        self.lines: list[str] = []
        self.decisions: list[Told] = []
        self.run: Run | None = None

    def begun(self) -> Run:
        if self.run is None:
            who = Principal(user="alice", workspace="w1", tier="gold")
            self.run = self.guard.begin_run(principal=who, agent="main", session="s")
        return self.run

    def take(self, step: Step) -> None:
        match step.kind:
            case "prompt":
                self.guard.record(self.begun(), PromptGiven("user", step.words))
                self.lines.append(f'prompt "{step.words}"')
            case "wait":
                self.begun()
                count, unit = step.words.split()
                self.clock.advance(int(count) * SECONDS[unit.removesuffix("s")])
                self.lines.append(f"wait {step.words}")
            case "new run":
                if self.run is not None:
                    self.guard.end_run(self.run)
                    self.run = None
                self.lines.append("new run")
            case _:
                self._call(step)

    def _call(self, step: Step) -> None:
        run = self.begun()
        bound = "bank/pay" if step.tool == "pay" else step.tool
        made = ToolCall(bound, step.arguments)
        said = ", ".join(f"{name}: {json.dumps(value)}" for name, value in step.arguments.items())
        written, seen = f"{step.tool}({said})", len(events_of(self.guard, run))
        try:
            self.guard.execute(run, made, lambda _: step.result, wait=False)
            what = "ran"
        except PendingError as pending:
            what = self._sign(run, made, step, pending.tickets)
        except (DeniedError, RunHaltedError):
            what = "refused"
        decided = [e for e in events_of(self.guard, run)[seen:] if isinstance(e, CallDecided)]
        self.decisions += map(told, decided)
        match what:
            case "ran" if step.kind == "ran":
                self.lines.append(f"ran {written} returning {_literal(step.result)} signed by lead, boss")
            case "ran":
                self.lines.append(f"call {written} is allowed")
            case "asked":
                self.lines.append(f"call {written} asks {decided[-1].asks[0]}")
            case _ if not decided:
                self.lines.append(f"call {written} is {'not found' if step.tool == 'gone' else 'denied'}")
            case _ if decided[-1].verdict == "unknown":
                self.lines.append(f"call {written} is not found")
            case _:
                names = [reason["name"] for reason in decided[-1].reasons if reason["effect"] != "allow"]
                by = (
                    f"{step.tool}.arguments"
                    if f"{step.tool}.arguments" in names
                    else names[0].partition("!")[0]
                )
                self.lines.append(f"call {written} is denied by {by}")

    def _sign(self, run: Run, made: ToolCall, step: Step, tickets: tuple[str, ...]) -> str:
        if step.kind == "call":
            (key,) = [e.call for e in events_of(self.guard, run) if isinstance(e, CallRequested)][-1:]
            self.guard.withdraw(run, key, because="nobody waits")
            return "asked"
        for id in tickets:
            ticket = self.guard.opening.submit(self.guard.opening.ready.tickets.get(id)).result()
            assert ticket is not None
            self.guard.approve(id, by=SIGNERS[ticket.approver])
        self.guard.execute(run, made, lambda _: step.result, wait=False)
        return "ran"


SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_literal(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)


def given(text: str) -> list[str]:
    """Return what the plugin answers, as a test says it."""
    lines = [f'given trusted("{word}") gives {str(word in TRUSTED).lower()}' for word in WORDS]
    if "with hide" not in text:
        return lines
    return lines + [f'given hide("{word}") gives "{hidden(word)}"' for word in WORDS if hidden(word) != word]


def rehearsed(text: str, lines: list[str]) -> list[Told]:
    """Return the decisions of a policy test, all of which passes."""
    who = 'as agent main, user "alice", workspace "w1", tier "gold"'
    lines = [step for line in lines for step in ([line, who] if line == "new run" else [line])]
    at = 'at "2027-01-15 08:00 Europe/London"'  # this is T0
    body = "\n".join(["", 'test "t" {', who, at, *given(text), *lines, "}", ""])
    loaded = load_text(text + body)
    assert loaded.plan is not None, "".join(map(drawn, loaded.diagnostics))
    decisions: list[Told] = []
    with pytest.MonkeyPatch.context() as patch:

        def noting(state: State, stamped: Stamped) -> None:
            if isinstance(stamped.event, CallDecided):
                decisions.append(told(stamped.event))
            apply(state, stamped)

        patch.setattr(rehearsal, "apply", noting)
        result = rehearse(loaded.plan, loaded.tests[0])
    assert result.passed, (result.failure, decisions[-1:], text + body)
    return decisions


def both_ways(seed: int) -> None:
    random = Random(seed)
    text, steps = policy(random), history(random)
    host = Host(text)
    try:
        for step in steps:
            host.take(step)
    finally:
        host.guard.close()
    decisions = rehearsed(text, host.lines)
    for here, there in zip(host.decisions, decisions, strict=True):
        assert here == there, (here, there, text, host.lines)


@settings(max_examples=40)
@given_seed(st.integers(0, 2**32))
def test_a_test_decides_as_the_guard_did(seed: int) -> None:
    both_ways(seed)
