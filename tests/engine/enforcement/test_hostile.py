"""Bodies, results and callers that mean harm: nothing runs undecided, twice, or after a halt."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ringfence.engine.decision.events import CallFailed, CallRequested
from ringfence.engine.enforcement.bodies import AsyncFlight, SyncFlight
from ringfence.engine.enforcement.current import current_call, current_run
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.seams.errors import DeniedError, EngineError, PendingError, RunHaltedError
from ringfence.testing import FakeClock
from tests.guards import ALICE, call, events_of, make_guard

UNBOUND = """
language 1
policy unbound
capability send is external
approver lead { group "leads" answer within 15 minutes otherwise deny }
agent main { holds send }
tool look { takes what: text allow always rate 1000 per run }
tool list_of { takes items: list of text allow when size(items) == 1 rate 1000 per run }
tool ask { needs send takes items: list of text allow when size(items) == 1 ask lead rate 2 per hour }
tool mail { needs send takes to: text allow always rate 10 per hour }
tool few { takes what: text allow always result at most 1 KB rate 1000 per run }
"""


@pytest.fixture(params=["bound", "unbound"])
def guard(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Guard]:
    bound = UNBOUND.replace("holds send", "holds send stop after 5 minutes")
    made = make_guard(UNBOUND if request.param == "unbound" else bound, clock=clock)
    yield made
    made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def run(guard: Guard) -> Run:
    return guard.begin_run(principal=ALICE)


def never(_: Mapping[str, Any]) -> Any:
    raise AssertionError("the body ran")


def failures(guard: Guard, run: Run) -> list[tuple[str, str]]:
    return [(e.outcome, e.error) for e in events_of(guard, run) if isinstance(e, CallFailed)]


# ---- what a body leaves behind ---------------------------------------------------------------------


def test_the_current_run_ends_with_the_body(guard: Guard, run: Run) -> None:
    inside = guard.execute(run, call("look", what="x"), lambda _: (current_run() is run, current_call()))
    assert inside[0]
    assert (current_run(), current_call()) == (None, None)
    guard.execute(run, call("look", what="y"), lambda _: None)
    assert [e.parent for e in events_of(guard, run) if isinstance(e, CallRequested)] == [None, None]


def test_a_body_changes_only_its_own_copy(guard: Guard, run: Run) -> None:
    given = {"items": ["a"]}

    def body(arguments: Mapping[str, Any]) -> None:
        arguments["items"].append("evil")

    guard.execute(run, call("list_of", "c", **given), body)
    assert given == {"items": ["a"]}
    (known,) = run.state.calls.values()
    assert known.request.arguments == {"items": ["a"]}


def test_what_was_decided_runs_whatever_the_caller_does_to_its_arguments(guard: Guard, run: Run) -> None:
    items = ["a"]
    asked = call("ask", "c", items=items)
    guard.authorize(run, asked)
    with pytest.raises(PendingError) as caught:
        guard.execute(run, asked, never, wait=False)
    items[0] = "evil"
    guard.approve(caught.value.tickets[0], by="dana")
    ran: list[Any] = []
    guard.execute(run, call("ask", "c", items=["a"]), ran.append, wait=False)
    assert ran == [{"items": ["a"]}]


# ---- what a body gives back ------------------------------------------------------------------------


async def later() -> None:
    raise AssertionError("it ran")


async def many() -> Any:
    yield 1


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1]), lambda: (x for x in "ab"), lambda: map(str, [1]), many, lambda: itertools.count()],
)
async def test_a_result_that_would_run_later_is_a_failure(guard: Guard, make: Callable[[], Any]) -> None:
    run = await guard.abegin_run(principal=ALICE)
    with pytest.raises(TypeError, match="would run after the call"):
        await guard.aexecute(run, call("look", what="x"), lambda _: make())
    with pytest.raises(TypeError, match="would run after the call"):
        await asyncio.to_thread(guard.execute, run, call("look", what="x"), lambda _: make())
    assert [outcome for outcome, _ in await asyncio.to_thread(failures, guard, run)] == ["raised", "raised"]


def test_a_coroutine_from_a_plain_body_never_runs(guard: Guard, run: Run) -> None:
    with pytest.raises(TypeError, match="coroutine"):
        guard.execute(run, call("look", what="x"), lambda _: later())


class Shy(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Loud(str):
    def __format__(self, _: str) -> str:
        raise SystemExit(4)

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b""


class Lying(Exception):
    def __str__(self) -> str:
        return Loud("x" * 10_000)


@pytest.mark.parametrize(
    "error", [Shy(), Lying(), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)]
)
async def test_whatever_a_body_raises_is_recorded_and_reaches_the_caller(
    guard: Guard, error: BaseException
) -> None:
    run = await guard.abegin_run(principal=ALICE)

    def body(_: Mapping[str, Any]) -> None:
        raise error

    async def abody(_: Mapping[str, Any]) -> None:
        if not isinstance(error, StopIteration):
            raise error

    caught: list[BaseException] = []
    try:
        await guard.aexecute(run, call("look", what="x"), abody)
    except BaseException as raised:
        caught.append(raised)
    try:
        guard.execute(run, call("look", what="x"), body)
    except BaseException as raised:
        caught.append(raised)
    assert all(raised is error for raised in caught)
    assert len(caught) == len(failures_now(run))
    assert not run.flights
    assert not run.state.in_flight


def failures_now(run: Run) -> list[str]:
    return [
        known.outcome.error or ""
        for known in run.state.calls.values()
        if known.outcome and known.outcome.failure
    ]


def test_a_result_that_fails_while_it_is_read_is_recorded(guard: Guard, run: Run) -> None:
    def get(_: Any) -> Any:
        raise SystemExit(5)

    with pytest.raises(SystemExit):
        guard.execute(run, call("look", what="x"), lambda _: 1, lens=ResultLens(get, lambda r, _: r))
    assert failures(guard, run)[0][0] == "refused result"
    assert not run.flights


def test_a_text_that_lies_about_its_size_is_cut_all_the_same(guard: Guard, run: Run) -> None:
    assert len(guard.execute(run, call("few", what="x"), lambda _: Loud("y" * 3000))) == 1024


def test_results_that_are_cyclic_or_huge_are_described(guard: Guard, run: Run) -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert guard.execute(run, call("look", what="x"), lambda _: cyclic) is cyclic
    with pytest.raises(DeniedError):
        guard.execute(run, call("few", what="x"), lambda _: cyclic)
    assert len(guard.execute(run, call("look", what="y"), lambda _: "z" * 20_000_000)) == 20_000_000
    assert guard.runs.get(run.id).replay().divergence is None


# ---- after the halt --------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_halt_that_comes_while_the_dispatch_is_recorded_stops_the_body(
    clock: FakeClock, tmp_path: Any, asynchronous: bool
) -> None:
    guard = make_guard(UNBOUND, clock=clock, store=f"sqlite:///{tmp_path}/r.db")
    run = await guard.abegin_run(principal=ALICE)
    ledger: Any = guard.opening.ready.ledger
    dispatched = ledger.dispatched_soon

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        stands = dispatched(*args, **kwargs)
        run.halt("killed", by=None, detail=None)
        return stands

    ledger.dispatched_soon = meanwhile
    with pytest.raises(RunHaltedError):
        if asynchronous:
            await guard.aexecute(run, call("mail", to="a"), never)
        else:
            await asyncio.to_thread(guard.execute, run, call("mail", to="a"), never)
    kinds = [stamped.event.kind for stamped in (await guard.runs.aget(run.id)).events]
    assert kinds[-2:] == ["RunHalted", "CallFailed"]
    await guard.aclose()


async def test_a_flight_that_was_halted_before_it_left_runs_nothing() -> None:
    tasks, threads = AsyncFlight(), SyncFlight()
    tasks.halt()
    threads.halt()
    assert (await tasks.fly(lambda: never({}), None)).how == "halted"
    assert threads.fly(lambda: never({}), None).how == "halted"


def test_a_run_of_another_guard_is_refused(guard: Guard, run: Run) -> None:
    other = make_guard()
    theirs = other.begin_run(principal=ALICE, agent="main")
    for work in (
        lambda: guard.execute(theirs, call("look", what="x"), never),
        lambda: guard.authorize(theirs, call("look", what="x")),
        lambda: guard.end_run(theirs),
        lambda: guard.suspend(theirs),
        lambda: guard.bound(theirs, lambda: never({})),
    ):
        with pytest.raises(EngineError, match="another guard"):
            work()
    other.close()


# ---- one after another -----------------------------------------------------------------------------


async def test_a_synchronous_call_does_not_wait_for_its_own_loop(tmp_path: Any) -> None:
    guard = make_guard(UNBOUND, store=f"sqlite:///{tmp_path}/r.db")
    run = await guard.abegin_run(principal=ALICE)
    task = asyncio.create_task(guard.aexecute(run, call("mail", to="a"), lambda _: "sent"))
    while not run.turnstile.busy:
        await asyncio.sleep(0)
    with pytest.raises(EngineError, match="event loop that it blocks"):
        guard.execute(run, call("mail", to="b"), never)
    assert await task == "sent"
    assert guard.execute(run, call("mail", to="c"), lambda _: "sent") == "sent"
    await guard.aclose()


def test_a_body_may_call_the_guard_again(guard: Guard, run: Run) -> None:
    def nested(depth: int) -> Any:
        if depth == 0:
            return "bottom"
        return guard.execute(run, call("look", what=str(depth)), lambda _: nested(depth - 1))

    assert nested(20) == "bottom"
    parents = [e.parent for e in events_of(guard, run) if isinstance(e, CallRequested)]
    assert len(set(parents)) == 20


def test_a_thread_that_outlives_the_run_runs_nothing(guard: Guard, run: Run) -> None:
    go = threading.Event()
    done: list[RunHaltedError] = []

    def late() -> None:
        go.wait()
        try:
            guard.execute(run, call("look", what="x"), never)
        except RunHaltedError as error:
            done.append(error)
        try:
            guard.bound(run, lambda: never({}))
        except RunHaltedError as error:
            done.append(error)

    thread = threading.Thread(target=late)
    guard.execute(run, call("look", what="x"), lambda _: thread.start())
    guard.end_run(run)
    go.set()
    thread.join()
    assert len(done) == 2


def test_a_run_that_ends_in_its_own_body_ends_the_call_too(guard: Guard, run: Run) -> None:
    with pytest.raises(RunHaltedError):
        guard.execute(run, call("look", what="x"), lambda _: guard.end_run(run))
    assert failures(guard, run)[0][0] == "abandoned"
    assert events_of(guard, run)[-1].kind == "RunEnded"


def test_equal_calls_that_wait_at_once_are_each_asked_and_run_once(guard: Guard, run: Run) -> None:
    same = call("ask", items=["a"])
    barrier = threading.Barrier(2)
    tickets: list[str] = []

    def ask() -> None:
        barrier.wait()
        try:
            guard.execute(run, same, never, wait=False)
        except PendingError as error:
            tickets.extend(error.tickets)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = {t.id for t in run.state.open_tickets.values()}
    assert asked == set(tickets)
    for id in asked:
        guard.approve(id, by="dana")
    ran: list[Any] = []
    for _ in asked:
        guard.execute(run, same, ran.append, wait=False)
    assert len(ran) == len(asked)
    assert run.held == {}


def test_a_suspend_waits_for_plain_bodies_too(guard: Guard, run: Run) -> None:
    with pytest.raises(EngineError, match="in flight"):
        guard.execute(run, call("look", what="x"), lambda _: guard.suspend(run))
    guard.suspend(run)
    assert run.suspended


# ---- what a run holds ------------------------------------------------------------------------------


async def test_a_run_that_ends_wakes_who_waits_for_people_and_gives_back(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE)
    task = asyncio.create_task(guard.aexecute(run, call("ask", items=["a"]), never))
    while not run.waiting:
        await asyncio.sleep(0)
    await guard.aend_run(run)
    with pytest.raises((RunHaltedError, DeniedError)):  # the question is withdrawn, or the run over, first
        await task
    await two_may_ask(guard)


async def test_what_was_put_away_and_never_asked_again_is_given_back(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE)
    for number in range(2):
        with pytest.raises(PendingError):
            await guard.aexecute(run, call("ask", str(number), items=["a"]), never, wait=False)
    await guard.asuspend(run)
    run = await guard.aresume_run(run.id)
    await guard.aend_run(run)
    await two_may_ask(guard)


async def test_a_call_whose_run_ends_while_the_ledger_is_asked_charges_nothing(guard: Guard) -> None:
    run = await guard.abegin_run(principal=ALICE)
    steps = guard._admission.authorize(run, call("ask", items=["a"]))
    record = run.append

    def ends(event: Any, **kwargs: Any) -> Any:
        if event.kind == "CallDecided":
            raise EngineError("the run has ended")
        return record(event, **kwargs)

    run.append = ends  # type: ignore[method-assign]
    with pytest.raises(EngineError):
        next(steps)
    await two_may_ask(guard)


async def two_may_ask(guard: Guard) -> None:
    """The rate is two per hour: both must be free."""
    run = await guard.abegin_run(principal=ALICE)
    for number in range(2):
        with pytest.raises(PendingError):
            await guard.aexecute(run, call("ask", f"again{number}", items=["b"]), never, wait=False)
    await guard.aend_run(run)


async def test_an_equal_call_of_a_tool_whose_values_are_not_kept_is_not_another(clock: FakeClock) -> None:
    guard = make_guard(clock=clock)
    run = await guard.abegin_run(principal=ALICE, agent="main")
    await guard.aauthorize(run, call("quiet", what="a"))
    assert await guard.aexecute(run, call("quiet", what="b"), lambda a: a["what"]) == "b"
    assert await guard.aexecute(run, call("quiet", what="a"), lambda a: a["what"]) == "a"
    await guard.aclose()
