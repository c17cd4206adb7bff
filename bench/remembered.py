"""The same decision after 10 and after 10,000 earlier calls, under rules that ask history and labels."""

from collections.abc import Iterator

from bench.decisions import START_NS, decider_of
from bench.harness import Row, compared
from ringfence.dsl.load import load_text
from ringfence.dsl.plan import Json, Plan
from ringfence.engine.decision.calls import RESERVED, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.events import CallFinished, CallStarted, RunStarted, Stamped
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start

POLICY = """language 1
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
_FEW, _MANY = 10, 10_000


def rows() -> Iterator[Row]:
    """Measure both, taking turns."""
    plan = load_text(POLICY, "history.fence").plan
    if plan is None:
        raise RuntimeError("the policy of the bench does not load")
    mail = ToolCall("mail", {"table": "users", "body": "a summary of the last week, as asked"})
    deciders = [
        decider_of(plan, _after(plan, earlier), START_NS + _MANY * 2_000) for earlier in (_FEW, _MANY)
    ]
    for one in deciders:
        if not one(mail).allowed:
            raise RuntimeError("the workload is wrong: the call is not allowed")
    few, many = compared(deciders, [mail] * 5_000, rounds=5)
    yield Row(f"decision by history, {_FEW:,} earlier calls, p50", few.p50_ns / 1000, "us")
    yield Row(f"decision by history, {_MANY:,} earlier calls, p50", many.p50_ns / 1000, "us")
    yield Row(f"the same, {_MANY:,} earlier calls against {_FEW:,}", many.p50_ns / few.p50_ns, "x", 1.5)


def _after(plan: Plan, earlier: int) -> State:
    """Return the state of a run after so many calls: half read, half mailed."""
    began = RunStarted(
        session="s", session_head=None, agent="main", principal={"user": "alice", "workspace": "w1"},
        capabilities=("read_data", "send"), policy=plan.policy, policy_digest=plan.digest, policy_text="",
        mode="enforce", framework="python", external_id=None, resume_of=None, parent=None,
    )  # fmt: skip
    state, seq = start(plan, Stamped(1, START_NS, began)), 1
    for number in range(earlier):
        key, at_ns = f"k{number}.0", START_NS + number * 1_000
        arguments: dict[str, Json] = {"table": "users", "limit": 10}
        if number % 2:
            arguments = {"table": "users", "body": "hello"}
        call = ToolCall("mail" if number % 2 else "query", arguments)
        made = decide(plan, state, call, RESERVED, now_ns=at_ns)
        if not made.allowed:
            raise RuntimeError("the workload is wrong: an earlier call is not allowed")
        events = (
            requested(key, call),
            decided(key, call, made, RESERVED, levels=plan.levels),
            CallStarted(key),
            CallFinished(key, "a row", None, 1),
        )
        for event in events:
            seq += 1
            apply(state, Stamped(seq, at_ns, event))
    return state
