"""Law 3 at the level of conditions: an answer that is lost never turns a condition round.

Every condition is decided twice: with all answers, and with some of them lost (undecided, an exception, a
count that may be higher, an answer of a function that never came).  The second truth is the first one or
*undecided*.
"""
# ruff: noqa: E501  one kind of condition a line

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ringfence.dsl.compile.effort import bounded
from ringfence.dsl.plan import Json, Origin, Question, Scope, Truth

TEXTS = ("a", "b", "c")
USER: Json = ["user"]
WEB: Json = ["tool", "web"]
WATCHES: list[Json] = [["tools", ["tool", name]] for name in ("query", "web")]
VALUES: dict[str, Json] = {
    "one": "a",
    "many": ["a", "b"],
    "none": [],
    "n": 2,
    "r": {"x": "b", "xs": ["a", "c"]},
}

operands = st.sampled_from(
    [["arg", "one"], ["arg", "many"], ["arg", "none"], ["field", ["arg", "r"], ["x"]], ["field", ["arg", "r"], ["y"]],
     ["var", "v"], ["const", "c"]]
)  # fmt: skip
origins = st.lists(
    st.sampled_from(
        [USER, WEB, ["field", "web", ["x"]], ["set", ["a", "b"]], ["approver", "one"], ["model", "many"]]
    ),
    min_size=1,
    max_size=3,
)
counts = st.sampled_from([["calls", event, ["session"]] for event in WATCHES])
atoms = st.one_of(
    st.builds(lambda event: ["after", event, ["session"]], st.sampled_from([*WATCHES, ["reading", 1]])),
    st.builds(lambda one, other: ["since", one, ["run"], other], *[st.sampled_from(WATCHES)] * 2),
    st.builds(lambda event: ["ordered", "o", [event], None], st.sampled_from(WATCHES)),
    st.builds(lambda rank: ["carries", ["arg", "one"], rank], st.integers(0, 2)),
    st.builds(lambda word, value, of: [word, value, of], st.sampled_from(["comes_from", "comes_only_from"]), operands, origins),
    st.builds(
        lambda word, one, other: [word, one, other],
        st.sampled_from(["==", "<", "<=", ">", ">="]),
        counts,
        st.one_of(counts, st.builds(lambda n: ["const", n], st.integers(0, 3)), st.just(["arg", "n"])),
    ),
    st.builds(lambda value: ["true?", ["call", "f", [value], ["boolean", False, None, None]]], operands),
    st.just(["during", {"days": [0], "from": "08:00", "to": "18:00", "zone": "Europe/London"}]),
    st.sampled_from([["true?", ["arg", "one"]], ["==", ["arg", "one"], ["const", "a"]], ["in", ["var", "v"], ["arg", "many"]]]),
)  # fmt: skip
conditions = st.recursive(
    atoms,
    lambda parts: st.one_of(
        st.builds(lambda part: ["not", part], parts),
        st.builds(lambda word, these: [word, *these], st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=3)),
        st.builds(
            lambda word, domain, part: [word, "v", domain, part],
            st.sampled_from(["every", "some"]),
            st.sampled_from([["arg", "many"], ["arg", "none"], ["field", ["arg", "r"], ["xs"]]]),
            parts,
        ),
    ),
    max_leaves=8,
)  # fmt: skip


def closed(core: Json, depth: int = 0) -> Json:
    """The condition with a variable of its own for each quantifier, as the language demands."""
    if not isinstance(core, list) or not core:
        return core
    if core[0] in ("every", "some"):
        return [core[0], f"v{depth + 1}", core[2], closed(core[3], depth + 1)]
    if core == ["var", "v"]:
        return ["var", f"v{depth}"] if depth else ["const", "c"]
    return [closed(part, depth) for part in core]


CONDITIONS = conditions.map(closed)


@dataclass(frozen=True)
class Answers:
    """A memory that answers by arithmetic on what is asked, and forgets some of it."""

    seed: int
    lost: frozenset[int] = frozenset()
    raises: bool = False

    def _say(self, asked: str) -> Truth:
        number = sum(map(ord, asked)) * 31 + self.seed
        if number % 7 in self.lost:
            if self.raises:
                raise RuntimeError("lost")
            return None
        return (None, True, False, True, False)[number % 5]

    def after(self, watch: str, *, now_ns: int) -> Truth:
        return self._say(watch)

    def counted(self, watch: str, *, now_ns: int) -> tuple[int, int | None]:
        number = sum(map(ord, watch)) + self.seed
        least, more = number % 3, number % 2
        if number % 7 in self.lost:
            return (max(least - 1, 0), None) if self.raises else (least, least + more + 1)
        return least, least + more

    def ordered(self, watch: str, value: Json) -> Truth:
        return self._say(watch + str(value))

    def carries(self, rank: int) -> Truth:
        return self._say(f"rank {rank}")

    def comes_from(self, value: Json, source: Origin) -> Truth:
        return self._say(f"{value}{source.kind}{source.tool}{source.path}")


def answered(seed: int, lost: frozenset[int]) -> dict[str, Json]:
    values: list[Json] = [*TEXTS, ["a", "b"], []]
    keys = [Question("f", (value,)).key for value in values]
    given = {key: ["gave", (index + seed) % 3 == 0] for index, key in enumerate(keys)}
    return {key: said for index, (key, said) in enumerate(given.items()) if index not in lost}


MONDAY_NOON = 1_795_435_200_000_000_000


@given(
    core=CONDITIONS,
    seed=st.integers(0, 10_000),
    lost=st.frozensets(st.integers(0, 6), min_size=1),
    raises=st.booleans(),
    clock=st.booleans(),
    remembers=st.booleans(),
)
def test_an_answer_that_is_lost_never_turns_a_condition_round(
    core: Json, seed: int, lost: frozenset[int], raises: bool, clock: bool, remembers: bool
) -> None:
    condition = bounded(core)
    principal: dict[str, Json] = {}
    whole = condition(
        Scope(
            VALUES, principal, memory=Answers(seed), wall_ns=MONDAY_NOON, answers=answered(seed, frozenset())
        )
    )
    partial = condition(
        Scope(
            VALUES,
            principal,
            memory=Answers(seed, lost, raises) if remembers else None,
            wall_ns=MONDAY_NOON if clock else None,
            answers=answered(seed, lost),
        )
    )
    assert whole in (True, False, None)
    assert partial is whole or partial is None


@given(core=CONDITIONS, seed=st.integers(0, 10_000))
def test_the_order_of_the_parts_changes_nothing(core: Json, seed: int) -> None:
    def turned(part: Json) -> Json:
        match part[0]:
            case "and" | "or":
                return [part[0], *(turned(inner) for inner in reversed(part[1:]))]
            case "not":
                return ["not", turned(part[1])]
            case "every" | "some":
                return [*part[:3], turned(part[3])]
            case "comes_from" | "comes_only_from":
                return [*part[:2], part[2][::-1]]
        return part

    def truth(of: Json) -> Truth:
        scope = Scope(
            VALUES, {}, memory=Answers(seed), wall_ns=MONDAY_NOON, answers=answered(seed, frozenset({1}))
        )
        return bounded(of)(scope)

    assert truth(turned(core)) is truth(core)
