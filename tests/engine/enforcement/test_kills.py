"""Orders to stop: obeyed by their ids wherever a run is, and acknowledged by every guard that attends."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.events import CallFailed, RunHalted, RunStarted
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, PendingError, RunHaltedError
from ringfence.plugins.memory import MemoryStore
from ringfence.testing import FakeClock
from tests.attending import attending
from tests.guards import ALICE, call, events_of, kinds_of, make_guard
from tests.shared import SHARED, shared_settings

Made = Callable[..., Guard]
UNBOUND = """
language 1
policy shop
capability read_data is read
agent main { holds read_data }
tool look { needs read_data takes what: text allow always }
"""
"""Nothing in it bounds a body in time, so that a plain function runs where it is called."""


@pytest.fixture(params=SHARED)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What guards of several processes share."""
    return shared_settings(request, tmp_path)


@pytest.fixture
def made(settings: dict[str, Any]) -> Iterator[Made]:
    """Guards that share nothing but a store, as processes do."""
    guards: list[Guard] = []

    def make(**more: Any) -> Guard:
        guards.append(make_guard(**settings, **more))
        return guards[-1]

    yield make
    for guard in guards:
        guard.close()


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("this body must not run")


def halts(guard: Guard, run: Run | str) -> list[RunHalted]:
    id = run if isinstance(run, str) else run.id
    return [one.event for one in guard.runs.get(id).events if isinstance(one.event, RunHalted)]


# ---- from another process --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "aim"),
    [
        *((how, "run") for how in ("flying", "modelling", "asking", "calling", "idle")),
        ("flying", "agent"),
        ("calling", "all"),
    ],
)
def test_a_kill_returns_when_the_other_process_has_stopped(
    made: Made, settings: dict[str, Any], how: str, aim: str
) -> None:
    guard = made()
    with attending(settings, how) as other:
        named = other.run if aim == "run" else None
        killed = guard.kill(named, agent="main" if aim == "agent" else None, by="olga", within_s=60)
        events = [one.event for one in guard.runs.get(other.run).events]
        assert killed.missing == () and killed.in_flight == 0
        assert [one.holder for one in killed.obeyed] == [other.holder]
        assert killed.obeyed[0].obeyed >= killed.id == killed.order.id and killed.by == "olga"
        # It is in the log by then: what was in flight, and that it was stopped.
        assert [halt.by for halt in halts(guard, other.run)] == ["olga"]
        started = {one.call for one in events if one.kind == "CallStarted"}
        over = {one.call for one in events if one.kind in ("CallFinished", "CallFailed")}
        assert started == over
        if how == "flying":
            assert [one.outcome for one in events if isinstance(one, CallFailed)] == ["cancelled"]
        if how != "idle":
            assert "RunHaltedError" in other.said("ended")
        later = [one.event.kind for one in guard.runs.get(other.run).events]
        assert later.count("CallStarted") == len(started), "nothing of it is dispatched any more"
        other.end()


def test_a_body_that_cannot_be_stopped_is_counted_and_recorded_as_abandoned(
    made: Made, settings: dict[str, Any]
) -> None:
    guard = made()
    with attending(settings, "stuck") as other:
        killed = guard.kill(other.run, within_s=60)
        assert killed.missing == () and killed.in_flight == 1
        assert "RunHaltedError" in other.said("ended")
        events = [one.event for one in guard.runs.get(other.run).events]
        assert [one.outcome for one in events if isinstance(one, CallFailed)] == ["abandoned"]


def test_a_process_that_is_stopped_is_named_as_missing_and_obeys_when_it_goes_on(
    made: Made, settings: dict[str, Any]
) -> None:
    guard = made()
    with attending(settings, "flying") as other:  # one that writes could be stopped with the lock of a file
        other.stand_still()
        killed = guard.kill(agent="main", within_s=0.3)
        assert [one.holder for one in killed.missing] == [other.holder]
        assert killed.missing[0].silent_s > 0 and killed.missing[0].obeyed < killed.id
        os.kill(other.popen.pid, signal.SIGCONT)
        assert "RunHaltedError" in other.said("ended")


