"""Many runs decided again by another policy: the changes are those of a naive evaluator."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.plan import Plan
from ringfence.engine.decision.calls import ToolCall
from ringfence.engine.decision.events import CallDecided, Stamped
from ringfence.engine.decision.records import requested
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.retrospect import shares
from ringfence.engine.retrospect.backtest import Backtest, backtest, chosen
from ringfence.engine.retrospect.coverage import Coverage
from ringfence.engine.retrospect.shares import DoneShare, Share
from ringfence.engine.seams.errors import DeniedError, EngineError
from ringfence.testing import FakeClock
from tests.backtests import HOUR_NS, Limits, Log, log_of, naively, planned, recorded
from tests.guards import ALICE, call, make_guard
from tests.plans import T0

THEN = Limits()
PLAN = THEN.plan


def found_of(found: Backtest) -> list[tuple[str, int, str, str]]:
    return [(o.run, o.change.seq, o.change.recorded, o.change.verdict) for o in found.changes]


def tried(log: Log, plan: Plan, **more: Any) -> Backtest:
    return backtest(log.rows, log.read_all, plan, **more)


def many(runs: int, *, seed: int = 1) -> Log:
    random = Random(seed)
    return log_of(
        {
            f"r{number:03}": recorded(
                PLAN, f"r{number:03}", [random.randrange(100) for _ in range(random.randrange(9))],
                at_ns=T0 + number * HOUR_NS,
            )
            for number in range(runs)
        }
    )  # fmt: skip


limits = st.builds(
    Limits,
    denies=st.integers(0, 100),
    asks=st.integers(0, 100),
    allows=st.integers(0, 100),
    rate=st.integers(1, 6),
)
numbers = st.lists(st.lists(st.integers(0, 100), max_size=8), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(limits, limits, numbers)
def test_the_changes_are_exactly_those_of_a_naive_re_decision(
    then: Limits, other: Limits, runs: list[list[int]]
) -> None:
    told = {f"r{n}": recorded(then.plan, f"r{n}", xs, at_ns=T0 + n * HOUR_NS) for n, xs in enumerate(runs)}
    plan = other.plan
    found = tried(log_of(told), plan)
    wanted = [one for run, recorder in told.items() for one in naively(plan, run, recorder.events)]
    assert found_of(found) == [(run, seq, was, is_) for run, seq, was, is_, _ in wanted]
    for one, (*_, names) in zip(found.changes, wanted, strict=True):
        assert one.change.rules and {rule.name for rule in one.change.rules} <= names
    assert found.decisions == sum(
        isinstance(s.event, CallDecided) for recorder in told.values() for s in recorder.events
    )
    every = [x for xs in runs for x in xs]
    unreached = {one.name for one in found.unreached} - {"main.denials", "t.rate"}
    assert unreached == {
        name
        for name, reached in (
            ("large", any(x > other.denies for x in every)),
            ("seen", any(x > other.asks for x in every)),
            ("t.allow", any(x <= other.allows for x in every)),
        )
        if not reached
    }


def test_the_recorded_policy_changes_nothing() -> None:
    found = tried(many(20), PLAN)
    assert found.changes == () and found.rules == () and found.comparable == found.decisions > 50


def test_each_group_holds_the_changes_of_its_rule_and_the_line_of_the_policy() -> None:
    log = many(40)
    found = tried(log, Limits(denies=40, allows=60).plan)
    large = next(one for one in found.rules if one.rule.name == "large")
    assert large.words == 'rule large: deny t when x > 40 because "it is too large"'
    assert large.rule.because == "it is too large" and large.rule.place == "numbers.fence:12:1"
    for group in found.rules:
        assert group.changed == tuple(one for one in found.changes if group.rule in one.change.rules)
    sizes = [len(group.changed) for group in found.rules]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) >= len(found.changes)
    assert sum(found.moves.values()) == len(found.changes)


def test_as_many_processes_as_one_likes_come_to_the_same() -> None:
    log = many(100)
    broken = next(entries for entries in log.entries.values() if len(entries) > 5)
    del broken[2]
    other = Limits(denies=40, asks=100, rate=3).plan
    alone = tried(log, other)
    assert alone.changes and alone.not_decided and alone.unreached
    steps: list[int] = []
    assert tried(log, other, processes=2, each=steps.append) == alone
    assert sum(steps) == 100
    assert tried(log, other, processes=3) == alone


def test_shares_that_the_other_processes_have_no_time_for_are_done_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here: list[int] = []

    def done(share: Share, coverage: Coverage) -> DoneShare:
        here.append(len(share.runs))
        return original(share, coverage)

    original, log, other = shares._done, many(60), Limits(denies=40).plan
    alone = tried(log, other)
    monkeypatch.setattr(shares, "_RUNS", 1)
    monkeypatch.setattr(shares, "_SENT", 2)
    monkeypatch.setattr(shares, "_done", done)
    for kept in (3, 500):
        here.clear()
        monkeypatch.setattr(shares, "_KEPT", kept)
        assert tried(log, other, processes=2) == alone
        assert 0 < len(here) < 60


def test_the_size_of_a_share_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log, other = many(30), Limits(denies=40).plan
    whole = tried(log, other)
    monkeypatch.setattr(shares, "_RUNS", 1)
    assert tried(log, other) == whole


def test_what_comes_after_a_change_is_counted_as_no_longer_comparable() -> None:
    log = log_of({"r1": recorded(PLAN, "r1", [1, 50, 2, 60, 3])})
    found = tried(log, Limits(denies=40).plan)
    assert [one.comparable for one in found.changes] == [True, False]
    assert (found.decisions, found.comparable) == (5, 2)


def test_a_change_makes_later_runs_of_its_session_no_longer_comparable_and_no_other() -> None:
    log = log_of({})
    for name, session, hours, xs in (
        ("before", "s", 0, [1, 2]),
        ("turning", "s", 1, [1, 50]),
        ("other", "o", 2, [1, 2]),
        ("after", "s", 3, [1, 2, 50]),
    ):
        one = recorded(PLAN, session, xs, at_ns=T0 + hours * HOUR_NS)
        more = log_of({name: one})
        log.entries |= more.entries
        log.rows += more.rows
    found = tried(log, Limits(denies=40).plan)
    assert [(one.run, one.comparable) for one in found.changes] == [("turning", True), ("after", False)]
    assert (found.decisions, found.comparable) == (9, 6)


def test_runs_that_cannot_be_decided_again_are_named_and_nothing_of_them_counts() -> None:
    log = log_of({name: recorded(PLAN, name, [95, 50]) for name in ("gap", "purged", "odd", "whole", "gone")})
    log.entries["gap"].pop(1)
    log.entries["purged"][2] = log.entries["purged"][2]._replace(body=None)
    odd = log.entries["odd"]
    last = max(n for n, entry in enumerate(odd) if entry.kind == "CallDecided")
    odd[last] = odd[last]._replace(body=(odd[last].body or b"").replace(b'"reserved":null', b'"reserved":7'))
    log.entries["gone"] = []
    found = tried(log, Limits(denies=40).plan)
    assert [one.run for one in found.not_decided] == ["gap", "purged", "odd", "gone"]
    why = {one.run: one.because for one in found.not_decided}
    assert "is missing" in why["gap"] and "purged: event 3" in why["purged"]
    assert "cannot be read" in why["odd"] and "no such run" in why["gone"]
    assert (found.runs, found.decisions) == (5, 2)
    assert {one.run for one in found.changes} == {"whole"}


def test_what_a_run_reached_before_it_broke_off_is_not_covered() -> None:
    log = log_of({"odd": recorded(PLAN, "odd", [95, 1])})
    odd = log.entries["odd"]
    last = max(n for n, entry in enumerate(odd) if entry.kind == "CallDecided")
    odd[last] = odd[last]._replace(body=(odd[last].body or b"").replace(b'"reserved":null', b'"reserved":7'))
    found = tried(log, PLAN)
    assert found.not_decided and len(found.unreached) == found.clauses


def test_a_decision_whose_arguments_are_withheld_is_named_and_the_rest_is_made_again() -> None:
    run = recorded(PLAN, "r1", [1, 50])
    shown = requested("k0.0", ToolCall("t", {}), withheld="keyed", arguments={"x": "hmac"})
    run.events[1] = replace(run.events[1], event=shown)
    found = tried(log_of({"r1": run}), Limits(denies=40).plan)
    (one,) = found.not_replayable
    assert (one.run, one.decision.call, one.decision.because) == ("r1", "k0.0", "keyed")
    assert found.decisions == len(found.changes) == 1


def test_a_process_that_dies_is_an_error_and_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "_do", _die)
    with pytest.raises(EngineError, match="died"):
        tried(many(4), Limits(denies=40).plan, processes=2)


def _die(share: object) -> None:
    os._exit(1)


def test_a_policy_that_does_not_come_out_the_same_in_another_process_decides_nothing() -> None:
    other = Limits(denies=40).plan
    with pytest.raises(EngineError):
        tried(many(4), replace(other, digest="sha256:" + "0" * 64), processes=2)


WAITING = """
import multiprocessing, sys, time
from tests.backtests import Limits, log_of, recorded
from ringfence.engine.retrospect.backtest import backtest

