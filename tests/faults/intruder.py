"""Another process that writes a run which is not its own: `python -m tests.faults.intruder HOW FILE …`."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from ringfence.dsl.canonical import canonical
from ringfence.engine.decision.events import SCHEMA, CallFailed, RunEnded, RunEvent, RunHalted, body_of
from ringfence.engine.journal.chain import chained
from ringfence.engine.seams.errors import RingfenceError, TakenOverError
from ringfence.engine.seams.ports import Entry, RunRow
from ringfence.plugins.sqlite import SqliteStore
from tests.guards import ALICE, make_guard

TIMES = 150


def politely(file: str, run: str, session: str) -> dict[str, Any]:
    """Ask a guard for the run and for its session, and say what it answers."""
    guard = make_guard(store=f"sqlite:///{file}")
    answers: list[str] = []
    asked: tuple[Callable[[], Any], ...] = (
        lambda: guard.resume_run(run),
        lambda: guard.begin_run(principal=ALICE, agent="main", session=session),
    )
    for ask in asked:
        try:
            ask()
        except RingfenceError as error:
            answers.append(error.diagnostics())
        else:
            answers.append("it may")
    guard.close()
    return {"answers": answers}


def after(row: RunRow, event: RunEvent) -> Entry:
    """Return an event as one who thinks that the run is his own would store it."""
    return chained(
        row.head,
        run=row.run,
        seq=row.events + 1,
        kind=event.kind,
        schema=SCHEMA,
        at_ns=row.last_ns + 1,
        mono_ns=1,
        salt=b"s" * 16,
        body=canonical(body_of(event)),
    )


async def _with(file: str, work: Callable[[SqliteStore], Any]) -> Any:
    store = SqliteStore(f"sqlite:///{file}")
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()


def ending(file: str, run: str, session: str) -> dict[str, Any]:
    """End the run behind its owner's back, past every lease."""

    async def end(store: SqliteStore) -> None:
        assert store.events is not None
        for event in (RunHalted("killed", "mallory", None), RunEnded("halted", None)):
            row = await store.events.run(run)
            assert row is not None
            await store.events.append([after(row, event)])

    asyncio.run(_with(file, end))
    return {}


def racing(file: str, run: str, session: str) -> dict[str, Any]:
    """Write the run's next event again and again, whoever else does so; say how often it was first."""

    async def race(store: SqliteStore) -> int:
        assert store.events is not None
        first = 0
        for number in range(TIMES):
            row = await store.events.run(run)
            assert row is not None
            try:
                await store.events.append([after(row, CallFailed("c", "raised", f"{session} {number}", 1))])
                first += 1
            except TakenOverError:
                pass
        return first

    return {"first": asyncio.run(_with(file, race))}


if __name__ == "__main__":
    how, *where = sys.argv[1:]
    print(json.dumps({"politely": politely, "ending": ending, "racing": racing}[how](*where)))
