"""Work that is handed to the SQLite writer from any thread: done in order, or not at all once given up."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ringfence.engine.decision.calls import Charge
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Reservation
from ringfence.plugins.sqlite import SqliteStore
from ringfence.plugins.sqlite.connection import Door
from ringfence.plugins.sqlite.log import _append
from ringfence.testing.stores import entries

NOW = 1_795_000_000_000_000_000
ONE_OF_ONE = Charge("mail", "alice", 1, 1, 60_000_000_000)
WITHIN_S = 30


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(f"sqlite:///{tmp_path}/ringfence.db")
    await made.open()
    yield made
    await made.close()


def door_of(store: SqliteStore) -> Door:
    assert store._door is not None
    return store._door


def held_up(store: SqliteStore) -> threading.Event:
    """Return what lets the writer's thread go on."""
    gate = threading.Event()

    def wait(db: sqlite3.Connection) -> None:
        gate.wait(WITHIN_S)

    writer = door_of(store)._writer
    assert writer is not None
    writer.put(wait)
    return gate


async def test_work_that_raises_does_not_end_the_thread_that_others_wait_for(store: SqliteStore) -> None:
    door = door_of(store)
    assert door._writer is not None

    def raises(_: sqlite3.Connection) -> None:
        raise RuntimeError("a mistake of ours")

    door._writer.put(raises)
    assert await asyncio.wait_for(door.write(lambda db: 1), WITHIN_S) == 1


async def test_what_is_given_back_has_room_for_what_is_reserved_after_it(store: SqliteStore) -> None:
    ledger = store.ledger
    assert ledger is not None
    gate = held_up(store)
    told: list[Future[object]] = []
    for number in range(20):
        held = Reservation(f"r/{number}", (ONE_OF_ONE,), 60_000_000_000)
        told += [ledger.reserve_soon(held, now_ns=NOW + number), ledger.refund_soon(held.id)]  # type: ignore[list-item]
    gate.set()
    assert [done.result(WITHIN_S) for done in told] == [(), None] * 20


async def test_a_dispatch_is_flushed_to_the_disk_and_what_is_only_held_is_not(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = store.ledger
    assert ledger is not None
    flushed: list[bool] = []
    commit = Door._commit

    def watched(door: Door, db: sqlite3.Connection, group: list[Any]) -> list[Any]:
        outcomes = commit(door, db, group)
        flushed.append(db.execute("PRAGMA synchronous").fetchone()[0] == 2)
        return outcomes

    monkeypatch.setattr(Door, "_commit", watched)
    held = Reservation("r/1", (ONE_OF_ONE,), 60_000_000_000)
    assert ledger.reserve_soon(held, now_ns=NOW).result(WITHIN_S) == ()
    assert ledger.dispatched_soon(held.id, now_ns=NOW).result(WITHIN_S)
    ledger.refund_soon(held.id).result(WITHIN_S)
    assert flushed == [False, True, False]


async def test_what_is_given_up_before_it_begins_is_not_done(store: SqliteStore) -> None:
    door, done = door_of(store), []
    gate = held_up(store)
    answers = [door.hand_over(lambda db, n=n: done.append(n)) for n in range(4)]  # type: ignore[misc]
    answers[1].cancel()
    answers[2].set_exception(TimeoutError())
    gate.set()
    answers[3].result(WITHIN_S)
    assert done == [0, 3]


async def test_an_interrupt_of_whoever_hands_over_does_not_make_the_writer_deaf(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = door_of(store)

    def interrupted(work: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(door._writer, "put", interrupted)
        door.hand_over(lambda db: 1)
    assert door.hand_over(lambda db: 2).result(WITHIN_S) == 2


async def test_what_is_given_up_while_it_is_done_holds_up_nobody(store: SqliteStore) -> None:
    door = door_of(store)
    begun, gate = threading.Event(), threading.Event()

    def slow(db: sqlite3.Connection) -> None:
        begun.set()
        gate.wait(WITHIN_S)

    answer = door.hand_over(slow)
    assert begun.wait(WITHIN_S)
    answer.set_exception(TimeoutError())
    gate.set()
    assert door.hand_over(lambda db: 7).result(WITHIN_S) == 7


async def test_what_is_handed_over_together_is_committed_together_and_fails_alone(store: SqliteStore) -> None:
    door, said = door_of(store), list[str]()
    gate = held_up(store)
    writer = door._writer
    assert writer is not None
    writer.put(lambda db: db.set_trace_callback(said.append))

    def wrong(db: sqlite3.Connection) -> None:
        raise EngineError("no")

    answers = [door.hand_over(lambda db, n=n: n) for n in range(50)]  # type: ignore[misc]
    gate.set()
    assert [answer.result(WITHIN_S) for answer in answers] == list(range(50))
    assert said.count("COMMIT") == 1
    gate = held_up(store)
    failing, fine = door.hand_over(wrong), door.hand_over(lambda db: 1)
    gate.set()
    assert isinstance(failing.exception(WITHIN_S), EngineError) and fine.result(WITHIN_S) == 1


async def test_what_else_the_thread_is_asked_is_not_held_up_by_groups_that_follow_each_other(
    store: SqliteStore,
) -> None:
    door, order = door_of(store), list[str]()
    gate, after = held_up(store), list[Future[None]]()

    def first(db: sqlite3.Connection) -> None:
        order.append("first")
        after.append(door.hand_over(lambda db: order.append("second")))

    door.hand_over(first)
    between = asyncio.create_task(door._writer.call(lambda db: order.append("between")))  # type: ignore[union-attr]
    await asyncio.sleep(0)
    gate.set()
    await between
    after[0].result(WITHIN_S)
    assert order == ["first", "between", "second"]


async def test_closing_finishes_what_was_handed_over_and_refuses_the_rest(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/x.db")
    await store.open()
    door = door_of(store)
    gate = held_up(store)
    answers = [door.hand_over(lambda db, n=n: n) for n in range(600)]  # type: ignore[misc]
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert [answer.result(WITHIN_S) for answer in answers] == list(range(600))
    assert isinstance(door.hand_over(lambda db: 1).exception(WITHIN_S), EngineError)
    with pytest.raises(EngineError):
        await door.write(lambda db: 1)


async def test_bytes_reach_the_module_in_the_form_that_it_binds_without_looking_for_an_adapter(
    store: SqliteStore,
) -> None:
    found: list[object] = []

    class Watching:
        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def execute(self, *given: object) -> sqlite3.Cursor:
            return self._db.execute(*given)  # type: ignore[arg-type]

        def executemany(self, statement: str, rows: list[tuple[object, ...]]) -> None:
            found.extend(value for row in rows for value in row)
            self._db.executemany(statement, rows)

    made = entries(3)
    made[1] = made[1]._replace(salt=b"", body=None)
    await door_of(store).write(lambda db: _append(Watching(db), made))  # type: ignore[arg-type]
    assert {type(value) for value in found} == {int, str, bytearray, type(None)}
    assert store.events is not None
    assert await store.events.read("run-1") == made
