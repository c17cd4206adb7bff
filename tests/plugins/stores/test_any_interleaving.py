"""No window of the stated length ever holds more than its limit, in whatever order things happen.

Hypothesis lets callers reserve, dispatch, give back and settle in any order, with leases that run out and a
clock that jumps both ways; a naive history says what each answer must be, and looks at every window after
every step.  Any step may be asked again, of which the history is not told: it must change nothing.  What
was found in memory is then done to the other stores, step by step.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ringfence.engine.decision.calls import Charge, Refusal
from ringfence.engine.seams.ports import Ledger, Reservation, Store
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore
from ringfence.testing.stores import NOW_NS
from tests.plugins.stores.history import History

AMOUNTS = {"one": (1, 3), "few": (2, 4), "forever": (9, None)}
MEMBERS = {"members one": (1, 3), "members few": (2, 4), "members forever": (4, None)}
"""Budget -> limit and period, in ticks: so few that moments often meet."""
NAMES = [f"{run}/{call}" for run in ("a", "b", "a-") for call in ("1", "2", "3", "3/success")]

keys = st.sampled_from(["", "", "", "", "alice"])
amounts = st.builds(
    lambda budget, key, amount: Charge(budget, key, amount, *AMOUNTS[budget]),
    st.sampled_from(["one", "one", "one", "few", "few", "forever"]),
    keys,
    st.sampled_from([1, 1, 1, 1, 0, 2]),
)
members = st.builds(
    lambda budget, key, members: Charge(budget, key, len(members), *MEMBERS[budget], tuple(members)),
    st.sampled_from(["members one", "members one", "members few", "members few", "members forever"]),
    keys,
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=2),
)
charges = st.lists(amounts | members, min_size=1, max_size=2).map(
    lambda asked: tuple(sorted(asked, key=lambda c: (c.budget, c.key)))
)
leases = st.none() | st.integers(1, 4)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that somebody asks of a ledger, at a time in ticks, and what the history answers."""

    act: str
    name: str
    at: int
    again: bool
    charges: tuple[Charge, ...] = ()
    lease: int | None = None
    answer: tuple[Refusal, ...] | bool | None = None


async def done(ledger: Ledger, step: Step) -> tuple[Refusal, ...] | bool | None:
    """Do a step to a ledger, and return what it answers."""
    match step.act:
        case "reserve":
            return await ledger.reserve(Reservation(step.name, step.charges, step.lease), now_ns=step.at)
        case "dispatched":
            return await ledger.dispatched(step.name, now_ns=step.at)
        case "refund":
            await ledger.refund(step.name)
        case _:
            await ledger.settle(step.name, now_ns=step.at)
    return None


class Interleaving(RuleBasedStateMachine):
    """Callers in any order, on the memory ledger."""

    recorded: list[list[Step]] | None = None

    def __init__(self) -> None:
        super().__init__()
        ledger = MemoryStore().ledger
        assert ledger is not None
        self.ledger: Ledger = ledger
        self.history = History()
        self.at = 1_000
        self.steps: list[Step] = []

    def teardown(self) -> None:
        if self.recorded is not None:
            self.recorded.append(self.steps)

    @rule(ticks=st.integers(-20, 5))
    def clock_steps(self, ticks: int) -> None:
        self.at += ticks

    @rule(ticks=st.integers(1, 3))
    def time_passes(self, ticks: int) -> None:
        self.at += ticks

    @rule(name=st.sampled_from(NAMES), charges=charges, lease=leases, again=st.booleans())
    def reserve(self, name: str, charges: tuple[Charge, ...], lease: int | None, again: bool) -> None:
        answer = self.history.reserve(name, charges, lease, self.at)
        self.take(Step("reserve", name, self.at, again, charges, lease, answer))

    @rule(name=st.sampled_from(NAMES), charges=charges, ticks=st.integers(0, 3))
    def call(self, name: str, charges: tuple[Charge, ...], ticks: int) -> None:
        """Reserve and commit, as most calls do, and go on a little later."""
        self.reserve(name, charges, None, False)
        self.commit(name, False)
        self.at += ticks

    @rule(name=st.sampled_from(NAMES), again=st.booleans())
    def commit(self, name: str, again: bool) -> None:
        self.take(Step("dispatched", name, self.at, again, answer=self.history.dispatched(name, self.at)))

    @rule(which=st.integers(0, 11), again=st.booleans())
    def commit_what_is_held(self, which: int, again: bool) -> None:
        held = [one.name for one in self.history.made if one.dispatched is None and not one.given_back]
        self.commit([*held, *NAMES][which % max(1, len(held))], again)

    @rule(which=st.integers(0, 11), again=st.booleans())
    def refund_what_was_made(self, which: int, again: bool) -> None:
        made = [one.name for one in self.history.made if not one.given_back]
        name = [*made[-8:], *NAMES][which]
        self.history.refund(name)
        self.take(Step("refund", name, self.at, again))

    @rule(run=st.sampled_from(["a", "b", "c"]), again=st.booleans())
    def settle(self, run: str, again: bool) -> None:
        self.history.settle(run, self.at)
        self.take(Step("settle", run, self.at, again))

    def take(self, step: Step) -> None:
        self.steps.append(step)
        for _ in range(1 + step.again):
            # The memory ledger awaits nothing, so its coroutines end at the first step.
            with pytest.raises(StopIteration) as ended:
                done(self.ledger, step).send(None)
            assert ended.value.value == step.answer, step
        assert not list(self.history.overfull())


