"""Random policies as texts, for the real parser, checks and compiler; and sessions under them.

All tools take the same parameters, so that any condition fits any of them.  The parameter `note` stands in no
condition: it alone is redacted, and what is decided of the other values does not depend on it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from ringfence.dsl.compile import closures, tools
from ringfence.dsl.load import Loaded, load_text
from ringfence.dsl.plan import Condition, Json, Plan, Question, Scope, Truth
from ringfence.engine.decision.calls import ToolCall
from tests.sessions import ANSWERS, LEVELS, WORDS, Session

TOOLS = ("read", "send", "note", "keep")
NAME, CEILINGS = "random.fence", ("one.fence", "other.fence")
PLACES = ("policy", *CEILINGS)
REDACT = "redact pii"
_TRAITS = {"look": "read", "talk": "external, write", "hold": "write"}
_NEEDS = {"read": "look", "send": "talk", "note": "hold", "keep": None}
_TAKES = "takes x: integer, y: text, zs: list of text at most 4, note: text at most 1 KB, more: text optional"
_SHARED = f"levels {' < '.join(LEVELS)}"
_LEAD = 'approver lead { group "leads" never the requester answer within 15 minutes otherwise deny }'
_SETS = ('set few = ["ann@x.example", "alpha", "4711"]', 'set names = ["bob@x.example", "beta"]')


@dataclass(frozen=True)
class Block:
    """A declaration: its head, and its clauses if it has a body."""

    head: str
    clauses: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.head if self.clauses is None else "\n  ".join([f"{self.head} {{", *self.clauses]) + "\n}"


@dataclass(frozen=True)
class Written:
    """A policy and the ceilings over it, as blocks."""

    policy: tuple[Block, ...]
    ceilings: Mapping[str, tuple[Block, ...]]
    used: tuple[Block, ...] = ()
    """Blocks of the policy that stand in a file it uses."""

    def text(self) -> str:
        """Return the policy's own text."""
        head = 'use "part.fence"\n' if self.used else ""
        return "language 1\npolicy random\n" + head + "\n".join(map(str, self.policy)) + "\n"

    def load(self) -> Loaded:
        """Load it, under its ceilings in their order."""
        files = {
            name: f"language 1\nceiling {name.partition('.')[0]}\n" + "\n".join(map(str, blocks)) + "\n"
            for name, blocks in self.ceilings.items()
        }
        files["part.fence"] = "language 1\n" + "\n".join(map(str, self.used)) + "\n"
        return load_text(
            self.text(), NAME, ceilings=[*self.ceilings], read=lambda name: files[name.rpartition("/")[2]]
        )

    def shuffled(self, random: Random) -> "Written":
        """Return the same with declarations, clauses and ceilings in another order, some in a used file."""

        def turned(blocks: tuple[Block, ...]) -> list[Block]:
            return [
                block if block.clauses is None else replace(block, clauses=_turned(block.clauses, random))
                for block in _turned(blocks, random)
            ]

        return self._arranged(turned, random)

    def moved(self, random: Random) -> "Written":
        """Return the same with all declarations in another order but those across tools."""

        def turned(blocks: tuple[Block, ...]) -> list[Block]:
            spoken = [block for block in blocks if _ACROSS.match(block.head)]
            return [*_turned(tuple(block for block in blocks if block not in spoken), random), *spoken]

        return self._arranged(turned, random)

    def _arranged(self, turned: Callable[[tuple[Block, ...]], list[Block]], random: Random) -> "Written":
        policy = turned((*self.policy, *self.used))
        plain = sum(not _ACROSS.match(block.head) for block in policy)
        split = random.choice([0, 0, random.randint(0, plain)])
        ceilings = {
            name: tuple(turned(self.ceilings[name])) for name in _turned(tuple(self.ceilings), random)
        }
        return Written(tuple(policy[split:]), ceilings, tuple(policy[:split]))


