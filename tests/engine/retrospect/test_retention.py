"""Which runs are purged: against a naive reading of the same list; and what still holds after any purge."""

import io
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.cli.desk import Desk
from ringfence.cli.purging import Wish, purge
from ringfence.cli.say import Say
from ringfence.cli.verifying import verify_whole
from ringfence.engine.decision.events import BodiesPurged, RunEnded
from ringfence.engine.journal.chain import ZERO
from ringfence.engine.retrospect.backtest import backtest
from ringfence.engine.retrospect.record import RecordError, RunRecord
from ringfence.engine.retrospect.replay import replay
from ringfence.engine.retrospect.retention import due
from ringfence.engine.retrospect.shares import read_runs
from ringfence.engine.seams.loop import EngineLoop
from ringfence.engine.seams.ports import Entry, RunRow
from ringfence.engine.seams.settings import Settings
from ringfence.plugins.memory import MemoryStore
from ringfence.testing.stores import ticket
from tests.backtests import Limits, recorded
from tests.plans import T0

BEFORE_NS = 100


@dataclass(frozen=True)
class Known:
    """A run of a list, and the kind of its last event."""

    row: RunRow
    last: str

    @property
    def old(self) -> bool:
        return self.row.last_ns < BEFORE_NS

    @property
    def purged(self) -> bool:
        return self.last == "BodiesPurged" and self.over

    @property
    def over(self) -> bool:
        return self.row.status in ("done", "failed", "halted") and self.last in ("RunEnded", "BodiesPurged")


@st.composite
def lists(draw: st.DrawFn) -> list[Known]:
    found: list[Known] = []
    for number in range(draw(st.integers(0, 8))):
        status = draw(st.sampled_from(["done", "failed", "halted", "running", "suspended"]))
        over = status in ("done", "failed") or (status == "halted" and draw(st.booleans()))
        last = draw(st.sampled_from(["RunEnded", "BodiesPurged"])) if over else "RunHalted"
        parent = draw(st.none() | st.sampled_from([one.row.run for one in found])) if found else None
        row = RunRow(
            f"r{number}", draw(st.sampled_from("abcd")), "main", None, None, "p", status, number,
            draw(st.sampled_from([1, 99, 100, 500])), 5, ZERO, parent,
        )  # fmt: skip
        found.append(Known(row, last))
    return found


def reached(one: Known, every: list[Known]) -> set[str]:
    """Return every run that one may come to from another by session, parent and sub-run, step by step."""
    seen = {one.row.run}
    while True:
        near = {
            other.row.run
            for other in every
            for known in every
            if known.row.run in seen
            and (
                other.row.session == known.row.session
                or other.row.parent == known.row.run
                or known.row.parent == other.row.run
            )
        }
        if near <= seen:
            return seen
        seen |= near


@given(lists())
def test_what_is_due_is_what_a_naive_reading_says(every: list[Known]) -> None:
    last = {one.row.run: one.last for one in every}
    found = due([one.row for one in reversed(every)], lambda row: last[row.run], before_ns=BEFORE_NS)
    needing = [one for one in every if not one.purged and not (one.old and one.over)]
    wanted: dict[str, list[str]] = {"free": [], "remembered": [], "unfinished": []}
    for one in every:
        if one.old and not one.over:
            wanted["unfinished"].append(one.row.run)
        elif one.old and not one.purged:
            near = reached(one, every)
            kept = any(other.row.run in near for other in needing)
            wanted["remembered" if kept else "free"].append(one.row.run)
    assert wanted == {name: [row.run for row in getattr(found, name)] for name in wanted}


def test_a_time_that_is_no_number_is_never_old() -> None:
    row = RunRow("r", "s", "main", None, None, "p", "done", 1, "1", 5, ZERO)  # type: ignore[arg-type]
    found = due([row], lambda _: "RunEnded", before_ns=BEFORE_NS)
    assert (found.free, found.remembered, found.unfinished) == ((), (), ())


SESSIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.booleans(), st.booleans()), max_size=7
)
PURGES = st.lists(st.tuples(st.integers(0, 110), st.booleans()), min_size=1, max_size=3)
LIMITS = Limits()


@settings(max_examples=40, deadline=None)
@given(runs=SESSIONS, purges=PURGES)
def test_after_any_purge_the_log_verifies_and_what_stays_is_what_it_was(
    runs: list[tuple[str, int, bool, bool]], purges: list[tuple[int, bool]]
) -> None:
    loop, store = EngineLoop(), MemoryStore()
    desk = Desk(Settings(), store, loop, lambda: store)
    say = Say(json=True, out=io.StringIO(), err=io.StringIO())
    try:
        before: dict[str, list[Entry]] = {}
        for number, (session, at, over, asked) in enumerate(runs):
            run = recorded(LIMITS.plan, session, [1, 85, 95], at_ns=T0 + at * 1_000)
            if over:
                run.record(RunEnded("done", None))
            before[f"r{number}"] = run.entries(f"r{number}")
            desk.ask(store.events.append(before[f"r{number}"]))
            status = "used" if asked else "open"
            desk.ask(store.tickets.open(ticket(f"T-{number}", run=f"r{number}", status=status)))
        replayed = {name: replay(RunRecord.read(of_run)) for name, of_run in before.items()}
        purged: dict[str, list[Entry]] = {}
        for at, remembered in purges:
            done = purge(desk, say, Wish(T0 + at * 1_000, "dana", remembered))
            for name in done.runs:
                assert before[name][-1].kind == "RunEnded" and before[name][-1].at_ns < T0 + at * 1_000
                assert name not in purged, "it is purged once"
                purged[name] = desk.ask(store.events.read(name))
            assert done.changed == [] and done.busy == []
            assert done.bodies == sum(len(before[name]) for name in done.runs)
        found = verify_whole(desk, say, head=None)
        assert found.fault is None and found.purged == sum(len(before[name]) for name in purged)
        rows = desk.ask(store.events.runs())
        told = backtest(
            [row for row in reversed(rows) if isinstance(row, RunRow)],
            lambda runs: desk.ask(read_runs(store.events, runs)),
            LIMITS.plan,
        )
        assert {one.run for one in told.not_decided} == purged.keys() and told.changes == ()
        for name, of_run in before.items():
            now = desk.ask(store.events.read(name))
            ticket_now = desk.ask(store.tickets.get(f"T-{name[1:]}"))
            assert ticket_now is not None or name in purged
            if name not in purged:
                assert now == of_run
                assert replay(RunRecord.read(now)) == replayed[name]
                continue
            assert [(entry.hash, entry.body, entry.salt) for entry in now[:-1]] == [
                (entry.hash, None, b"") for entry in of_run
            ]
            assert now[-1].kind == BodiesPurged.kind
            try:
                replay(RunRecord.read(now))
                raise AssertionError("a purged run was decided again")
            except RecordError as error:
                assert "was purged" in str(error)
    finally:
        loop.close()
