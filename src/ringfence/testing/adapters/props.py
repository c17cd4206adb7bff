"""What a scene is played with: a guard over a few clauses, and tools that note what they did."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ringfence.dsl.plan import Json
from ringfence.engine.decision import events as e
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.ports import Ticket
from ringfence.engine.seams.settings import Settings
from ringfence.testing.adapters.held_store import URL, HeldStore, Stores
from ringfence.testing.clock import FakeClock

POLICY = """language 1
policy contract
capability work is read
capability ruin is destructive
approver lead {{ group "leads"  never the requester  answer within 15 minutes otherwise deny }}
agent main {{ holds work {limits} }}
tool wipe {{ needs ruin  takes what: text  allow always }}
tool look {{ needs work  takes what: text  allow when what != "classified" }}
"""
"""`wipe` is declared, and nobody holds what it needs; `scrub` is not declared at all."""

Event = TypeVar("Event", bound=e.RunEvent)


class Props:
    """`async with Props(…)`: the guard is closed at the end, and bodies that hang are let go."""

    def __init__(
        self, folder: Path, clauses: str, *, limits: str = "", policy: str = POLICY, within_s: float = 30.0
    ) -> None:
        """Make the guard of these clauses; nothing is waited for longer than `within_s` seconds."""
        self.within_s = within_s
        self.clock = FakeClock()
        self.store = HeldStore()
        self.ran: list[tuple[str, Mapping[str, Any]]] = []
        """Tool and arguments of every body that began, in order."""
        self.let_go = threading.Event()
        """Set: the bodies of `hang` return."""
        self.returned: list[str] = []
        """Tools whose plain function hung until it returned."""
        self.stopped: list[str] = []
        """Tools whose coroutine was cancelled."""
        file = folder / "contract.fence"
        file.write_text(policy.format(limits=limits) + clauses, encoding="utf-8")
        self.guard = Guard.load(
            file,
            settings=Settings.of({"groups": {"leads": ["dana", "erin", "alice"]}}, folder=folder),
            store=URL,
            plugins=[Stores(self.store)],
            clock=self.clock,
        )

    async def __aenter__(self) -> "Props":
        await self.guard.aopen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go.set()
        self.store.release()
        with contextlib.suppress(EngineError) if self.store.log.fails else contextlib.nullcontext():
            await self.guard.aclose()  # a log that fails cannot take what it has not taken yet

    # ---- tools -------------------------------------------------------------------------------------

    def note(self, tool: str, **arguments: Any) -> None:
        """Note that a body began."""
        self.ran.append((tool, arguments))

    def bodies(self, tool: str) -> list[Mapping[str, Any]]:
        """Return the arguments of this tool's bodies that began."""
        return [arguments for name, arguments in self.ran if name == tool]

    def look(self) -> Callable[..., Any]:
        """Return a tool that reads."""

        def look(what: str) -> str:
            """Look something up."""
            self.note("look", what=what)
            return f"saw {what}"

        return look

    def wipe(self) -> Callable[..., Any]:
        """Return a tool of a capability that nobody holds."""

        def wipe(what: str) -> str:
            """Wipe something out."""
            self.note("wipe", what=what)
            return f"wiped {what}"

        return wipe

    def scrub(self) -> Callable[..., Any]:
        """Return a tool that no policy declares."""

        def scrub(what: str) -> str:
            """Scrub something."""
            self.note("scrub", what=what)
            return f"scrubbed {what}"

        return scrub

    def send(self) -> Callable[..., Any]:
        """Return a tool that sends, to somebody whom the caller need not name."""

        def send(to: str = "eve") -> str:
            """Send a message."""
            self.note("send", to=to)
            return f"sent to {to}"

        return send

    def add(self) -> Callable[..., Any]:
        """Return a tool that takes a number."""

        def add(amount: int) -> str:
            """Add an amount."""
            self.note("add", amount=amount)
            return f"added {amount}"

        return add

    def break_down(self) -> Callable[..., Any]:
        """Return a tool that fails."""

        def break_down(what: str) -> str:
            """Break something."""
            self.note("break_down", what=what)
            raise BodyError(f"{what} broke")

        return break_down

    def hang(self) -> Callable[..., Any]:
        """Return a tool whose body, a plain function, returns when it is let go."""

        def hang(what: str) -> str:
            """Wait for something."""
            self.note("hang", what=what)
            self.let_go.wait(self.within_s)
            self.returned.append("hang")
            return f"waited for {what}"

        return hang

    def hang_awaiting(self) -> Callable[..., Any]:
        """Return the same as a coroutine function, which never returns by itself."""

        async def hang(what: str) -> str:
            """Wait for something."""
            self.note("hang", what=what)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.stopped.append("hang")
                raise
            return f"waited for {what}"

        return hang

    def late(self) -> Callable[..., Any]:
        """Return a tool in which ten minutes pass, by the engine's clock."""

        def late(what: str) -> str:
            """Take long."""
            self.note("late", what=what)
            self.clock.advance(600)
            return f"took long over {what}"

        return late

    # ---- what was recorded -------------------------------------------------------------------------

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


class BodyError(Exception):
    """A tool's body failed, for a reason of its own."""


def awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain tool as a coroutine function."""

    @functools.wraps(function)
    async def made(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return made


def names_of(tools: Sequence[Callable[..., Any]]) -> list[str]:
    """Return the names of the tools."""
    return [tool.__name__ for tool in tools]