_ACROSS = re.compile("(?:shadow )?rule |order |budget ")


def _turned(parts: tuple[Any, ...], random: Random) -> tuple[Any, ...]:
    return tuple(random.sample(parts, len(parts)))


class Author:
    """Writes one random policy."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = 0

    def written(self) -> Written:
        """Return a policy, under no, one or two ceilings."""
        random = self.random
        few = random.sample(CEILINGS, random.choice([0, 0, 1, 1, 2]))
        blocks = [
            Block(_SHARED),
            *(Block(f"capability {name} is {traits}") for name, traits in _TRAITS.items()),
            *map(Block, _SETS),
            Block("pattern word = /[a-z]+/"),
            Block('calendar hours = monday to friday 08:00 to 18:00 in "Europe/London"'),
            Block('function known(x: integer) gives boolean from "plug"'),
            Block(_LEAD),
            Block('approver boss { group "bosses" answer within 1 hours otherwise ask lead }'),
            Block("agent main", self._agent()),
            *(self._tool(name) for name in TOOLS),
            *(self.rule() for _ in range(random.choice([0, 0, 1, 2]))),
            *(self._order() for _ in range(random.choice([0, 0, 1]))),
            *(self.budget() for _ in range(random.choice([0, 0, 1]))),
        ]
        return Written(tuple(blocks), {name: self.ceiling() for name in few})

    def ceiling(self) -> tuple[Block, ...]:
        """Return the blocks of a ceiling; it may leave out what it does not name."""
        random = self.random
        blocks = [Block(_SHARED), Block(_LEAD), *map(Block, _SETS), Block("pattern word = /[a-z]+/")]
        blocks.append(Block('calendar hours = monday to friday 08:00 to 18:00 in "Europe/London"'))
        blocks.append(Block('function known(x: integer) gives boolean from "plug"'))
        blocks += [Block(f"capability {n} is {t}") for n, t in _TRAITS.items() if random.random() < 0.6]
        if not any(block.head.startswith("capability talk") for block in blocks):
            blocks.append(Block(f"capability talk is {_TRAITS['talk']}"))
        blocks += [self.rule(ceiling=True) for _ in range(random.choice([1, 1, 2]))]
        if random.random() < 0.3:
            blocks.append(self.budget())
        if random.random() < 0.3:
            narrowing = random.choice([self._deny(), self._require(), self._rate(), "ask lead"])
            blocks.append(Block(f"tool {random.choice(TOOLS)}", (narrowing,)))
        return tuple(blocks)

    def more(self, written: Written) -> tuple[str, Written]:
        """Return the same policy with one thing more that narrows, and what that is."""
        random = self.random
        kind = random.choice(["clause", "clause", "rule", "budget", "ceiling"])
        if kind == "ceiling":
            missing = [name for name in CEILINGS if name not in written.ceilings]
            if missing:
                ceilings = {missing[0]: self.ceiling(), **written.ceilings}
                return kind, replace(written, ceilings=ceilings)
            kind = "rule"
        if kind in ("rule", "budget"):
            block = self.rule() if kind == "rule" else self.budget()
            return str(block), replace(written, policy=(*written.policy, block))
        name = random.choice(TOOLS)
        makers: list[Callable[[], str]] = [self._deny, self._require, self._ask, self._rate, self._blast]
        clause = random.choice([*(make() for make in makers), "redact note with pii"])
        policy = tuple(
            replace(block, clauses=(*(block.clauses or ()), clause))
            if block.head == f"tool {name}"
            else block
            for block in written.policy
        )
        return f"{name}: {clause}", replace(written, policy=policy)

    # ---- declarations ----------------------------------------------------------------------------------

    def _named(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def _agent(self) -> tuple[str, ...]:
        random = self.random
        limits = [
            "stop after 60 seconds",
            "at most 12 calls",
            "at most 9 denials",
            "at most 3 approval requests",
        ]
        holds = "look, talk, hold" if random.random() < 0.9 else "look, talk"
        return (f"holds {holds}", *(limit for limit in limits if random.random() < 0.25))

    def _tool(self, name: str) -> Block:
        random = self.random
        needs = _NEEDS[name]
        clauses = [*([f"needs {needs}"] if needs else []), _TAKES, "touches y as account, zs as recipient"]
        for make in (self._deny, self._require, self._ask, self._rate, self._blast):
            clauses += [
                make() for _ in range(random.choice([0, 0, 0, 1, 2] if make == self._deny else [0, 0, 1]))
            ]
        if random.random() < 0.6:
            clauses.append("allow always")
        else:
            clauses += [f"allow when {self.condition(2)}" for _ in range(random.choice([1, 1, 2]))]
        if name != "note" and (name == "read" or random.random() < 0.5):
            ranked = random.choice([[], [f"result is {random.choice(LEVELS)} when {self.condition(1)}"]])
            clauses += [*ranked, f"result is {random.choice(LEVELS)} otherwise"]
        if random.random() < 0.2:
            clauses.append("redact note with pii")
        if random.random() < 0.2:
            clauses.append(f"audit {random.choice(['minimal', 'full'])}")
        if random.random() < 0.2:
            clauses.append(f"result at most {random.randint(1, 9)} KB")
        return Block(f"tool {name}", tuple(clauses))

    def rule(self, *, ceiling: bool = False) -> Block:
        """Return a rule across tools."""
        random = self.random
        targets = ["any tool", "any tool that is external", "any tool that is write"]
        targets += [] if ceiling else ["send", "read, send", "any tool that needs hold"]
        target = random.choice([*targets, "any tool that needs talk"])
        effect = random.choice(
            [
                f"deny {target}",
                f"ask lead before {target}",
                f"audit full for {target}",
                f"redact note with pii for {target}",
            ]
        )
        shadow = "shadow " if random.random() < 0.1 else ""
        unless = f" unless {self.condition(0)}" if random.random() < 0.2 else ""
        return Block(f"{shadow}rule {self._named('r')}: {effect} when {self.condition(2)}{unless}")

    def _order(self) -> Block:
        same = self.random.choice(["", " same y"])
        first, second = (self.event(plain=True) for _ in range(2))
        steps = self.random.choice([first, f"{first} then {second}"])
        return Block(f"order {self._named('o')}{same}: {steps} then {self.random.choice(TOOLS)}")

    def budget(self) -> Block:
        """Return a budget across tools."""
        random = self.random
        what = random.choice(
            [f"{random.randint(3, 30)} per day{{}} of x", "40 bytes per minute{} of size(y)"]
        )
        each = random.choice(["", " for each user", " for each workspace", " for each session"])
        target = random.choice(["send", "read, send", "any tool"])
        return Block(f"budget {self._named('b')}: {what.format(each)} over {target}")

    # ---- clauses ---------------------------------------------------------------------------------------

    def _deny(self) -> str:
        named = self.random.choice(["", f"{self._named('d')}: "])
        return f"deny {named}when {self.condition(2)}"

    def _require(self) -> str:
        named = self.random.choice(["", f"{self._named('q')}: "])
        return f"require {named}{self.condition(2)}"

    def _ask(self) -> str:
        return f"ask {self.random.choice(['lead', 'boss'])} when {self.condition(2)}"

    def _rate(self) -> str:
        random = self.random
        period = random.choice(["run", "second", "minute"])
        each = random.choice(["run", "user", "session", "tool", "y", "workspace"])
        counting = random.choice(["", "", " counting successes", " counting attempts"])
        if counting == " counting attempts":
            each = random.choice(["run", "user", "session"])
        per = "run" if period == "run" else f"{period} for each {each}"
        halt = random.choice(["", "", "", "", " otherwise halt"])
        return f"rate {random.choice([1, 2, 3, 5])} per {per}{counting}{halt}"

    def _blast(self) -> str:
        random = self.random
        noun, period = random.choice(["account", "recipient"]), random.choice(["run", "day"])
        return f"blast radius {random.choice([1, 2, 3])} {noun} per {period}"

    # ---- conditions ------------------------------------------------------------------------------------

    def condition(self, depth: int) -> str:
        """Return a condition."""
        kind = self.random.choice(["atom", "atom", "not", "and", "or"]) if depth else "atom"
        if kind == "atom":
            return self._atom()
        one = self.condition(depth - 1)
        return f"(not ({one}))" if kind == "not" else f"(({one}) {kind} ({self.condition(depth - 1)}))"

    def _atom(self) -> str:
        random = self.random
        kind = random.choice(
            [self._plain, self._plain, self._quantified, self._past, self._past, self._past, self._source]
        )
        return kind()

    def _plain(self) -> str:
        random, x = self.random, self.random.randint(0, 5)
        return random.choice(
            [
                f"x {random.choice(['<', '<=', '>', '>=', '==', '!='])} {x}",
                f"x in [{x}, {(x + 2) % 6}]",
                f"x >= {x % 3} and x <= {x % 3 + 2}",
                f"y {random.choice(['in', 'not in'])} few",
                "y matches word",
                f'y {random.choice(["starts with", "ends with", "contains"])} "{random.choice("abe")}"',
                f'lower(y) == "{random.choice(WORDS)}"',
                f"size(y) > {random.randint(3, 9)} bytes",
                f"size(zs) < {random.randint(1, 3)}",
                "known(x)",
                "known(x) and x < 5",
                'principal.workspace == "w1"',
                'principal.user == "bob"',
                "during hours",
                "zs contains y",
                "more is missing",
                f"more is present and {random.choice(['more in few', 'more == y', 'more comes from user'])}",
                "more is missing or size(more) < 6 bytes",
            ]
        )

    def _quantified(self) -> str:
        body = self.random.choice(["z in few", "z == y", "z matches word", "z in names or known(x)"])
        return f"{self.random.choice(['every', 'some'])} z in zs satisfies ({body})"

    def event(self, *, plain: bool = False) -> str:
        """Return what history is asked for."""
        random = self.random
        if not plain and random.random() < 0.25:
            return f"reading {random.choice(LEVELS[1:])}"
        name = random.choice([*TOOLS, "any tool that needs talk"])
        where = ["x > 2", "y in few", "y matches word", "x == 1 or x == 2", 'principal.user == "alice"']
        return f"{name} where ({random.choice(where)})" if random.random() < 0.4 else name

    def _extent(self) -> str:
        return self.random.choice(["", "", " within 3 seconds", " within this run"])

    def _past(self) -> str:
        random = self.random
        sign = random.choice(["<", "<=", ">", ">=", "==", "!="])
        return random.choice(
            [
                f"after {self.event()}{self._extent()}",
                f"after {self.event()}{self._extent()} with no {self.event()} since",
                f"calls to {self.event(plain=True)}{self._extent()} {sign} {random.randint(1, 3)}",
                f"{random.choice(['y', 'zs'])} carries {random.choice(LEVELS[1:])}",
            ]
        )

    def _source(self) -> str:
        random = self.random
        sources = ["user", "system", "model", "read", "note", "read.mail", "few", "names"]
        some = random.sample(sources, random.randint(1, 3))
        comes = random.choice(["comes from", "comes only from"])
        return f"{random.choice(['y', 'zs'])} {comes} [{', '.join(some)}]"


# ---- atoms that can be broken ------------------------------------------------------------------------------


class Absent:
    """In the place of a scope: whatever is asked of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@dataclass
