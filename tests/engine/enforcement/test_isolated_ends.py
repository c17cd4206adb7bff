"""Nothing begins for code in an isolate once that is over, and what others were allowed is not its own."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ringfence.engine.decision.calls import ToolCall, key_base
from ringfence.engine.decision.events import (
    CallFailed,
    CallRequested,
    IsolateEnded,
    PromptGiven,
)
from ringfence.engine.enforcement.bodies import Flight
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.isolates import Job
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import DeniedError, PendingError, ToolFailedError
from ringfence.engine.seams.isolates import IsolateJob, IsolateOutcome
from tests.engine.enforcement.test_isolated import (
    BODIES,
    POLICY,
    guard_of,
    identical,
    js,
    never,
    of,
)
from tests.guards import ALICE, call
from tests.isolates import FakeExecutor, Tools


@pytest.fixture
def fake() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def guard(fake: FakeExecutor) -> Iterator[Guard]:
    guard = guard_of(fake)
    yield guard
    guard.close()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


THREE = [("query", {"table": "orders"})] * 3


def test_no_further_call_of_a_batch_begins_when_the_isolates_time_is_over() -> None:
    async def late(_: IsolateJob, tools: Tools) -> Any:
        try:
            return await asyncio.wait_for(tools.all(*THREE), 0.05)
        except TimeoutError:
            return IsolateOutcome(None, "time", "it took longer than `time 50 ms`")

    guard = guard_of(FakeExecutor({"late": late}), POLICY.replace("time 2 seconds", "time 50 ms"))
    run = guard.begin_run(principal=ALICE)
    began: list[int] = []
    go_on = threading.Event()

    def slow(_: Any) -> Any:
        began.append(1)
        assert go_on.wait(20)

    with pytest.raises(ToolFailedError):
        js(guard, run, "late", {"db/query": slow})
    go_on.set()
    assert len(began) == 1
    (ended,) = of(guard, run, IsolateEnded)
    assert (ended.calls, ended.answers[0][1:]) == (3, [None, None])
    assert [one.outcome for one in of(guard, run, CallFailed)] == ["abandoned", "timeout"]
    assert identical(guard, run)
    guard.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, also where a shell has begun the tests in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_no_further_call_of_a_batch_begins_when_the_caller_has_gone() -> None:
    """A body that nobody can stop ends later than the call around it: no other one begins after it."""

    async def waits(_: IsolateJob, tools: Tools) -> Any:
        return await tools.all(*THREE)

    guard = guard_of(FakeExecutor({"waits": waits}))
    run = guard.begin_run(principal=ALICE)
    began: list[int] = []
    flights: list[Flight] = []
    go_on = threading.Event()

    def slow(_: Any) -> Any:
        began.append(1)
        flights.extend(run.flights)
        signal.pthread_kill(main, signal.SIGINT)
        assert go_on.wait(20)

    main = threading.get_ident()
    with pytest.raises(KeyboardInterrupt):
        js(guard, run, "waits", {"db/query": slow})
    go_on.set()
    end = time.monotonic() + 20
    while not all(flight.over for flight in flights):
        assert time.monotonic() < end
    assert (len(flights), len(began)) == (2, 1)
    assert [one.failure for one in of(guard, run, IsolateEnded)] == ["stopped"]
    guard.close()


async def test_no_further_call_of_a_batch_begins_when_its_worker_is_gone() -> None:
    began: list[int] = []

    async def dies(_: IsolateJob, tools: Tools) -> Any:
        asking = asyncio.ensure_future(tools.all(*THREE))
        while not began:
            await asyncio.sleep(0)
        asking.cancel()
        return IsolateOutcome(None, "killed", "the worker died")

    async def turns() -> None:
        while len(asyncio.all_tasks()) > idle:
            await asyncio.sleep(0)

    async def count() -> int:
        return len(asyncio.all_tasks())

    guard = guard_of(FakeExecutor({"dies": dies}))
    run = await guard.abegin_run(principal=ALICE)
    idle = await asyncio.wrap_future(run.opening.loop.submit(count()))

    async def query(_: Any) -> Any:
        began.append(1)
        await asyncio.wrap_future(run.opening.loop.submit(turns()))
        return 0

    with pytest.raises(ToolFailedError, match="killed"):
        await guard.aexecute(run, call("run_js", code="dies"), never, inner={"db/query": query})
    assert len(began) == 1
    await guard.aclose()


def test_code_does_not_take_up_a_call_that_people_were_asked_about_ahead(
    fake: FakeExecutor,
    guard: Guard,
    run: Run,
) -> None:
    guard.record(run, PromptGiven("user", "write to ann@x.example"))
    mail = ToolCall("mail", {"to": "ann@x.example", "body": "ask"})
    with pytest.raises(PendingError) as pending:
        guard.ask(run, mail)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana")
    guard.ask(run, mail)

    async def asks(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("mail", {"to": "ann@x.example", "body": "ask"}))
        return str(found)

    fake.code["asks"] = asks
    assert js(guard, run, "asks") == "not authorized"
    assert guard.execute(run, mail, lambda _: "sent") == "sent"
    assert identical(guard, run)


def test_code_does_not_take_up_a_call_that_it_may_not_make_and_that_was_asked_about_ahead(
    fake: FakeExecutor,
    guard: Guard,
    run: Run,
) -> None:
    wipe = ToolCall("wipe", {"all": True})
    guard.ask(run, wipe)

    async def wipes(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("wipe", {"all": True}))
        return str(found)

    fake.code["wipes"] = wipes
    assert js(guard, run, "wipes", {**BODIES, "wipe": lambda _: "wiped"}) == "tool not found"


def test_a_model_that_foresees_the_name_of_an_inner_call_gives_it_no_approval(
    fake: FakeExecutor,
    guard: Guard,
    run: Run,
) -> None:
    guard.record(run, PromptGiven("user", "write to ann@x.example"))

    async def asks(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("mail", {"to": "ann@x.example", "body": "ask"}))
        return str(found)

    fake.code["asks"] = asks
    js(guard, run, "asks")
    first = of(guard, run, CallRequested)[0].call
    foreseen = first.rpartition(".")[0] + ".1#1"
    mail = ToolCall("mail", {"to": "ann@x.example", "body": "ask"}, call_id=foreseen)
    with pytest.raises(PendingError) as pending:
        guard.execute(run, mail, never, wait=False)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana")
    assert js(guard, run, "asks") == "not authorized"


def test_the_frameworks_name_of_a_tool_is_that_tool_and_needs_a_body_too(
    fake: FakeExecutor,
    guard: Guard,
    run: Run,
) -> None:
    async def probe(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("db/query", {"table": "orders"}))
        return str(found)

    fake.code["probe"] = probe
    assert js(guard, run, "probe", None) == "not authorized"
    assert identical(guard, run)


def test_what_people_approved_outside_is_not_taken_up_by_a_body_that_code_called(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    guard.record(run, PromptGiven("user", "write to ann@x.example"))
    mail = ToolCall("mail", {"to": "ann@x.example", "body": "ask"})
    with pytest.raises(PendingError) as pending:
        guard.execute(run, mail, never, wait=False)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana")

    def query(_: Any) -> Any:
        with pytest.raises(DeniedError):
            guard.execute(run, mail, never)
        return 0

    async def deep(_: IsolateJob, tools: Tools) -> Any:
        return await tools("query", table="orders")

    fake.code["deep"] = deep
    assert js(guard, run, "deep", {"db/query": query}) == 0
    assert guard.execute(run, mail, lambda _: "sent") == "sent"
    assert identical(guard, run)


def test_a_foreseen_name_does_not_make_an_approved_call_one_of_the_code_after_a_resume(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    guard.record(run, PromptGiven("user", "write to ann@x.example"))

    async def asks(_: IsolateJob, tools: Tools) -> Any:
        (found,) = await tools.all(("mail", {"to": "ann@x.example", "body": "ask"}))
        return str(found)

    fake.code["asks"] = asks
    foreseen = key_base(call("run_js", code="asks")) + ".0#1"
    mail = ToolCall("mail", {"to": "ann@x.example", "body": "ask"}, call_id=foreseen)
    with pytest.raises(PendingError) as pending:
        guard.execute(run, mail, never, wait=False)
    guard.suspend(run)
    (ticket,) = pending.value.tickets
    guard.approve(ticket, by="dana")
    run = guard.resume_run(run.id)
    assert js(guard, run, "asks") == "not authorized"
    outer = foreseen.partition("#")[0]
    assert outer in [one.call for one in of(guard, run, CallRequested)], "it was foreseen"
    assert guard.execute(run, mail, lambda _: "sent") == "sent"
    assert identical(guard, run)


def test_whoever_hears_how_a_job_ended_has_nothing_to_stop(
    fake: FakeExecutor, guard: Guard, run: Run
) -> None:
    async def one(_: IsolateJob, __: Tools) -> Any:
        return 1

    fake.code["one"] = one
    assert js(guard, run, "one") == 1
    job = Job(guard.opening.loop, fake, fake.jobs[-1], run.plan.isolates["box"], guard.opening.clock)
    over: Future[bool] = Future()
    job.next().add_done_callback(lambda _: over.set_result(job.over.done()))  # the moment that it is told
    job.start()
    assert over.result(20)
