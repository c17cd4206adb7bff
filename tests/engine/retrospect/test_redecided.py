"""Generated sessions under generated policies, decided again: what diverges is what the naive model says.

One recorded argument is altered (its body hashed anew), or one number of one rule; a naive evaluator without
state or fold decides every call of the altered log, and the first that comes out otherwise is where the
replay must stop, with both decisions side by side.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.events import CallDecided, CallRequested, RunStarted, Stamped
from ringfence.engine.retrospect.backtest import backtest
from ringfence.engine.retrospect.record import RunRecord
from ringfence.engine.retrospect.replay import Divergence
from tests.backtests import VERDICTS, Log, row_of
from tests.logs import entries_of
from tests.naive import naive
from tests.sessions import WORDS
from tests.texts import Author, TextSession, Written

STEPS = 40
SEEDS = range(5_000, 5_060)
POLICIES = range(6_000, 6_060)
"""Sessions to try other policies on."""


class Kept(TextSession):
    """A session whose runs are kept apart, each going on from the one before it."""

    def __post_init__(self) -> None:
        self.runs: dict[str, list[Stamped]] = {}
        super().__post_init__()

    def begin(self) -> None:
        before = [*self.runs]
        super().begin()
        first = self.events[0]
        assert isinstance(first.event, RunStarted)
        if before:
            continues = ((before[-1], len(self.runs[before[-1]])),)
            self.events[0] = replace(first, event=replace(first.event, continues=continues))
        self.runs[f"r{len(before) + 1}"] = self.events


@dataclass
class Case:
    """A recorded session and its policy."""

    written: Written
    plan: Plan
    runs: dict[str, list[Stamped]]

    def record(self, run: str) -> RunRecord:
        entries = {name: entries_of(name, events) for name, events in self.runs.items()}
        return RunRecord.read(entries[run], others=lambda other: entries.get(other, ()))

    def log(self) -> Log:
        entries = {name: entries_of(name, events) for name, events in self.runs.items()}
        return Log(entries, [row_of(name, events) for name, events in self.runs.items()])

    def decided(self) -> Iterator[tuple[str, int, Stamped]]:
        """Every decision: its run, and its index there."""
        for name, events in self.runs.items():
            for index, stamped in enumerate(events):
                if isinstance(stamped.event, CallDecided):
                    yield name, index, stamped

    def naively(self, plan: Plan, name: str, index: int) -> dict[str, Any]:
        """One decision as the naive model makes it, from all that stands before it."""
        verdict, reasons, label = _naively(self.runs, plan, name, index)
        return {
            "verdict": VERDICTS[verdict],
            "reasons": reasons,
            "label": None if label is None else plan.levels[label],
        }

    def under(self, plan: Plan) -> "Case":
        """The same, with the labels that another policy gives the results: that one decides what was read."""
        runs = {name: [*events] for name, events in self.runs.items()}
        for name, index, stamped in self.decided():
            event = stamped.event
            assert isinstance(event, CallDecided)
            tool = plan.by_bound_name.get(request_of(runs[name][:index], event.call).tool)
            *_, label = _naively(runs, plan, name, index, labelled=True)
            if tool is None:
                label = len(plan.levels) - 1
            elif label is None and tool.labels:
                label = max(one.rank for one in tool.labels)
            said = None if label is None else plan.levels[label]
            runs[name][index] = replace(stamped, event=replace(event, label=said))
        return replace(self, runs=runs)


def _naively(
    runs: Mapping[str, Sequence[Stamped]], plan: Plan, name: str, index: int, *, labelled: bool = False
) -> tuple[int, set[str], int | None]:
    names = [*runs]
    earlier = [one for run in names[: names.index(name)] for one in runs[run]]
    past, stamped = runs[name][:index], runs[name][index]
    event = stamped.event
    assert isinstance(event, CallDecided)
    asked = request_of(past, event.call)
    facts = event.facts
    full = {one["budget"] for one in [*(facts["reserved"] or ()), *(facts["attempted"] or ())]}
    verdict, reasons, _, label = naive(
        plan, past, event.call, asked.tool, asked.arguments,
        approved=frozenset(facts["approved_by"]), full=frozenset(full), now_ns=stamped.at_ns,
        session=[*earlier, *past], answers=facts["answers"], labelled=labelled,
    )  # fmt: skip
    return verdict, reasons, label


def case(seed: int) -> Case:
    random = Random(seed)
    while (loaded := (written := Author(random).written()).load()).plan is None:
        pass
    session = Kept(random, loaded.plan)
    for _ in range(STEPS):
        key = session.step()
        if key is not None:
            session.decide(key)
    return Case(written, session.plan, session.runs)


def request_of(past: Sequence[Stamped], call: str) -> CallRequested:
    (asked,) = [e for one in past if isinstance(e := one.event, CallRequested) and e.call == call]
    return asked


def said(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the naive model tells too, of a decision as it is recorded."""
    return {
        "verdict": body["verdict"],
        "reasons": {one["name"] for one in body["reasons"]},
        "label": body["label"],
    }


