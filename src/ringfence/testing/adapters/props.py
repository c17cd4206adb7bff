"""What a scene is played with: a guard over a few clauses, and tools that note what they did."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.seams.errors import EngineError
from ringfence.engine.seams.settings import Settings
from ringfence.testing.adapters.held_store import URL, HeldStore, Stores
from ringfence.testing.adapters.recorded import Recorded
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


class Props(Recorded):
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


class BodyError(Exception):
    """A tool's body failed, for a reason of its own."""


def awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain tool as a coroutine function."""

    @functools.wraps(function)
    async def made(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return made
