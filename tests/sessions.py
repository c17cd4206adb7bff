"""Random plans, and random sessions under them: what a guard would record, without a guard.

Everything comes from one `Random`, so a seed says the whole case.  Conditions are made of atoms that a test
can break one by one: see `Broken`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ringfence.dsl.plan import (
    Budget,
    Clause,
    Condition,
    Happening,
    Json,
    LabelClause,
    Origin,
    Plan,
    Question,
    Scope,
    ToolPlan,
    Truth,
    Verdict,
    Watch,
)
from ringfence.engine.decision.calls import Decision, Facts, Refusal, ToolCall
from ringfence.engine.decision.decide import assess, conclude
from ringfence.engine.decision.events import (
    BudgetRefunded,
    CallFailed,
    CallFinished,
    CallStarted,
    PromptGiven,
    RunEnded,
    RunEvent,
    RunHalted,
    RunStarted,
    Stamped,
)
from ringfence.engine.decision.records import decided, requested
from ringfence.engine.decision.state import State, apply, start
from tests.plans import PLACE, SECOND_NS, T0, approver, clause, parameter, plan, run_started, tool

LEVELS = ("low", "mid", "high")
TOOLS = ("read", "send", "note")
WORDS = ("ann@x.example", "bob@x.example", "alpha", "beta", "4711")
ORIGINS = (
    Origin("user"),
    Origin("system"),
    Origin("tool", "read"),
    Origin("field", "read", ("mail",)),
    Origin("tool", "note"),
)
ANSWERS: list[Json] = [["gave", True], ["gave", False], ["failed", "timeout"]]
APPROVERS = (approver("lead"), approver("boss", never_requester=False))


class Broken:
    """Which atoms of a plan are undecided, or raise; atoms are numbered as they are made."""

    def __init__(self) -> None:
        self.atoms = 0
        self.how: dict[int, str] = {}

    def atom(self, condition: Condition) -> Condition:
        """Make an atom, total as the compiler's are."""
        number = self.atoms
        self.atoms += 1

        def total(scope: Scope) -> Truth:
            how = self.how.get(number)
            try:
                if how == "raises":
                    raise RuntimeError
                return None if how is not None else condition(scope)
            except Exception:
                return None

        return total

    def amount(self, given: Callable[[Scope], Json]) -> Callable[[Scope], Json]:
        """Make an amount: what cannot be told raises."""
        number = self.atoms
        self.atoms += 1

        def told(scope: Scope) -> Json:
            if number in self.how:
                raise RuntimeError
            return given(scope)

        return told


