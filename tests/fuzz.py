"""The laws on random plans and sessions: `python -m tests.fuzz --cases 1000000`, or `make fuzz`.

A case is one call, decided twice after one history: as the plan stands, and with some atoms undecided,
raising or unanswered (law 3), with its clauses in another order, or with a clause or a layer more.  No
verdict may become more permissive, and another order may change nothing.
"""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from random import Random, SystemRandom
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from ringfence.dsl.plan import Plan, ToolPlan, Verdict
from ringfence.engine.decision.calls import Decision, Facts, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.state import State
from tests.plans import budget, clause
from tests.sessions import Maker, Session, folded

T = TypeVar("T")
STEPS = 24
BREAKS = 8
CALLS = 6
A_CASE = BREAKS * CALLS
"""How many cases of law 3 one session gives; the other laws are checked beside them."""

Counts = dict[tuple[Verdict, Verdict], int]
"""(before, after) -> how often."""


def session_of(random: Random) -> tuple[Maker, Session]:
    """Return a session with some history."""
    maker = Maker(random)
    session = Session(random, maker.plan())
    for _ in range(STEPS):
        key = session.step()
        if key is not None:
            session.decide(key)
    return maker, session


def decided(of: Plan, state: State, call: ToolCall, facts: Facts, now_ns: int) -> Decision:
    """Decide; the ledger has room."""
    return conclude(assess(of, state, call, facts, now_ns=now_ns), facts)


def cases(seed: int) -> Counts:
    """Check the cases of one seed; raise AssertionError for a verdict that became more permissive."""
    random = Random(seed)
    maker, session = session_of(random)
    of, events, now_ns = session.plan, [*session.earlier, *session.events], session.now_ns
    calls = [session.call() for _ in range(CALLS)]
    facts = Facts((), random.choice([{}, {"lead": ("bob",)}]), session.answers, ())
    whole = [decided(of, session.state, call, facts, now_ns) for call in calls]
    seen: Counts = {}

    def narrower(other: Plan, answers: Facts, what: str) -> None:
        state = folded(other, events)
        for before, call in zip(whole, calls, strict=True):
            after = decided(other, state, call, answers, now_ns)
            assert after.verdict <= before.verdict, (seed, what, call, before, after)
            if before.label is not None and after.verdict >= Verdict.ASK:
                assert after.label is not None and after.label >= before.label, (seed, what, call)
            pair = (before.verdict, after.verdict)
            seen[pair] = seen.get(pair, 0) + 1

    for _ in range(BREAKS):
        some = random.sample(range(maker.broken.atoms), min(random.randint(1, 4), maker.broken.atoms))
        maker.broken.how = {number: random.choice(["undecided", "raises"]) for number in some}
        fewer = {key: answer for key, answer in session.answers.items() if random.random() < 0.8}
        narrower(of, replace(facts, answers=fewer), f"broken: {maker.broken.how}")
        maker.broken.how = {}
    more = changed(of, lambda tool: narrowed(tool, maker, random))
    narrower(more, facts, "a clause more")
    turned = changed(of, lambda tool: shuffled(tool, random))
    state = folded(turned, events)
    for before, call in zip(whole, calls, strict=True):
        after = decided(turned, state, call, facts, now_ns)
        assert (after.verdict, after.label, set(after.asks)) == (
            before.verdict,
            before.label,
            set(before.asks),
        ), (seed, "another order", call)
        assert {r.name for r in after.reasons} == {r.name for r in before.reasons}, (seed, call)
        seen[before.verdict, after.verdict] = seen.get((before.verdict, after.verdict), 0) + 1
    return seen


def changed(of: Plan, change: Callable[[ToolPlan], ToolPlan]) -> Plan:
    """Return the plan with every tool changed."""
    tools = {name: change(tool) for name, tool in of.tools.items()}
    return replace(of, tools=tools, by_bound_name=tools)


def narrowed(tool: ToolPlan, maker: Maker, random: Random) -> ToolPlan:
    """Return the tool with one more deny, ask or budget, of the policy or of a ceiling."""
    layer = random.choice([None, "ceiling"])
    kind = random.choice(["deny", "ask", "budget"])
    if kind == "budget":
        one = budget("more.rate", random.randint(0, 3))
        return replace(tool, budgets=(*tool.budgets, replace(one, layer=layer)))
    who = "lead" if kind == "ask" else None
    made = replace(clause("more", kind, maker.condition(1), approver=who), layer=layer)
    if kind == "ask":
        return replace(tool, asks=(made, *tool.asks))
    return replace(tool, denies=(made, *tool.denies))


def shuffled(tool: ToolPlan, random: Random) -> ToolPlan:
    """Return the tool with its clauses in another order."""

    def turned(clauses: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(random.sample(clauses, len(clauses)))

    return replace(
        tool,
        denies=turned(tool.denies),
        asks=turned(tool.asks),
        allows=turned(tool.allows),
        budgets=turned(tool.budgets),
        labels=turned(tool.labels),
    )


def _batch(seeds: range) -> Counts:
    total: Counts = {}
    for seed in seeds:
        for pair, times in cases(seed).items():
            total[pair] = total.get(pair, 0) + times
    return total


def main() -> int:
    """Run the cases on all cores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="the first; chosen by chance if not said")
    chosen = parser.parse_args()
    first = SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    sessions = -(-chosen.cases // A_CASE)
    print(f"seed {first}: {sessions * A_CASE:,} cases in {sessions:,} sessions", file=sys.stderr)
    batches = [range(at, min(at + 50, first + sessions)) for at in range(first, first + sessions, 50)]
    total: Counts = {}
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for counts in track(
            pool.map(_batch, batches), "cases", total=len(batches), console=Console(stderr=True)
        ):
            for pair, times in counts.items():
                total[pair] = total.get(pair, 0) + times
    for (before, after), times in sorted(total.items()):
        print(f"{before!s:>7} -> {after!s:<7} {times:>12,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
