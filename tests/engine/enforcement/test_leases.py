"""A session that is given back is free for others, and one that is taken is not given back by mistake."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.seams.errors import EngineError, StoreAwayError, TakenOverError
from ringfence.engine.seams.ports import Entry
from ringfence.plugins.memory import MemoryStore
from ringfence.plugins.memory.leases import MemoryLeases
from tests.guards import ALICE, call, make_guard

WITHIN_S = 30


class SlowLeases(MemoryLeases):
    """A session is given back when the test says so; other connections are not held up by that."""

    def __init__(self) -> None:
        super().__init__()
        self.given_back = asyncio.Event()
        self.releasing = threading.Event()
        self.failures = 0

    async def release(self, session: str, holder: str) -> None:
        self.releasing.set()
        if self.failures:
            self.failures -= 1
            raise StoreAwayError("the line is dead")
        await self.given_back.wait()
        await super().release(session, holder)


@pytest.fixture
def leases() -> SlowLeases:
    return SlowLeases()


@pytest.fixture
def guard(leases: SlowLeases) -> Iterator[Guard]:
    def opened() -> MemoryStore:
        store = MemoryStore()
        store.leases = leases
        return store

    made = make_guard(opened=opened)
    made.open()
    yield made
    made.opening.loop.call_soon(leases.given_back.set)
    with contextlib.suppress(EngineError):  # some tests leave a log that takes nothing more
        made.close()


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_a_run_that_begins_while_its_session_is_given_back_holds_it(guard: Guard, leases: SlowLeases) -> None:
    first = guard.begin_run(principal=ALICE, agent="main", session="s")
    ending = threading.Thread(target=guard.end_run, args=(first,))
    ending.start()
    assert leases.releasing.wait(WITHIN_S)
    begun: list[Run] = []
    beginning = threading.Thread(
        target=lambda: begun.append(guard.begin_run(principal=ALICE, agent="main", session="s"))
    )
    beginning.start()
    eventually(lambda: bool(begun) or "s" in guard._lifecycle._sessions._held)
    guard.opening.loop.call_soon(leases.given_back.set)
    for thread in (ending, beginning):
        thread.join(WITHIN_S)
    holder = guard._lifecycle._sessions.holder
    assert begun and leases._holders == {"s": holder}
    guard.end_run(begun[0])
    eventually(lambda: not leases._holders)
    assert not guard._lifecycle._sessions._asked


def test_a_session_that_could_not_be_given_back_is_free_once_the_store_answers(
    guard: Guard, leases: SlowLeases
) -> None:
    other = guard.begin_run(principal=ALICE, agent="main")
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    guard.opening.loop.call_soon(leases.given_back.set)
    leases.failures = 2
    with pytest.raises(EngineError, match="the line is dead"):
        guard.end_run(run)
    eventually(lambda: "s" not in leases._holders)
    guard.end_run(other)


@pytest.mark.parametrize("how", ["taken over", "broken"])
@pytest.mark.parametrize("step", ["end_run", "suspend"])
def test_a_run_that_the_log_takes_no_more_events_of_keeps_no_session(
    guard: Guard, leases: SlowLeases, how: str, step: str
) -> None:
    guard.opening.loop.call_soon(leases.given_back.set)
    run = guard.begin_run(principal=ALICE, agent="main", session="s")
    log = guard.opening.ready.log
    answers = log.append

    async def append(batch: Sequence[Entry]) -> None:
        if how == "broken":
            raise OSError("the disk is full")
        if any(entry.run == run.id for entry in batch):
            raise TakenOverError("the log holds another event", run=run.id)
        await answers(batch)

    log.append = append  # type: ignore[method-assign]
    with contextlib.suppress(EngineError):  # the log may have refused its first events before its last
        guard.execute(run, call("look", what="x"), lambda _: "seen")
    with pytest.raises(EngineError):
        guard.opening.ready.journal.flush(run.id).result()
    with pytest.raises(EngineError):
        getattr(guard, step)(run)
    if step == "suspend":
        with pytest.raises(EngineError):
            guard.end_run(run)
    eventually(lambda: not leases._holders)
    assert not tuple(guard._lifecycle.live())
    eventually(lambda: guard._lifecycle.presence._needed == 0)
    log.append = answers  # type: ignore[method-assign]
