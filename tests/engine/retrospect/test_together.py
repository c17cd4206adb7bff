"""A session is decided again in one pass over its runs, and comes out as each of its runs by itself."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ringfence.engine.decision import lineage, state
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.retrospect import shares
from ringfence.engine.retrospect.backtest import Backtest, backtest, chosen
from ringfence.testing import FakeClock
from tests.backtests import planned
from tests.engine.retrospect.test_redecided import SEEDS, case, other_policies
from tests.guards import ALICE, call, make_guard

DESK = """language 1
policy desk
levels public < secret
capability look is read
capability send is external
agent main { holds look, send may start helper }
agent helper { holds look, send }
tool query { needs look takes table: text allow always result is secret when table == "pay" rate 99 per hour }
tool mail { needs send takes to: text allow always rate 99 per hour }
"""
LEAVE = """rule leave: deny mail when after reading secret because "secrets stay"
rule often: deny query when calls to query >= 3
"""
OTHER = planned(DESK + LEAVE, "desk.fence")


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    made = make_guard(DESK, store=f"sqlite:///{tmp_path}/ringfence.db", clock=FakeClock())
    yield made
    made.close()


def begin(guard: Guard, **more: Any) -> Run:
    return guard.begin_run(**{"principal": ALICE, "agent": "main", "session": "s", **more})


def do(guard: Guard, run: Run, random: Random) -> None:
    """Make one call, or have a helper make some."""
    what = random.choice(["query", "mail", "mail", "helper"])
    if what == "helper":

        def work(_: Any) -> str:
            with guard.run(principal=ALICE, agent="helper", session="s", parent=run) as child:
                for _ in range(random.randint(1, 2)):
                    one = random.choice([call("query", table="pay"), call("mail", to="bob")])
                    guard.execute(child, one, lambda _: "done")
            return "done"

        guard.execute(run, call("helper", task="x"), work)
    elif what == "query":
        guard.execute(run, call("query", table=random.choice(["pay", "orders"])), lambda _: "done")
    else:
        guard.execute(run, call("mail", to="bob"), lambda _: "done")


def found_by(guard: Guard, monkeypatch: pytest.MonkeyPatch, *, together: bool) -> tuple[Backtest, int]:
    """Return the backtest, and how many runs were folded for it."""
    begun: list[object] = []
    started = state.start

    def start(*args: Any) -> Any:
        begun.append(args)
        return started(*args)

    with monkeypatch.context() as patch:
        patch.setattr(lineage, "start", start)
        if not together:
            patch.setattr(shares, "_together", lambda share, coverage: None)
        return guard.runs.backtest(OTHER), len(begun)


@pytest.mark.parametrize("seed", range(8))
def test_a_session_with_helpers_comes_out_as_each_run_by_itself(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    for _ in range(5):
        run = begin(guard)
        for _ in range(random.randint(1, 3)):
            do(guard, run, random)
        guard.end_run(run)
    one, folded = found_by(guard, monkeypatch, together=True)
    apart, folded_apart = found_by(guard, monkeypatch, together=False)
    assert one == apart and one.decisions >= 5 and not one.not_decided
    assert folded == one.runs < folded_apart


def test_the_work_for_a_session_grows_with_its_length_alone(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for length in (4, 8):
        while len(guard.runs.list()) < length:
            with guard.run(principal=ALICE, agent="main", session="s") as run:
                guard.execute(run, call("mail", to="bob"), lambda _: "done")
        _, folded = found_by(guard, monkeypatch, together=True)
        _, folded_apart = found_by(guard, monkeypatch, together=False)
        assert (folded, folded_apart) == (length, length * (length + 1) // 2)


def test_a_run_that_remembers_two_at_once_is_decided_by_itself(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begin(guard), begin(guard)
    guard.execute(first, call("query", table="pay"), lambda _: "done")
    guard.execute(second, call("mail", to="bob"), lambda _: "done")
    guard.end_run(first)
    third = begin(guard)
    assert len(third.seen) >= 2
    guard.execute(third, call("mail", to="bob"), lambda _: "done")
    guard.execute(second, call("mail", to="bob"), lambda _: "done")
    guard.end_run(second)
    guard.end_run(third)
    one, folded = found_by(guard, monkeypatch, together=True)
    apart, folded_apart = found_by(guard, monkeypatch, together=False)
    assert one == apart and folded == folded_apart
    assert third.id in {changed.run for changed in one.changes}


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_a_generated_session_comes_out_as_each_run_by_itself(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    made = case(seed)
    log = made.log()
    plans = [made.plan, *other_policies(made, seed)][:3]
    one = [backtest(log.rows, log.read_all, plan) for plan in plans]
    monkeypatch.setattr(shares, "_together", lambda share, coverage: None)
    assert one == [backtest(log.rows, log.read_all, plan) for plan in plans]


@pytest.mark.parametrize("broken", ["gone", "purged", "unreadable"])
def test_one_run_that_is_not_whole_is_named_and_the_others_of_its_session_are_decided(
    guard: Guard, broken: str
) -> None:
    for _ in range(3):
        with guard.run(principal=ALICE, agent="main", session="s") as run:
            guard.execute(run, call("query", table="orders"), lambda _: "done")
    rows = chosen(guard.runs.list(), since_ns=None, agent=None)
    entries = {row.run: list(guard.runs._entries(row.run)) for row in rows}
    middle = rows[1].run
    at = next(n for n, entry in enumerate(entries[middle]) if entry.kind == "CallFinished")
    if broken == "gone":
        del entries[middle][at]
    else:
        body = None if broken == "purged" else b"{}"
        entries[middle][at] = entries[middle][at]._replace(body=body)
    found = backtest(rows, lambda runs: [entries.get(run, ()) for run in runs], OTHER)
    assert [one.run for one in found.not_decided] == [middle, rows[2].run]
    assert found.decisions == 1
