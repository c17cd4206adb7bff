"""`blast` is never exceeded: an agent that wants the most drives a guard, on generated policies."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.blast import blast
from ringfence.dsl.load import load_text
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import PendingError, RingfenceError, RunHaltedError
from ringfence.testing import FakeClock
from tests.guards import ALICE, make_guard

APPROVERS = {"lead": "dana", "boss": "olga"}


def policy(random: Random) -> str:
    """Return a policy of two tools that are bounded in some ways, or in none."""
    bounds = [
        f"stop after {random.randint(1, 5)} minutes",
        f"at most {random.randint(1, 12)} calls",
        f"at most {random.randint(1, 3)} approval requests",
    ]
    tools = []
    for index in range(2):
        clauses = [_rate(random) for _ in range(random.randint(0, 3))]
        clauses += random.choice([[], [], ["ask lead"], ["ask boss"]])
        tools.append(
            f"tool t{index} {{\n  needs send\n  takes x: text\n  allow always\n  "
            + "\n  ".join(clauses)
            + "\n}"
        )
    lead = f'group "leads" never the requester answer within {random.randint(1, 3)} minutes otherwise deny'
    return "\n".join(
        [
            "language 1",
            "policy driven",
            "capability send is external",
            f"approver lead {{ {lead} }}",
            'approver boss { group "owners" never the requester answer within 2 minutes otherwise ask lead }',
            f"agent main {{ holds send {' '.join(one for one in bounds if random.random() < 0.6)} }}",
            *tools,
        ]
    )


def _rate(random: Random) -> str:
    period = random.choice(["second", "minute", "hour", "run"])
    if random.random() < 0.3:
        key = "" if period == "run" else " for each user"
        return f"rate {random.randint(1, 4)} per {period}{key} counting attempts"
    key = random.choice(["", " for each x"] if period == "run" else ["", " for each user", " for each x"])
    return f"rate {random.randint(1, 4)} per {period}{key}{random.choice(['', ' counting successes'])}"


class Greedy:
    """Calls whatever it can, gets what is asked approved after a while, and lets time pass."""

    def __init__(self, guard: Guard, run: Run, clock: FakeClock, random: Random) -> None:
        self.guard, self.run, self.clock, self.random = guard, run, clock, random
        self.open: dict[str, ToolCall] = {}
        self.done: list[tuple[str, str]] = []

    def drive(self) -> None:
        for step in range(80):
            call = self._answered() if self.open and self.random.random() < 0.5 else None
            call = call or ToolCall(
                f"t{self.random.randrange(2)}", {"x": self.random.choice("ab")}, call_id=f"c{step}"
            )
            try:
                self.guard.execute(self.run, call, lambda _: 1, wait=False)
                self.done.append((call.tool, call.arguments["x"]))
            except PendingError as pending:
                self.open |= dict.fromkeys(pending.tickets, call)
            except RunHaltedError:
                return
            except RingfenceError:
                continue  # refused: another call may pass
            if self.random.random() < 0.4:
                self.clock.advance(self.random.choice([1, 1, 5, 20, 59, 60]))

    def _answered(self) -> ToolCall | None:
        id, call = self.open.popitem()
        self.clock.advance(self.random.choice([0, 30, 59, 60, 120]))
        ticket = self.guard.opening.submit(self.guard.opening.ready.tickets.get(id)).result()
        try:
            assert ticket is not None
            self.guard.approve(id, by=APPROVERS[ticket.approver])
        except RingfenceError:
            return None  # too late
        return call


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_no_run_has_more_calls_than_blast_says(seed: int) -> None:
    random, clock = Random(seed), FakeClock()
    text = policy(random)
    plan = load_text(text).plan
    assert plan is not None, text
    guard = make_guard(text, clock=clock)
    try:
        greedy = Greedy(guard, guard.begin_run(principal=ALICE, agent="main"), clock, random)
        greedy.drive()
    finally:
        guard.close()
    for row in blast(plan):
        calls = [x for tool, x in greedy.done if tool == row.tool]
        most = max(calls.count("a"), calls.count("b")) if row.per_run.key == "x" else len(calls)
        assert row.per_run.count is None or most <= row.per_run.count, (row, text)