def first_divergence(case: Case, plan: Plan) -> tuple[str, Divergence] | None:
    """Replay the runs in the order in which they began, up to the first that is not identical."""
    for name in case.runs:
        found = case.record(name).replay(plan).divergence
        if found is not None:
            return name, found
    return None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generated_session_replays_identically(seed: int) -> None:
    made = case(seed)
    assert first_divergence(made, made.plan) is None
    for name, index, stamped in made.decided():
        assert said_of(stamped) == made.naively(made.plan, name, index)


def altered(made: Case, random: Random) -> tuple[Case, str, str] | None:
    """Return the session with one argument of one decided call altered, and which call of which run."""
    asked = [
        (name, index, event)
        for name, events in made.runs.items()
        for index, one in enumerate(events)
        if isinstance(event := one.event, CallRequested)
        if any(isinstance(e := later.event, CallDecided) and e.call == event.call for later in events)
    ]
    if not asked:
        return None
    name, index, event = random.choice(asked)
    arguments = dict(event.arguments)
    which = random.choice([param for param in ("x", "y") if param in arguments] or ["x"])
    others: list[Any] = [*range(6)] if which == "x" else [*WORDS]
    arguments[which] = random.choice([value for value in others if value != arguments.get(which)])
    events = list(made.runs[name])
    events[index] = replace(events[index], event=replace(event, arguments=arguments))
    return replace(made, runs={**made.runs, name: events}), name, event.call


@pytest.mark.parametrize("seed", SEEDS)
def test_one_altered_argument_diverges_exactly_where_the_naive_model_says(seed: int) -> None:
    made = case(seed)
    changed = altered(made, Random(seed))
    if changed is None:
        assert not list(made.decided())
        return
    tampered, where, call = changed
    expected: tuple[str, int] | None = None
    for name, index, stamped in tampered.decided():
        event = stamped.event
        assert isinstance(event, CallDecided)
        wanted = tampered.naively(made.plan, name, index)
        if (name, event.call) == (where, call) or said_of(stamped) != wanted:
            expected = name, index
            break
    assert expected is not None
    name, found = first_divergence(tampered, made.plan) or pytest.fail("the altered argument was not seen")
    assert (name, found.seq - 1) == expected
    stamped = tampered.runs[name][found.seq - 1]
    assert isinstance(stamped.event, CallDecided) and found.call == stamped.event.call
    assert said(found.recorded) == said_of(stamped)
    assert said(found.recomputed) == tampered.naively(made.plan, *expected)
    if (name, found.call) == (where, call):
        assert "digest" in found.differs


_NUMBER = re.compile(r"(?<=[ \[])[0-5](?=[ \]),]|$)")