def read(runs):
    if "r100" in runs:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        sys.stdin.read()
    return log.read_all(runs)

if __name__ == "__main__":
    plan = Limits().plan
    log = log_of({f"r{n:03}": recorded(plan, f"r{n:03}", []) for n in range(200)})
    backtest(log.rows, read, plan, processes=3)
"""


def test_processes_end_with_the_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    path = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, sys.path)])
    command = [sys.executable, str(tmp_path / "waiting.py")]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        children = [int(pid) for pid in killed.stdout.readline().split()]
        assert len(children) == 2 and all(map(lives, children))
        killed.kill()
    until = time.monotonic() + 60
    while any(map(lives, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(lives, children))


def lives(pid: int) -> bool:
    """Say whether a process runs; one that nobody has collected yet is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        ({}, ["r0", "r1", "r2"]),
        ({"since_ns": T0 + HOUR_NS}, ["r1", "r2"]),
        ({"since_ns": T0 + HOUR_NS + 1}, ["r2"]),
        ({"agent": "helper"}, ["r1"]),
        ({"agent": "nobody"}, []),
    ],
)
def test_runs_are_chosen_by_agent_and_by_when_they_began(words: dict[str, Any], runs: list[str]) -> None:
    log = log_of({f"r{n}": recorded(PLAN, f"r{n}", [], at_ns=T0 + n * HOUR_NS) for n in range(3)})
    log.rows[1] = replace(log.rows[1], agent="helper")
    rows = chosen(log.rows[::-1], **{"since_ns": None, "agent": None, **words})
    assert [row.run for row in rows] == runs


