"""What the record of a scene says, for the claims of the contract."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.ports import Ticket

Event = TypeVar("Event", bound=e.RunEvent)


class Recorded:
    """Reads what a guard has recorded, and who is asked."""

    guard: Guard
    within_s: float

    async def runs(self) -> list[str]:
        """Return the ids of all runs, oldest first."""
        rows = await asyncio.to_thread(lambda: list(self.guard.runs.list()))
        return [row.run for row in reversed(rows)]

    async def status(self, run: str) -> str:
        """Return how a run stands: running, suspended, halted, done, failed."""
        rows = await asyncio.to_thread(lambda: list(self.guard.runs.list()))
        return str(next(row.status for row in rows if row.run == run))

    async def run(self) -> str:
        """Return the id of the only run; fail if there is another number of them."""
        found = await self.runs()
        assert len(found) == 1, f"one invocation is one run, and the record has {len(found)}"
        return found[0]

    async def started(self) -> e.RunStarted:
        """Return the beginning of the only run."""
        await self.run()
        return (await self.events(e.RunStarted))[0]

    async def events(self, kind: type[Event]) -> list[Event]:
        """Return the events of one kind of all runs, run by run."""
        found: list[Event] = []
        for run in await self.runs():
            record = await self.guard.runs.aget(run)
            found += [one.event for one in record.events if isinstance(one.event, kind)]
        return found

    async def verdicts(self, tool: str) -> list[str]:
        """Return what was decided of the calls of one tool, decision by decision."""
        named = {one.call: one.tool for one in await self.events(e.CallRequested)}
        return [one.verdict for one in await self.events(e.CallDecided) if named[one.call] == tool]

    async def decided_arguments(self, tool: str) -> list[Json]:
        """Return the canonical arguments that were decided for the calls of one tool."""
        asked = {one.call: one for one in await self.events(e.CallRequested)}
        return [
            asked[one.call].arguments if one.arguments is None else one.arguments
            for one in await self.events(e.CallDecided)
            if asked[one.call].tool == tool
        ]

    async def questions(self) -> list[Ticket]:
        """Return the open tickets, oldest first."""
        opening = self.guard.opening
        return await asyncio.wrap_future(opening.submit(opening.ready.tickets.pending()))

    async def until(self, met: Callable[[], bool], what: str) -> None:
        """Return when the condition holds; fail with `what` if it does not in time."""
        over = time.monotonic() + self.within_s
        while not met():
            assert time.monotonic() < over, f"waited {self.within_s:.0f} s in vain: {what}"
            await asyncio.sleep(0.005)