TestInMemory = Interleaving.TestCase
TestInMemory.settings = settings(max_examples=200, stateful_step_count=50)


@cache
def sequences() -> list[list[Step]]:
    """Return what callers did to the memory ledger: always the same, in every process."""

    found: list[list[Step]] = []

    class Recording(Interleaving):
        recorded = found

    run_state_machine_as_test(
        Recording,
        settings=settings(max_examples=80, stateful_step_count=50, derandomize=True, database=None),
    )
    return found


def test_the_recorded_steps_are_of_every_kind_with_every_answer() -> None:
    steps = [step for sequence in sequences() for step in sequence]
    assert len(steps) > 500
    for act in ("reserve", "dispatched", "refund", "settle"):
        assert sum(step.act == act for step in steps) > 50
    assert {step.answer for step in steps if step.act == "dispatched"} == {True, False}
    refused = [one for step in steps if isinstance(step.answer, tuple) for one in step.answer]
    assert any(one.free_ns is None for one in refused) and any(one.free_ns for one in refused)
    assert any(later.at < sooner.at for s in sequences() for sooner, later in pairwise(s))


# ---- the same on the other stores --------------------------------------------------------------------

STORES: dict[str, int] = {"memory": 1, "sqlite": 1, "redis": 1_000, "postgres": 1}
"""Store -> nanoseconds in one tick of its clock."""


def made(kind: str, folder: Path, request: pytest.FixtureRequest) -> Store:
    """Return a store that goes by the times of its callers, not yet opened."""
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SqliteStore(f"sqlite:///{folder}/ringfence.db")
    server = request.getfixturevalue(f"{kind}_server")
    if kind == "postgres":
        from ringfence.plugins.postgres.store import PostgresStore

        return PostgresStore(f"{server.url}?schema=interleaving", callers_clock=True)
    from ringfence.plugins.redis.store import RedisStore

    return RedisStore(f"{server.url}?prefix=interleaving", callers_clock=True)


def placed(step: Step, number: int, tick_ns: int) -> Step:
    """Return the step with keys and names of its sequence's own, and with the times of a store's clock."""
    begin_ns = NOW_NS + number * 1_000_000 * tick_ns

    def key(own: str) -> str:
        return f"{number}-{own}"

    answer = step.answer
    if isinstance(answer, tuple):
        answer = tuple(
            replace(r, key=key(r.key), free_ns=None if r.free_ns is None else r.free_ns * tick_ns)
            for r in answer
        )
    return replace(
        step,
        name=key(step.name),
        at=begin_ns + step.at * tick_ns,
        charges=tuple(
            replace(c, key=key(c.key), period_ns=None if c.period_ns is None else c.period_ns * tick_ns)
            for c in step.charges
        ),
        lease=None if step.lease is None else step.lease * tick_ns,
        answer=answer,
    )


@pytest.mark.parametrize("kind", STORES)
async def test_every_store_answers_the_same_steps_as_the_history_says(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = made(kind, tmp_path, request)
    await store.open()
    try:
        assert store.ledger is not None
        for number, sequence in enumerate(sequences()):
            for position, step in enumerate(sequence):
                here = placed(step, number, STORES[kind])
                for _ in range(1 + step.again):
                    assert await done(store.ledger, here) == here.answer, (
                        f"{kind}, step {position} of",
                        sequence[: position + 1],
                    )
    finally:
        await store.close()