def test_a_process_that_was_killed_is_not_waited_for(made: Made, settings: dict[str, Any]) -> None:
    guard = made()
    with attending(settings, "idle") as dead, attending(settings, "idle") as other:
        dead.popen.kill()
        dead.popen.wait()
        killed = guard.kill(within_s=60)
        assert killed.missing == ()
        assert [one.holder for one in killed.obeyed] == [other.holder]


@pytest.mark.parametrize("hours", [-1, 1])
def test_orders_are_obeyed_whatever_the_clocks_say(made: Made, settings: dict[str, Any], hours: int) -> None:
    clock = FakeClock()
    guard = made(clock=clock)
    with attending({**settings, "clock_hours": hours}, "flying") as other:
        killed = guard.kill(agent="main", within_s=60)
        assert killed.missing == () and len(halts(guard, other.run)) == 1
        assert guard.begin_run(principal=ALICE, agent="main").state.halted is None, "a later run is not named"


def test_a_body_that_runs_where_it_was_called_is_counted_once(made: Made) -> None:
    guard = made(policy=UNBOUND)
    run = guard.begin_run(principal=ALICE, agent="main")
    begun, enough, errors = threading.Event(), threading.Event(), []

    def body(_: Mapping[str, Any]) -> str:
        begun.set()
        enough.wait()
        return "too late"

    def work() -> None:
        try:
            guard.execute(run, call("look", what="x"), body)
        except RunHaltedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    killed = guard.kill(run.id)
    assert (killed.missing, killed.in_flight) == ((), 1)
    enough.set()
    thread.join()
    assert len(errors) == 1, "its late result is thrown away"
    assert [one.outcome for one in events_of(guard, run) if isinstance(one, CallFailed)] == ["abandoned"]
    assert guard.kill(run.id).in_flight == 0


# ---- while a run begins, or is put away ------------------------------------------------------------


def test_an_order_at_any_step_of_a_beginning_is_obeyed_or_came_before_it(made: Made) -> None:
    here, there = made(), made()
    here.end_run(here.begin_run(principal=ALICE, agent="main"))
    obeyed, before, step = 0, 0, 0
    while True:
        steps = here._begin(principal=ALICE, agent="main", session=f"s{step}")
        run, taken, order = None, 0, None
        try:
            waited = next(steps)
            while True:
                if taken == step:
                    order = there.kill(agent="main", within_s=60)
                    assert order.missing == ()
                taken += 1
                waited = steps.send(waited.result())
        except StopIteration as done:
            run = done.value
        if order is None:
            break  # it has fewer steps
        if order.id > run.orders:
            obeyed += 1
            with pytest.raises(RunHaltedError, match="killed"):
                here.execute(run, call("look", what="x"), never)
        else:
            before += 1
            assert here.execute(run, call("look", what="x"), lambda _: "ran") == "ran"
        (started,) = [one for one in events_of(here, run) if isinstance(one, RunStarted)]
        assert started.orders == run.orders
        here.end_run(run)
        step += 1
    assert obeyed and before


def test_a_run_that_is_put_away_obeys_in_whatever_process_it_goes_on(made: Made) -> None:
    here, there, killer = made(), made(), made()
    run = here.begin_run(principal=ALICE, agent="main")
    with pytest.raises(PendingError):
        here.execute(run, call("pay", amount=5), never, wait=False)
    here.suspend(run)
    here.close()
    assert killer.kill(run.id, by="olga").missing == ()
    again = there.resume_run(run.id)
    with pytest.raises(RunHaltedError, match="killed"):
        there.execute(again, call("look", what="x"), never)
    assert len(halts(there, run)) == 1


def test_an_order_at_any_step_of_a_resumption_is_obeyed(made: Made) -> None:
    here, there = made(), made()
    step = 0
    while True:
        run = here.begin_run(principal=ALICE, agent="main", session=f"s{step}")
        here.suspend(run)
        steps = here._resume(run.id, None)
        taken, order = 0, None
        try:
            waited = next(steps)
            while True:
                if taken == step:
                    order = there.kill(run.id, within_s=60)
                    assert order.missing == ()
                taken += 1
                waited = steps.send(waited.result())
        except StopIteration as done:
            again = done.value
        if order is None:
            break
        with pytest.raises(RunHaltedError, match="killed"):
            here.execute(again, call("look", what="x"), never)
        here.end_run(again)
        step += 1
    assert step > 3