class Maker:
    """Makes one random plan."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.broken = Broken()
        self.watches: dict[str, Watch] = {}
        for key in random.sample(["w0", "w1", "w2", "w3"], random.randint(1, 3)):
            self.watches[key] = self._watch(key)

    def plan(self) -> Plan:
        """Return the plan."""
        random = self.random

        def most() -> int | None:
            return random.choice([None, None, None, 9, 3])

        return plan(
            *(self._tool(name) for name in TOOLS),
            stop_ns=random.choice([None, None, 60 * SECOND_NS]),
            approvers=APPROVERS,
            levels=LEVELS,
            watches=self.watches,
            traces=True,
            calls=most(),
            denials=most(),
            requests=most(),
        )

    def _some(self, make: Callable[[], Any], most: int) -> list[Any]:
        return [make() for _ in range(self.random.choice([0, 0, *range(1, most + 1)]))]

    def _tool(self, name: str) -> ToolPlan:
        def clauses(effect: str, most: int) -> list[Clause]:
            return self._some(lambda: self._clause(effect), most)

        return tool(
            name,
            takes=[parameter("x", kind="integer"), parameter("y", optional=True)],
            denies=clauses("deny", 2),
            asks=clauses("ask", 1),
            allows=clauses("allow", 2) or [clause("always", "allow")],
            budgets=[*self._budgets(name)],
            labels=self._labels(name),
            remembers=True,
        )

    def _clause(self, effect: str) -> Clause:
        who = self.random.choice(APPROVERS).name if effect == "ask" else None
        return clause(f"{effect}{self.random.randint(0, 99)}", effect, self.condition(2), approver=who)

    def _budgets(self, name: str) -> Iterator[Budget]:
        random = self.random
        for number in range(random.choice([0, 0, 1, 2])):
            kind = random.choice(["calls", "distinct", "amount"])
            amount = self.broken.amount(lambda scope: scope.arguments["x"] / 2 - (scope.arguments["x"] == 5))
            scope = random.choice(["run", "run", "user", "y"])
            counting = random.choice(["calls", "calls", "attempts", "successes"])
            yield Budget(
                id=f"{name}/{number}",
                reason=f"{name}.b{number}",
                limit=random.choice([1, 2, 3, 5]),
                period_ns=random.choice([None, 4 * SECOND_NS]),
                scope="run" if counting == "attempts" and scope == "y" else scope,
                halts=random.random() < 0.1,
                place=PLACE,
                kind=kind,  # type: ignore[arg-type]
                counting=counting,  # type: ignore[arg-type]
                resources=("y",) if kind == "distinct" else (),
                amount=amount if kind == "amount" else None,
                scale=random.choice([1, 10]) if kind == "amount" else 1,
            )

    def _labels(self, name: str) -> tuple[LabelClause, ...]:
        random = self.random
        if name == "note" or random.random() < 0.2:
            return ()
        said = [
            LabelClause(random.randrange(3), self.condition(1), False, random.choice([None, "c"]))
            for _ in range(random.randint(0, 2))
        ]
        return (*said, LabelClause(random.randrange(3), None, True, None))

    def _watch(self, key: str) -> Watch:
        random = self.random
        kind = random.choice(["after", "since", "calls", "order"])
        steps = {"after": 1, "calls": 1, "since": 2, "order": random.randint(1, 2)}[kind]
        plain = kind in ("order", "calls")
        return Watch(
            key,
            kind,  # type: ignore[arg-type]
            tuple(self._happening(plain) for _ in range(steps)),
            random.choice([None, None, 3 * SECOND_NS]) if kind != "order" else None,
            kind != "order" and random.random() < 0.3,
            random.choice([None, "y"]) if kind == "order" else None,
        )

    def _happening(self, plain: bool) -> Happening:
        random = self.random
        if not plain and random.random() < 0.3:
            return Happening({}, random.randrange(3))
        tools = random.sample(TOOLS, random.choice([1, 1, 2]))
        return Happening({name: random.choice([None, self._table()]) for name in tools})

    # ---- conditions ------------------------------------------------------------------------------------

    def condition(self, depth: int) -> Condition:
        """Return a condition of atoms, `and`, `or` and `not` by Kleene's tables."""
        random = self.random
        kind = random.choice(["atom", "atom", "not", "and", "or"]) if depth else "atom"
        if kind == "atom":
            return self.broken.atom(self._atom())
        one = self.condition(depth - 1)
        if kind == "not":
            return lambda scope: None if (truth := one(scope)) is None else not truth
        other = self.condition(depth - 1)
        least = kind == "and"

        def both(scope: Scope) -> Truth:
            truths = (one(scope), other(scope))
            decisive = not least
            return decisive if decisive in truths else None if None in truths else least

        return both

    def _table(self) -> Condition:
        truths = self.random.choices([True, True, False, None], k=6)
        return self.broken.atom(lambda scope: truths[scope.arguments["x"]])

    def _atom(self) -> Condition:
        random = self.random
        watched = [*self.watches.values()]
        kind = random.choice(["table", "watch", "watch", "watch", "carries", "from", "from", "asks"])
        if kind == "asks":
            return lambda scope: bool(scope.ask(Question("f", (scope.arguments["x"],))))
        if kind == "carries":
            rank = random.randrange(3)
            return lambda scope: scope.memory.carries(rank)  # type: ignore[union-attr]
        if kind == "from":
            return self._from()
        if kind == "table" or not watched:
            return self._table()
        watch, number = random.choice(watched), random.randint(1, 3)
        if watch.kind == "calls":
            return lambda scope: at_least(scope, watch.key, number)
        if watch.kind == "order":
            return lambda scope: scope.memory.ordered(watch.key, scope.arguments.get("y"))  # type: ignore[union-attr]
        return lambda scope: scope.memory.after(watch.key, now_ns=scope.now_ns)  # type: ignore[union-attr]

    def _from(self) -> Condition:
        made = self.random.choice(ORIGINS)
        source = Origin(made.kind, made.tool, made.path, only=self.random.random() < 0.5)
        return lambda scope: scope.memory.comes_from(scope.arguments["y"], source)  # type: ignore[union-attr]


def at_least(scope: Scope, watch: str, number: int) -> Truth:
    """Compare an interval."""
    assert scope.memory is not None
    least, most = scope.memory.counted(watch, now_ns=scope.now_ns)
    return True if least >= number else None if most is None or most >= number else False


