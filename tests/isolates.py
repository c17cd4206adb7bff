"""A fake of what runs isolates: Python functions in the place of V8, and all that it was asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ringfence.plugin import (
    Fitness,
    InnerAnswering,
    InnerCall,
    IsolateExecutor,
    IsolateJob,
    IsolateOutcome,
    Layer,
    Lockdown,
    hookimpl,
)

V8 = "14.4.258.23"
LAYERS = ("process", "limits", "seccomp")


class Tools:
    """What the code of a job may use: `await tools("query", table="a")`, or several at once."""

    def __init__(self, answer: InnerAnswering) -> None:
        self._answer = answer
        self._made = 0

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        """Make one call; raise ToolError if its promise is rejected."""
        (found,) = await self.all((tool, arguments))
        if isinstance(found, ToolError):
            raise found
        return found

    async def all(self, *calls: tuple[str, Any]) -> list[Any]:
        """Make calls at once; a rejected one is its error.  Arguments may be a text: it is sent as it is."""
        made = []
        for tool, arguments in calls:
            self._made += 1
            said = arguments if isinstance(arguments, str) else json.dumps(arguments)
            made.append(InnerCall(self._made, tool, said))
        answers = await self._answer(made)
        assert [one.id for one in answers] == [one.id for one in made]
        return [
            ToolError(one.error or "") if one.result is None else json.loads(one.result) for one in answers
        ]


class ToolError(Exception):
    """What the code sees of a call that was not answered with a result."""


Code = Callable[[IsolateJob, Tools], Awaitable[Any]]


@dataclass
class FakeExecutor:
    """Runs the function that `code` has for a job's source; what is not there is an exception of the code."""

    code: dict[str, Code] = field(default_factory=dict)
    jobs: list[IsolateJob] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    """The sources of the jobs that were cancelled."""
    missing: tuple[str, ...] = ()
    """The layers that this machine lacks."""
    problem: str | None = None
    """Why nothing can run at all."""
    asked: int = 0
    """How often it was asked what it can enforce."""
    prewarmed: list[tuple[Lockdown, int]] = field(default_factory=list)
    closed: int = 0

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        """See `IsolateExecutor`."""
        self.jobs.append(job)
        code = self.code.get(job.source)
        if code is None:
            return IsolateOutcome(None, "exception", "ReferenceError: x is not defined", 3, 7, V8, LAYERS)
        try:
            result = await code(job, Tools(answer))
        except asyncio.CancelledError:
            self.killed.append(job.source)
            raise
        if isinstance(result, IsolateOutcome):
            return result
        said = result if isinstance(result, bytes) else json.dumps(result).encode()
        return IsolateOutcome(said.decode(), v8=V8, layers=LAYERS)

    async def fitness(self) -> Fitness:
        """See `IsolateExecutor`."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.problem is not None:
            return Fitness(None, problem=self.problem)
        return Fitness(V8, tuple(Layer(name, name not in self.missing, f"saw {name}") for name in LAYERS))

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """See `IsolateExecutor`."""
        self.prewarmed.append((lockdown, memory_bytes))

    async def close(self) -> None:
        """See `IsolateExecutor`."""
        self.closed += 1


class Executors:
    """A plugin that brings an executor; None: it has none on this machine."""

    def __init__(self, executor: IsolateExecutor | None) -> None:
        self._executor = executor

    @hookimpl
    def ringfence_isolate_executor(self) -> IsolateExecutor | None:
        """See `Hooks`."""
        return self._executor
