"""What another policy would have said to many recorded runs, and which of its clauses they exercised.

Each run is decided again by itself (see `ringfence.engine.retrospect.whatif`), in as many processes as one
likes: what comes out is put together in the order of the runs and is the same.  What came in a session after
its first changed decision is counted apart: the session would have gone another way from there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ringfence.dsl.plan import Plan
from ringfence.engine.retrospect.coverage import Coverage, Reachable
from ringfence.engine.retrospect.replay import Unreplayable
from ringfence.engine.retrospect.shares import Made, Reads, Tried, shares_of, tried
from ringfence.engine.retrospect.whatif import Change, Rule
from ringfence.engine.seams.ports import RunRow

Done = Callable[[int], None]
"""Is told how many more runs are done."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One decision of one run that comes out otherwise."""

    run: str
    change: Change
    comparable: bool
    """False: it came after another change in its session, and might not have come at all."""


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """The changed decisions that rest on one rule; a decision that rests on several is with each of them."""

    rule: Rule
    words: str | None
    """The line of the policy at which the rule stands, from its place on; None: it stands in none."""
    changed: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class NotDecided:
    """A run that cannot be decided again."""

    run: str
    because: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """A decision that cannot be made again, since its arguments are not in the record."""

    run: str
    decision: Unreplayable


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of deciding recorded runs by another policy."""

    policy: str
    digest: str
    runs: int
    """All that were looked at, those that cannot be decided again included."""
    decisions: int
    comparable: int
    """Of the decisions, those that no change of their session came before."""
    changes: tuple[Changed, ...]
    """By run, the one that began first ahead, and then by event."""
    clauses: int
    """How many clauses the policy has; those of ceilings are left out."""
    unreached: tuple[Reachable, ...]
    """Those that no decision reached, by place."""
    not_decided: tuple[NotDecided, ...] = ()
    not_replayable: tuple[Withheld, ...] = ()
    rules: tuple[RuleChanges, ...] = ()
    """The changes once more, by rule; the rule with most of them first."""

    @property
    def moves(self) -> dict[tuple[str, str], int]:
        """How many decisions went from which verdict to which; the most frequent first."""
        counted: dict[tuple[str, str], int] = {}
        for one in self.changes:
            move = one.change.recorded, one.change.verdict
            counted[move] = counted.get(move, 0) + 1
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def chosen(rows: Sequence[RunRow], *, since_ns: int | None, agent: str | None) -> list[RunRow]:
    """Return the rows of a backtest, of rows newest first: the run that began first ahead.

    A row whose beginning is no number was not written by a guard: it is kept, and its run looked at.
    """
    return [
        row
        for row in reversed(rows)
        if agent in (None, row.agent)
        if since_ns is None or not isinstance(row.started_ns, int) or row.started_ns >= since_ns
    ]


def backtest(
    rows: Iterable[RunRow], read: Reads, plan: Plan, *, processes: int = 1, each: Done | None = None
) -> Backtest:
    """Decide the calls of many runs by another policy; the store is only read, nothing is executed.

    Args:
        rows: The runs, in the order in which they began.
        read: Returns the entries of each of several runs; it is called in this thread alone.
        processes: In how many processes; a plan without `files` is decided by in this one alone.
        each: Called whenever some more runs are done.

    Raises:
        EngineError: A process that decided died.
    """
    found = list(rows)
    coverage = Coverage(plan)
    shares = shares_of([row.run for row in found], [row.session for row in found], read, plan)
    every: dict[str, Tried] = {}
    reached: set[Reachable] = set()
    for done in tried(shares, plan, processes=processes):
        every |= {run.run: run for run in done.runs}
        reached |= done.reached
        if each is not None:
            each(len(done.runs))
    runs = [(row.session, every[row.run]) for row in found]
    turned = _turned(runs)
    comparable = 0
    changes: list[Changed] = []
    for session, run, one, moment in _moments(runs):
        before = moment <= turned.get(session, moment)
        comparable += before
        if one.change is not None:
            changes.append(Changed(run.run, one.change, before))
    return Backtest(
        plan.policy,
        plan.digest,
        len(runs),
        sum(len(run.decided) for _, run in runs),
        comparable,
        tuple(changes),
        len(coverage.all),
        tuple(sorted(coverage.all - reached)),
        tuple(NotDecided(run.run, run.problem) for _, run in runs if run.problem is not None),
        tuple(Withheld(run.run, one) for _, run in runs for one in run.not_replayable),
        _by_rule(changes, plan),
    )


_Moment = tuple[int, int, int]
"""When a decision was made, the place of its run in the order in which they began, and its event."""


def _moments(runs: Sequence[tuple[str, Tried]]) -> Iterator[tuple[str, Tried, Made, _Moment]]:
    """Yield every decision with its session and its run."""
    for number, (session, run) in enumerate(runs):
        for one in run.decided:
            yield session, run, one, (one.at_ns, number, one.seq)


def _turned(runs: Sequence[tuple[str, Tried]]) -> dict[str, _Moment]:
    """Return the first change of each session that has one."""
    turned: dict[str, _Moment] = {}
    for session, _, one, moment in _moments(runs):
        if one.change is not None:
            turned[session] = min(moment, turned.get(session, moment))
    return turned


def _by_rule(changes: Sequence[Changed], plan: Plan) -> tuple[RuleChanges, ...]:
    grouped: dict[Rule, list[Changed]] = {}
    for one in changes:
        for rule in dict.fromkeys(one.change.rules):
            grouped.setdefault(rule, []).append(one)
    texts = {file.name: file.text.split("\n") for file in plan.files}
    found = [RuleChanges(rule, _words(rule, texts), tuple(its)) for rule, its in grouped.items()]
    return tuple(sorted(found, key=lambda one: (-len(one.changed), str(one.rule), one.rule.because or "")))


def _words(rule: Rule, texts: dict[str, list[str]]) -> str | None:
    """Return the line of the policy at which a rule stands, from there on."""
    file, line, column = [*(rule.place or "").rsplit(":", 2), "", ""][:3]
    if not (file in texts and line.isdecimal() and column.isdecimal()):
        return None
    return texts[file][int(line) - 1][int(column) - 1 :].strip() or None
