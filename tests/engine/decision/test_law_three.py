"""Law 3 on the closures that policies compile to: replace any atoms by what cannot be decided, in any
clause of any tool; no verdict becomes more permissive, in whatever order parts and clauses stand.
"""

from random import Random
from typing import Any

from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.plan import Plan, Verdict
from ringfence.engine.decision.calls import Facts, ToolCall
from ringfence.engine.decision.decide import decide
from ringfence.engine.decision.state import start
from tests.plans import T0, approver, clause, plan, run_started, tool

CASES = 20_000
NAMES = [f"a{n}" for n in range(8)]
LISTS = ["xs", "ys"]
BROKEN: list[Any] = [None, 7, "no", {"a": 1}, []]
"""What no atom below can decide; an absent value is the sixth."""

Core = list[Any]


def atom(random: Random, variables: list[str]) -> Core:
    name = random.choice(NAMES)
    if variables and random.random() < 0.5:
        return random.choice(
            [["true?", ["var", random.choice(variables)]], ["in", ["var", variables[0]], ["arg", "ys"]]]
        )
    return random.choice(
        [
            ["true?", ["arg", name]],
            ["true?", ["principal", name]],
            ["<", ["arg", "n"], ["const", random.randint(0, 9)]],
            [">=", ["arg", "n"], ["const", random.randint(0, 9)]],
            ["matches", ["arg", "t"], random.choice(["a*", "b+"])],
            ["starts with", ["arg", "t"], ["const", random.choice(["a", "b"])]],
            ["==", ["lower", ["arg", "t"]], ["const", random.choice(["aa", "b"])]],
            ["<", ["count", ["arg", "xs"]], ["const", random.randint(0, 3)]],
            ["true"],
            ["false"],
        ]
    )


def condition_of(random: Random, depth: int, variables: list[str]) -> Core:
    kind = random.choice(["atom", "and", "or", "not", "every", "some"]) if depth else "atom"
    if kind == "atom":
        return atom(random, variables)
    if kind == "not":
        return ["not", condition_of(random, depth - 1, variables)]
    if kind in ("every", "some"):
        name = f"v{depth}"
        return [
            kind,
            name,
            ["arg", random.choice(LISTS)],
            condition_of(random, depth - 1, [name, *variables]),
        ]
    return [kind, *(condition_of(random, depth - 1, variables) for _ in range(random.randint(2, 3)))]


def shuffled(random: Random, core: Core) -> Core:
    """The same condition with the parts of every `and` and `or` in another order."""
    if core[0] not in ("and", "or", "not"):
        return [*core[:3], shuffled(random, core[3])] if core[0] in ("every", "some") else core
    parts = [shuffled(random, part) for part in core[1:]]
    random.shuffle(parts)
    return [core[0], *parts]


def plan_of(cores: list[tuple[str, Core, str]]) -> Plan:
    made = [
        clause(f"{effect}{n}", effect, bounded(core), approver=who if effect == "ask" else None)
        for n, (effect, core, who) in enumerate(cores)
    ]
    by = {effect: [one for one in made if one.effect == effect] for effect in ("deny", "ask", "allow")}
    one = tool("t", takes=None, denies=by["deny"], asks=by["ask"], allows=by["allow"])
    return plan(one, approvers=[approver("lead"), approver("boss")])


def verdict_of(of: Plan, arguments: dict[str, Any], principal: dict[str, Any], facts: Facts) -> Verdict:
    state = start(of, run_started(of))
    state.principal = principal  # as the fold leaves it: what was not said, or does not fit, is absent
    return decide(of, state, ToolCall("t", arguments), facts, now_ns=T0).verdict


def test_no_atom_that_cannot_be_decided_makes_a_verdict_more_permissive() -> None:
    random = Random(20261122)
    seen: dict[tuple[Verdict, Verdict], int] = {}
    for _ in range(CASES // 4):
        effects = ["allow", *random.choices(["deny", "ask", "allow"], k=random.randint(0, 3))]
        cores = [
            (effect, condition_of(random, random.randint(0, 3), []), random.choice(["lead", "boss"]))
            for effect in effects
        ]
        facts = Facts((), random.choice([{}, {"lead": ("bob",)}]))
        of = plan_of(cores)
        turned = plan_of(random.sample([(e, shuffled(random, c), w) for e, c, w in cores], len(cores)))
        for _ in range(4):
            said = {name: random.random() < 0.5 for name in NAMES}
            whole: dict[str, Any] = {
                **{name: random.random() < 0.5 for name in NAMES},
                "n": random.randint(0, 9),
                "t": random.choice(["a", "AA", "b", "ba"]),
                **{name: [random.random() < 0.5 for _ in range(random.randint(0, 3))] for name in LISTS},
            }
            broken, unsaid = dict(whole), dict(said)
            for name in random.sample([*whole], random.randint(1, 4)):
                if name in LISTS or random.random() < 0.5:
                    del broken[name]
                else:
                    wrong = [value for value in BROKEN if name != "n" or value != 7]
                    broken[name] = random.choice([value for value in wrong if name != "t" or value != "no"])
            for name in random.sample(NAMES, 2):
                del unsaid[name]
            before = verdict_of(of, whole, said, facts)
            after = verdict_of(of, broken, unsaid, facts)
            assert after <= before, (cores, whole, broken)
            assert verdict_of(turned, whole, said, facts) is before, (cores, whole)
            assert verdict_of(turned, broken, unsaid, facts) is after, (cores, broken)
            seen[before, after] = seen.get((before, after), 0) + 1
    # The property is about something: verdicts of every kind, fallen and unchanged.
    for pair in (
        (Verdict.ALLOW, Verdict.ALLOW),
        (Verdict.ALLOW, Verdict.ASK),
        (Verdict.ALLOW, Verdict.DENY),
        (Verdict.ASK, Verdict.ASK),
        (Verdict.ASK, Verdict.DENY),
        (Verdict.DENY, Verdict.DENY),
    ):
        assert seen[pair] > 20, seen