def test_a_row_whose_time_no_guard_has_written_is_looked_at() -> None:
    (row,) = log_of({"r1": recorded(PLAN, "r1", [])}).rows
    odd = replace(row, started_ns="yesterday")  # type: ignore[arg-type]
    assert chosen([odd], since_ns=T0, agent=None) == [odd]


# ---- sessions that remember ----------------------------------------------------------------------

DESK = """language 1
policy desk
levels public < secret
capability look is read
capability send is external
agent main { holds look, send }
tool query { needs look takes table: text allow always result is secret rate 99 per hour }
tool mail { needs send takes to: text allow always rate 99 per hour }
"""
LEAVE = 'rule leave: deny mail when after reading secret because "secrets stay"\n'


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    made = make_guard(DESK, store=f"sqlite:///{tmp_path}/ringfence.db", clock=FakeClock())
    yield made
    made.close()


def turns(guard: Guard, session: str, *tools: str) -> list[str]:
    """Make one run for each tool, and return their ids."""
    runs: list[str] = []
    for tool in tools:
        with guard.run(principal=ALICE, session=session) as run:
            runs.append(run.id)
            arguments = {"table": "t"} if tool == "query" else {"to": "bob"}
            guard.execute(run, call(tool, **arguments), lambda _: "done")
    return runs


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_is_decided_with_what_its_session_remembers(guard: Guard, processes: int) -> None:
    free = turns(guard, "a", "mail", "mail")
    first, second, third = turns(guard, "b", "query", "mail", "mail")
    found = guard.runs.backtest(planned(DESK + LEAVE, "desk.fence"), processes=processes)
    assert [(one.run, one.comparable) for one in found.changes] == [(second, True), (third, False)]
    assert (found.runs, found.decisions, found.comparable) == (5, 5, 4)
    assert not {first, *free} & {one.run for one in found.changes}
    assert {one.name for one in found.unreached} >= {"query.rate", "mail.rate"}
    assert "leave" not in {one.name for one in found.unreached}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_remembers_one_left_out_is_decided_with_it_all_the_same(
    guard: Guard, processes: int
) -> None:
    _, second = turns(guard, "b", "query", "mail")
    began = guard.runs.get(second).events[0]
    found = guard.runs.backtest(
        planned(DESK + LEAVE, "desk.fence"), since_ns=began.at_ns, processes=processes
    )
    assert {one.run for one in found.changes} == {second}


