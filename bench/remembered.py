"""The same decision with little and with much behind it: earlier calls, and remembered text."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from bench.decisions import START_NS, decider_of
from bench.harness import Row, compared
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Origin, Plan
from ringfence.engine.decision.calls import RESERVED, Decision, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import (
    CallFinished,
    CallStarted,
    PromptGiven,
    RunEvent,
    RunStarted,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start

HISTORY = """language 1
policy history
levels public < internal < secret
capability read_data is read
capability send is external
agent main { holds read_data, send  stop after 10 hours }
tool query {
  needs read_data
  takes table: text, limit: integer
  allow when limit >= 1 and limit <= 1000
  result is internal
  rate 1000000 per hour for each workspace
}
tool mail {
  needs send
  takes table: text, body: text
  allow when not after reading secret
  deny when body carries secret
  rate 1000000 per hour for each workspace
  rate 1000000 per run
}
rule drip: deny mail when calls to query where (table == "users") within 1 hour > 100000
rule stale: deny mail when after query within 10 minutes with no mail since and table == "payments"
order asked same table: query then mail
"""
TRACED = """language 1
policy traced
capability read_data is read
capability send is external
agent main { holds read_data, send  stop after 10 hours }
tool query { needs read_data  takes table: text, limit: integer  allow always }
tool mail {
  needs send
  takes to: text, body: text
  allow always
  require known: to comes only from [user, query]
}
"""
_FEW, _MANY = 10, 10_000
_LITTLE, _MUCH = 10_000, 8_000_000
"""Characters of text; a session keeps 8 MiB, an eighth of it for what the user types."""
_ROW = "user{number}@acme.example ordered {number} crates of apples on a Monday, paid in advance. "
_BEGIN_NS = START_NS + _MANY * 2_000
_BODY: dict[str, Json] = {"body": "a summary of the last week, as asked"}


def rows() -> Iterator[Row]:
    """Measure each pair, taking turns."""
    of = _plan(HISTORY)
    call = ToolCall("mail", {"table": "users", **_BODY})
    pair = [(_after(of, earlier, "table"), call) for earlier in (_FEW, _MANY)]
    yield from _compared(
        of, pair, [f"decision by history, {earlier:,} earlier calls" for earlier in (_FEW, _MANY)]
    )
    of = _plan(TRACED)
    call = ToolCall("mail", {"to": "user7@acme.example", **_BODY})
    pair = [(_after(of, earlier, "to"), call) for earlier in (_FEW, _MANY)]
    names = [f"decision by provenance, {earlier:,} earlier calls" for earlier in (_FEW, _MANY)]
    yield from _compared(of, pair, names)
    remembered = [(size, *_shown(of, size)) for size in (_LITTLE, _MUCH)]
    for size, state, _ in remembered:
        began = time.thread_time_ns()
        state.recall.comes_from("nobody@acme.example", Origin("tool", "query"))
        taken = (time.thread_time_ns() - began) / 1e6
        yield Row(f"first question of provenance, {size:,} bytes remembered", taken, "ms")
    for what in ("found", "not found"):
        pair = [
            (state, ToolCall("mail", {"to": last if what == "found" else "nobody@acme.example", **_BODY}))
            for _, state, last in remembered
        ]
        names = [f"provenance {what}, {size:,} bytes remembered" for size, *_ in remembered]
        yield from _compared(of, pair, names, allowed=what == "found")


def _compared(
    of: Plan, pair: list[tuple[State, ToolCall]], names: list[str], *, allowed: bool = True
) -> Iterator[Row]:
    works = []
    for state, call in pair:
        decide = decider_of(of, state, _BEGIN_NS)
        if decide(call).allowed is not allowed:
            raise RuntimeError(f"the workload is wrong: {decide(call).reasons}")
        works.append(partial(_each, decide, call))
    taken = compared(works, range(5_000), rounds=5)
    for name, one in zip(names, taken, strict=True):
        yield Row(f"{name}, p50", one.p50_ns / 1000, "us")
    few, many = (one.p50_ns for one in taken)
    what, _, size = names[0].partition(", ")
    yield Row(f"{what}, many {size.partition(' ')[2]} against few", many / few, "x", 1.5)


def _each(decide: Callable[[ToolCall], Decision], call: ToolCall, _: int) -> None:
    decide(call)


def _plan(text: str) -> Plan:
    loaded = load_text(text, "remembered.fence")
    if loaded.plan is None:
        raise RuntimeError("\n".join(f"{found.code} {found.message}" for found in loaded.diagnostics[:5]))
    return loaded.plan


class _Past:
    """A run whose events are folded as they are made up."""

    def __init__(self, plan: Plan) -> None:
        began = RunStarted(
            session="s", session_head=None, agent="main", principal={"user": "alice", "workspace": "w1"},
            capabilities=("read_data", "send"), policy=plan.policy, policy_digest=plan.digest, policy_text="",
            mode="enforce", framework="python", external_id=None, resume_of=None, parent=None,
        )  # fmt: skip
        self.plan, self.state, self.seq = plan, start(plan, Stamped(1, START_NS, began)), 1
        self.record(PromptGiven("user", "Mail user7@acme.example a summary of the last week."))

    def record(self, *events: RunEvent) -> None:
        for event in events:
            self.seq += 1
            apply(self.state, Stamped(self.seq, START_NS + self.seq * 100, event))

    def call(self, call: ToolCall, result: Json) -> None:
        """Let a call be made, and succeed."""
        key = f"k{self.seq}.0"
        made = decide(self.plan, self.state, call, RESERVED, now_ns=self.state.latest_ns)
        if not made.allowed:
            raise RuntimeError("the workload is wrong: an earlier call is not allowed")
        self.record(requested(key, call))
        self.record(decided(key, call, made, RESERVED, levels=self.plan.levels))
        self.record(CallStarted(key), CallFinished(key, result, None, 1))


def _after(plan: Plan, earlier: int, named: str) -> State:
    """Return the state of a run after so many calls: half read, half mailed."""
    past = _Past(plan)
    for number in range(earlier):
        arguments: dict[str, Json] = {"table": "users", "limit": 10}
        if number % 2:
            arguments = {named: "users" if named == "table" else "user7@acme.example", "body": "hello"}
        past.call(
            ToolCall("mail" if number % 2 else "query", arguments), [{"mail": f"u{number}@acme.example"}]
        )
    return past.state


def _shown(plan: Plan, characters: int) -> tuple[State, str]:
    """Return the state of a run in which so much text was shown or typed, and an address in its last row."""
    past, number, shown = _Past(plan), 0, 0
    while shown < characters:
        rows: list[str] = []
        while sum(map(len, rows)) < min(characters - shown, 60_000):
            number += 1
            rows.append(_ROW.format(number=number))
        shown += sum(map(len, rows))
        if shown < characters / 10:
            past.record(PromptGiven("user", "".join(rows)))
        else:
            past.call(ToolCall("query", {"table": "users", "limit": 10}), "".join(rows))
    if past.state.recall.overflow:
        raise RuntimeError("the workload is wrong: more was shown than is kept")
    return past.state, f"user{number}@acme.example"