class Atoms:
    """The atoms of a compiled policy, numbered as they are made, and which of them are broken how."""

    made: int = 0
    how: dict[int, str] = field(default_factory=dict)

    def atom(self, condition: Condition) -> Condition:
        """Return the closure, that is undecided or is shown nothing but exceptions while it is broken."""
        number = self.made
        self.made += 1

        def breakable(scope: Scope) -> Truth:
            how = self.how.get(number)
            if how is None:
                return condition(scope)
            return None if how == "undecided" else condition(Absent())  # type: ignore[arg-type]

        return breakable

    @contextmanager
    def numbered(self) -> Iterator[None]:
        """Make what is compiled here breakable."""
        before, negated, between = dict(closures._CONDITIONS), dict(closures._NEGATED), closures._between
        certain = vars(tools)["certain"]

        def wrapped(make: Callable[[Json], Condition | None]) -> Callable[[Json], Any]:
            def made(core: Json) -> Condition | None:
                condition = make(core)
                return None if condition is None else self.atom(condition)

            return made

        def every(core: Json) -> Condition:
            made = before["every"](core)
            return made if closures._all_among(core) is None else self.atom(made)

        try:
            closures._CONDITIONS.update(
                {kind: wrapped(make) for kind, make in before.items() if kind not in _MADE_OF_PARTS}
            )
            closures._CONDITIONS["every"] = every
            closures._NEGATED.update({kind: wrapped(make) for kind, make in negated.items() if kind != "and"})
            closures._between = lambda core, *, inside: (
                None if (made := between(core, inside=inside)) is None else self.atom(made)
            )
            # What passes at once is decided without the closures, so none of them could be broken there.
            vars(tools)["certain"] = None
            yield
        finally:
            closures._CONDITIONS.update(before)
            closures._NEGATED.update(negated)
            closures._between = between
            vars(tools)["certain"] = certain


