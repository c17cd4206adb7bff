"""No window ever holds more than its limit, whatever happens in whatever order; both ledgers agree."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.ports import Ledger, Reservation
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.sqlite import SqliteStore

LIMITS = {"narrow": (1, 10), "wide": (3, 25), "amounts": (5, 7), "forever": (4, None)}
"""Budget -> limit and period."""

BLAST = {"one": (1, 10), "few": (3, 25), "ever": (4, None)}
"""Blast radius -> how many may differ, and period."""

charges = st.lists(
    st.one_of(
        st.builds(
            lambda budget, key, amount: Charge(budget, key, amount, *LIMITS[budget]),
            st.sampled_from(sorted(LIMITS)),
            st.sampled_from(["", "alice"]),
            st.integers(0, 3),
        ),
        st.builds(
            lambda budget, key, members: Charge(budget, key, len(members), *BLAST[budget], tuple(members)),
            st.sampled_from(sorted(BLAST)),
            st.sampled_from(["", "alice"]),
            st.lists(st.sampled_from("abcde"), max_size=3),
        ),
    ),
    min_size=1,
    max_size=3,
)


class Windows(RuleBasedStateMachine):
    """Reserve, dispatch, refund and settle under a clock that jumps; a plain history is the judge."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore()
        self.sqlite = SqliteStore(f"sqlite:///{Path(self.folder.name)}/ringfence.db")
        self.loop.run_until_complete(self.sqlite.open())
        self.now = 1000
        self.latest = 0
        self.made = 0
        self.names: list[str] = []
        self.spent: dict[str, list[tuple[Charge, int | None]]] = {}
        """Reservation -> its charges, each with the moment of its dispatch, None while it is held."""

    def teardown(self) -> None:
        self.loop.run_until_complete(self.sqlite.close())
        self.loop.close()
        self.folder.cleanup()

    def both(self, act: str, *arguments: object, **named: object) -> object:
        ledgers: list[Ledger | None] = [self.memory.ledger, self.sqlite.ledger]
        answers = [
            self.loop.run_until_complete(getattr(ledger, act)(*arguments, **named)) for ledger in ledgers
        ]
        assert answers[0] == answers[1], f"{act}{arguments}: memory {answers[0]}, sqlite {answers[1]}"
        return answers[0]

    def tick(self) -> int:
        self.latest = max(self.latest, self.now)
        return self.now

    def taken(self, charge: Charge, *more: Charge) -> int:
        """Return what stands in the charge's window now, with `more`, by looking at the whole history."""
        same = (charge.budget, charge.key)
        inside = [
            c
            for units in self.spent.values()
            for c, at in units
            if (c.budget, c.key) == same
            and (at is None or c.period_ns is None or at > self.latest - c.period_ns)
        ]
        inside.extend(more)
        if charge.budget in BLAST:
            return len({member for c in inside for member in c.members})
        return sum(c.amount for c in inside)

    def counts(self, name: str) -> bool:
        return any(
            at is None or c.period_ns is None or at > self.latest - c.period_ns
            for c, at in self.spent.get(name, ())
        )

    @rule(step=st.integers(-30, 30))
    def clock_jumps(self, step: int) -> None:
        self.now += step

    @rule(wanted=charges)
    def reserve(self, wanted: list[Charge]) -> None:
        self.made += 1
        self.reserve_as(f"r{self.made % 2}/{self.made}", wanted)

    @precondition(lambda self: self.names)
    @rule(wanted=charges, data=st.data())
    def reserve_again(self, wanted: list[Charge], data: st.DataObject) -> None:
        self.reserve_as(data.draw(st.sampled_from(self.names)), wanted)

    def reserve_as(self, name: str, wanted: list[Charge]) -> None:
        wanted = sorted(wanted, key=lambda c: (c.budget, c.key))
        refused = self.both("reserve", Reservation(name, tuple(wanted)), now_ns=self.tick())
        if self.counts(name):
            assert refused == ()
            return
        asked: dict[tuple[str, str], list[Charge]] = {}
        full = set()
        for charge in wanted:
            same = (charge.budget, charge.key)
            asked.setdefault(same, []).append(charge)
            if self.taken(charge, *asked[same]) > charge.limit:
                full.add(same)
        assert {(r.budget, r.key) for r in refused} == full  # type: ignore[attr-defined]
        if not full:
            self.names.append(name)
            self.spent[name] = [(charge, None) for charge in wanted]

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        self.both("dispatched", name, now_ns=self.tick())
        self.stamp(name)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        self.both("refund", name)
        self.spent.pop(name, None)

    @rule(run=st.sampled_from(["r0", "r1", "r"]))
    def settle(self, run: str) -> None:
        self.both("settle", run, now_ns=self.tick())
        for name in self.names:
            if name.startswith(f"{run}/"):
                self.stamp(name)

    def stamp(self, name: str) -> None:
        if name in self.spent:
            self.spent[name] = [(c, self.latest if at is None else at) for c, at in self.spent[name]]

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        for units in self.spent.values():
            for charge, _ in units:
                assert self.taken(charge) <= charge.limit


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