def test_a_naive_re_decision_of_whole_sessions_finds_the_same_changes(guard: Guard) -> None:
    random = Random(3)
    for session in ("a", "b", "c", "d"):
        turns(guard, session, *(random.choice(["query", "mail", "mail"]) for _ in range(5)))
    plan = planned(DESK + LEAVE, "desk.fence")
    wanted: list[tuple[str, int, str, str]] = []
    told: dict[str, list[Stamped]] = {}
    for row in reversed(guard.runs.list()):
        events = guard.runs.get(row.run).events
        earlier = told.setdefault(row.session, [])
        wanted += [one[:4] for one in naively(plan, row.run, events, earlier=earlier)]
        earlier += events
    assert len(wanted) > 3
    for processes in (1, 2):
        assert found_of(guard.runs.backtest(plan, processes=processes)) == wanted


def test_every_run_comes_out_as_by_itself(guard: Guard) -> None:
    turns(guard, "a", "mail", "query", "mail")
    turns(guard, "b", "query", "mail")
    plan = planned(DESK + LEAVE, "desk.fence")
    found = guard.runs.backtest(plan)
    alone = [guard.runs.get(row.run).what_if(plan) for row in reversed(guard.runs.list())]
    assert [one.change for one in found.changes] == [change for each in alone for change in each.changes]
    assert found.decisions == sum(each.decisions for each in alone)


async def test_the_asynchronous_door_says_the_same(guard: Guard) -> None:
    plan = planned(DESK + LEAVE, "desk.fence")
    async with guard.run(principal=ALICE, session="a") as run:
        await guard.aexecute(run, call("query", table="t"), _done)
        await guard.aexecute(run, call("mail", to="bob"), _done)
    found = await guard.runs.abacktest(plan, agent="main")
    assert len(found.changes) == 1 and found.changes[0].change.verdict == "deny"
    assert (await guard.runs.abacktest(plan, agent="nobody")).runs == 0


async def _done(_: object) -> str:
    return "done"


def test_a_denial_that_another_policy_would_not_have_given_is_a_change_too(tmp_path: Path) -> None:
    guard = make_guard(DESK + LEAVE, clock=FakeClock())
    with guard.run(principal=ALICE, session="a") as run:
        guard.execute(run, call("query", table="t"), lambda _: "x")
        with pytest.raises(DeniedError):
            guard.execute(run, call("mail", to="bob"), lambda _: "sent")
    found = guard.runs.backtest(planned(DESK, "desk.fence"))
    assert found.moves == {("deny", "allow"): 1}
    assert [rule.name for rule in found.changes[0].change.rules] == ["mail.allow"]
    guard.close()