_MADE_OF_PARTS = ("true", "false", "not", "and", "or", "every", "some")


def compiled(written: Written) -> tuple[Plan | None, Atoms]:
    """Load it and compile every tool at once, with atoms that can be broken; None: it has an error."""
    atoms = Atoms()
    with atoms.numbered():
        plan = written.load().plan
        if plan is not None:
            for name in plan.tools:
                atoms.made = _amounts(plan, name, atoms)
    return plan, atoms


def _amounts(plan: Plan, name: str, atoms: Atoms) -> int:
    """Make the amounts of a tool's budgets breakable: they raise."""
    made = plan.tools[name]
    for budget in made.budgets:
        if budget.amount is not None:
            number, amount = atoms.made, budget.amount
            atoms.made += 1

            def told(scope: Scope, number: int = number, amount: Any = amount) -> Json:
                if number in atoms.how:
                    raise RuntimeError("broken")
                return amount(scope)

            object.__setattr__(budget, "amount", told)
    return atoms.made


class TextSession(Session):
    """A session under a plan that was made from text."""

    def __post_init__(self) -> None:
        random = self.random
        for x in range(6):
            if random.random() < 0.9:
                self.answers[Question("known", (x,)).key] = random.choice(ANSWERS)
        for word in WORDS:
            if random.random() < 0.95:
                given: list[Json] = [["gave", f"<{len(word)}>"]] * 5 + [["failed", "timeout"], ["gave", 7]]
                self.answers[Question(REDACT, (word,)).key] = random.choice(given)
        self.begin()

    def call(self) -> ToolCall:
        """Return a call that a model might make."""
        random = self.random
        arguments: dict[str, Json] = {
            "x": random.randint(0, 5),
            "y": random.choice(WORDS) if random.random() < 0.9 else "alpha beta",
            "zs": random.sample(WORDS, random.choice([0, 1, 1, 2, 3])),
            "note": random.choice(WORDS),
        }
        if random.random() < 0.5:
            arguments["more"] = random.choice(WORDS)
        if random.random() < 0.03:
            del arguments[random.choice([*arguments])]
        return ToolCall(random.choice(TOOLS) if random.random() < 0.97 else "drop", arguments)