def test_a_child_does_not_go_on_inside_of_a_run_that_was_killed(made: Made) -> None:
    guard = made()
    parent = guard.begin_run(principal=ALICE, agent="main")
    child = guard.begin_run(principal=ALICE, agent="reader", parent=parent)
    guard.suspend(child)
    guard.kill(parent.id)
    with pytest.raises(RunHaltedError):
        guard.resume_run(child.id)


# ---- which runs ------------------------------------------------------------------------------------


def test_an_order_for_an_agent_reaches_runs_inside_of_others_and_no_other_agent(made: Made) -> None:
    here, there = made(), made()
    parent = here.begin_run(principal=ALICE, agent="main")
    child = here.begin_run(principal=ALICE, agent="reader", parent=parent)
    assert there.kill(agent="reader").missing == ()
    with pytest.raises(RunHaltedError):
        here.check_live(child)
    here.check_live(parent)
    assert there.kill(agent="main").missing == ()
    with pytest.raises(RunHaltedError):
        here.check_live(parent)


def test_killing_a_run_stops_all_inside_of_it(made: Made) -> None:
    here, there = made(), made()
    parent = here.begin_run(principal=ALICE, agent="main")
    child = here.begin_run(principal=ALICE, agent="reader", parent=parent)
    begun, failed = threading.Event(), []

    async def fly() -> None:
        async def body(_: Mapping[str, Any]) -> None:
            begun.set()
            await asyncio.Event().wait()

        try:
            await here.aexecute(child, call("look", what="x"), body)
        except RunHaltedError as error:
            failed.append(error)

    thread = threading.Thread(target=lambda: asyncio.run(fly()))
    thread.start()
    begun.wait()
    killed = there.kill(parent.id)
    assert killed.missing == () and killed.in_flight == 0
    thread.join()
    assert len(failed) == 1 and kinds_of(here, child)[-2:] == ["RunHalted", "CallFailed"]


def test_a_run_that_begins_after_an_order_is_not_named_by_it(made: Made) -> None:
    here, there = made(), made()
    first = here.begin_run(principal=ALICE, agent="main")
    order = there.kill()
    run = here.begin_run(principal=ALICE, agent="main")
    assert run.orders == order.id and first.orders < order.id
    assert here.execute(run, call("look", what="x"), lambda _: "ran") == "ran"


# ---- the guard that gives it -----------------------------------------------------------------------


def test_with_nobody_there_a_kill_returns_at_once(made: Made) -> None:
    killed = made().kill(within_s=3600)
    assert (killed.obeyed, killed.missing, killed.in_flight) == ((), (), 0)


def test_an_order_that_cannot_be_acknowledged_names_who_is_missing(made: Made) -> None:
    here, there = made(), made()
    run = here.begin_run(principal=ALICE, agent="main")

    async def fails(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    here.opening.ready.kill_switch.obeyed = fails  # type: ignore[method-assign]
    killed = there.kill(within_s=0.2)
    assert [one.holder for one in killed.missing] == [here._lifecycle._sessions.holder]
    with pytest.raises(RunHaltedError):
        here.check_live(run)
    del here.opening.ready.kill_switch.obeyed
    assert there.kill(within_s=60).missing == ()


def test_a_kill_that_cannot_ask_who_obeyed_says_that_the_order_stands() -> None:
    store = MemoryStore()

    async def fails() -> Any:
        raise OSError("the line is dead")

    store.kill_switch.attendants = fails  # type: ignore[method-assign]
    guard = make_guard(opened=lambda: store)
    run = guard.begin_run(principal=ALICE, agent="main")
    with pytest.raises(EngineError, match="stands, but the store cannot say"):
        guard.kill(within_s=0.05)
    with pytest.raises(RunHaltedError):
        guard.check_live(run)
    guard.close()


def test_a_guard_whose_runs_are_over_attends_no_more(made: Made) -> None:
    here, there = made(), made()
    here.end_run(here.begin_run(principal=ALICE, agent="main"))
    here.close()
    assert there.kill(within_s=60).obeyed == ()