def with_another_number(written: Written, random: Random) -> Written | None:
    """Return the policy with one digit of one clause of a tool, or of a rule, changed: nothing moves."""
    places: list[tuple[int, int | None, re.Match[str]]] = []
    for number, block in enumerate(written.policy):
        if block.head.startswith("tool "):
            for at, clause in enumerate(block.clauses or ()):
                if not clause.startswith(("takes", "touches", "result at most")):
                    places += [(number, at, match) for match in _NUMBER.finditer(clause)]
        elif block.head.startswith(("rule ", "order ")):
            places += [(number, None, match) for match in _NUMBER.finditer(block.head)]
    if not places:
        return None
    number, where, match = random.choice(places)
    block = written.policy[number]
    text = block.head if where is None else (block.clauses or ())[where]
    digit = str((int(match[0]) + random.randint(1, 4)) % 6)
    text = text[: match.start()] + digit + text[match.end() :]
    if where is None:
        block = replace(block, head=text)
    else:
        clauses = list(block.clauses or ())
        clauses[where] = text
        block = replace(block, clauses=tuple(clauses))
    policy = (*written.policy[:number], block, *written.policy[number + 1 :])
    return replace(written, policy=policy)


def other_policies(made: Case, seed: int) -> Iterator[Plan]:
    """Yield the policy with one number changed, several times."""
    random, seen = Random(seed), {made.plan.digest}
    for _ in range(8):
        written = with_another_number(made.written, random)
        plan = None if written is None else written.load().plan
        if plan is not None and plan.digest not in seen:
            seen.add(plan.digest)
            yield plan


@pytest.mark.parametrize("part", range(4))
def test_one_altered_rule_diverges_and_changes_exactly_what_the_naive_model_says(part: int) -> None:
    diverged = changes = 0
    for seed in POLICIES[part::4]:
        made = case(seed)
        log, decided = made.log(), [*made.decided()]
        for plan in other_policies(made, seed):
            other = made.under(plan)
            wanted = {(name, index): other.naively(plan, name, index) for name, index, _ in decided}
            differing = [(name, index) for name, index, one in decided if said_of(one) != wanted[name, index]]
            diverged += diverges(made, plan, wanted, differing)
            found = backtest(log.rows, log.read_all, plan)
            assert not found.not_decided and found.decisions == len(decided)
            moved = {
                (one.run, one.change.seq - 1): (one.change.recorded, one.change.verdict)
                for one in found.changes
                if one.change.recorded != one.change.verdict  # else other people are asked
            }
            verdicts = {
                (name, index): (said_of(one)["verdict"], wanted[name, index]["verdict"])
                for name, index, one in decided
                if said_of(one)["verdict"] != wanted[name, index]["verdict"]
            }
            assert moved == verdicts, seed
            changes += len(moved)
    assert diverged >= 2 and changes >= 4


def diverges(
    made: Case, plan: Plan, wanted: Mapping[tuple[str, int], Any], differing: Sequence[tuple[str, int]]
) -> bool:
    """Compare where the replay under another policy stops with where the naive model differs first."""
    found = first_divergence(made, plan)
    if found is None:
        assert not differing
        return False
    at = found[0], found[1].seq - 1
    recorded, recomputed = said(found[1].recorded), said(found[1].recomputed)
    assert recorded == said_of(made.runs[at[0]][at[1]])
    if "engine!error" in recomputed["reasons"]:
        # The policy reserves where the recorded one did not: such a fact is not in the record.
        assert found[1].recorded["facts"]["reserved"] is None and recomputed["verdict"] == "deny"
    elif differing and at == differing[0]:
        assert recomputed == wanted[at]
        return True
    else:  # the same is decided for the same reasons, and is told, charged or redacted otherwise
        order = [*wanted]
        assert not differing or order.index(at) < order.index(differing[0])
        assert recorded == recomputed
        assert set(found[1].differs) <= {"reasons", "shadow", "charges", "asks", "arguments", "digest"}
    return False


def said_of(stamped: Stamped) -> dict[str, Any]:
    event = stamped.event
    assert isinstance(event, CallDecided)
    return said({"verdict": event.verdict, "reasons": event.reasons, "label": event.label})