@dataclass
class Session:
    """A session under way: its runs follow one another."""

    random: Random
    plan: Plan
    now_ns: int = T0
    events: list[Stamped] = field(default_factory=list)
    """Of the run that is on."""
    earlier: list[Stamped] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    numbers: int = 0
    answers: dict[str, Json] = field(default_factory=dict)
    """What the plugin's function `f` gives, or that it failed."""

    def __post_init__(self) -> None:
        for x in range(6):
            if self.random.random() < 0.9:
                self.answers[Question("f", (x,)).key] = self.random.choice(ANSWERS)
        self.begin()

    def begin(self) -> None:
        """Begin the session's first run, or its next."""
        began = run_started(self.plan, at_ns=self.now_ns)
        recall = None if not self.events else self.state.recall.fork(child=False)
        self.earlier += self.events
        self.state: State = start(self.plan, began, recall)
        self.events, self.keys = [began], []

    def record(self, event: RunEvent) -> None:
        """Record and fold."""
        stamped = Stamped(len(self.events) + 1, self.now_ns, event)
        self.events.append(stamped)
        apply(self.state, stamped)

    def call(self) -> ToolCall:
        """Return a call that a model might make."""
        random = self.random
        arguments: dict[str, Json] = {"x": random.randint(0, 5)}
        if random.random() < 0.8:
            arguments["y"] = random.choice(WORDS) if random.random() < 0.8 else "alpha beta"
        return ToolCall(random.choice(TOOLS), arguments)

    def asked(
        self, key: str, state: State | None = None, *, of: Plan | None = None
    ) -> tuple[Decision, Facts, frozenset[str]]:
        """Decide a call as it stands; the ledger refuses by the call's own number."""
        call, number = self.calls[key], len(self.events)
        approved = {"lead": ("bob",)} if number % 3 == 0 else {}
        plan, state = of or self.plan, state or self.state
        made = assess(
            plan, state, call, Facts(approved_by=approved, answers=self.answers), now_ns=self.now_ns, key=key
        )
        full = {c.budget for c in (*made.wider, *made.attempts) if number % 4 == 0}
        attempted = tuple(Refusal(c.budget, c.key, None) for c in made.attempts if c.budget in full)
        reserve = made.verdict >= Verdict.ASK and not attempted
        reserved = tuple(Refusal(c.budget, c.key, None) for c in made.wider if c.budget in full)
        facts = Facts(reserved if reserve else None, approved, self.answers, attempted)
        return conclude(made, facts), facts, frozenset(full)

    def request(self) -> str:
        """Record a request for a new call and return its key."""
        self.numbers += 1
        key, call = f"k{self.numbers}.0", self.call()
        self.keys.append(key)
        self.calls[key] = call
        self.record(requested(key, call))
        return key

    def decide(self, key: str) -> None:
        """Decide and record."""
        decision, facts, _ = self.asked(key)
        self.record(decided(key, self.calls[key], decision, facts, levels=self.plan.levels))
        if decision.halt:
            self.record(RunHalted(decision.halt.name, None, None))

    def step(self) -> str | None:
        """Let something happen; return the key of a call that is to be decided now."""
        random = self.random
        self.now_ns += random.choice([0, 0, 1, 2]) * SECOND_NS
        what = random.choice(
            ["call"] * 5 + ["start"] * 5 + ["end"] * 5 + ["again", "refund", "prompt", "run"]
        )
        if what == "call":
            return self.request()
        if what == "prompt":
            source = random.choice(["user", "user", "system", "host"] if random.random() < 0.3 else ["user"])
            self.record(PromptGiven(source, f"Say, {random.choice(WORDS)} and ({random.choice(WORDS)})."))
        elif what == "run" and random.random() < 0.4:
            if random.random() < 0.7:
                self.record(RunEnded("done", None))
            self.begin()
        elif self.keys:
            return self._go_on(what, random.choice(self.keys[-3:]))
        return None

    def _go_on(self, what: str, key: str) -> str | None:
        known = self.state.calls[key]
        if what == "again" and known.verdict is Verdict.ASK:
            return key
        if what == "start" and known.takes_place and known.started_ns is None:
            self.record(CallStarted(key))
        elif what == "refund" and known.started_ns is None:
            self.record(BudgetRefunded(key, "withdrawn"))
        elif what == "end" and known.in_flight:
            if self.random.random() < 0.2:
                self.record(CallFailed(key, "raised", "ValueError", 1))
            else:
                self.record(CallFinished(key, self._result(), None, 1))
        return None

    def _result(self) -> Json:
        random = self.random
        one, other = random.choice(WORDS), random.choice(WORDS)
        return random.choice(
            [f"see {one}, or {other}!", [{"mail": one, "text": f"by {other}"}], {"mail": [one]}, 7]
        )


def folded(of: Plan, events: list[Stamped]) -> State:
    """Fold the runs of a session again; the state of the last."""
    state: State | None = None
    for stamped in events:
        if isinstance(stamped.event, RunStarted):
            state = start(of, stamped, None if state is None else state.recall.fork(child=False))
        else:
            assert state is not None
            apply(state, stamped)
    assert state is not None
    return state
