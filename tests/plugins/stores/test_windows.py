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


leases = st.one_of(st.none(), st.integers(1, 20))


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
        """Reservation -> its charges, each with the moment from which it counts for one period more: that of
        its dispatch or of the end of its lease; None while it is held without end."""
        self.unstamped: set[str] = set()
        self.effects: list[tuple[str, Charge, int]] = []
        """What was dispatched, and when."""

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

    def stands(self, name: str) -> bool:
        count = [
            at is None or c.period_ns is None or at > self.latest - c.period_ns
            for c, at in self.spent.get(name, ())
        ]
        return any(count) and (name not in self.unstamped or all(count))

    @rule(step=st.integers(-30, 30))
    def clock_jumps(self, step: int) -> None:
        self.now += step

    @rule(wanted=charges, lease=leases)
    def reserve(self, wanted: list[Charge], lease: int | None) -> None:
        self.made += 1
        self.reserve_as(f"r{self.made % 2}/{self.made}", wanted, lease)

    @precondition(lambda self: self.names)
    @rule(wanted=charges, lease=leases, data=st.data())
    def reserve_again(self, wanted: list[Charge], lease: int | None, data: st.DataObject) -> None:
        self.reserve_as(data.draw(st.sampled_from(self.names)), wanted, lease)

    def reserve_as(self, name: str, wanted: list[Charge], lease: int | None) -> None:
        wanted = sorted(wanted, key=lambda c: (c.budget, c.key))
        refused = self.both("reserve", Reservation(name, tuple(wanted), lease), now_ns=self.tick())
        if self.stands(name):
            assert refused == ()
            return
        self.spent.pop(name, None)
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
            self.unstamped.add(name)
            lapse = None if lease is None else self.latest + lease
            self.spent[name] = [(charge, lapse) for charge in wanted]

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        stood = self.both("dispatched", name, now_ns=self.tick())
        assert stood == self.stands(name)
        if stood and name in self.unstamped:
            self.stamp(name)
            self.effects.extend((name, charge, self.latest) for charge, _ in self.spent[name])

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names))
        self.both("refund", name)
        given_back = {(name, at) for _, at in self.spent.pop(name, ())}
        self.effects = [one for one in self.effects if (one[0], one[2]) not in given_back]

    @rule(run=st.sampled_from(["r0", "r1", "r"]))
    def settle(self, run: str) -> None:
        self.both("settle", run, now_ns=self.tick())
        for name in self.names:
            held = name in self.unstamped and name in self.spent
            if not held or not name.startswith(f"{run}/"):
                continue
            if all(at is None or at > self.latest for _, at in self.spent[name]):
                self.stamp(name)

    def stamp(self, name: str) -> None:
        self.unstamped.discard(name)
        self.spent[name] = [(c, self.latest) for c, _ in self.spent[name]]

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        for units in self.spent.values():
            for charge, _ in units:
                assert self.taken(charge) <= charge.limit

    @invariant()
    def no_window_of_what_was_dispatched_holds_more(self) -> None:
        for _, charge, at in self.effects:
            since = 0 if charge.period_ns is None else at - charge.period_ns
            same = [
                other
                for _, other, when in self.effects
                if (other.budget, other.key) == (charge.budget, charge.key) and since < when <= at
            ]
            if charge.budget in BLAST:
                assert len({member for c in same for member in c.members}) <= charge.limit
            else:
                assert sum(c.amount for c in same) <= charge.limit


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
