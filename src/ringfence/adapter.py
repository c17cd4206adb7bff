"""For authors of adapters: the seam between the guard and a framework, in one public module.

An adapter holds no policy logic.  It says when a run begins and ends, shows the model the tools that are
visible, records what the model was given and said, and runs every tool body through `execute` or `aexecute`,
which decide on the arguments that the body would get.  Everything else (limits, people, labels, the record)
is the guard's.

`ringfence.testing.AdapterContract` holds the tests that an adapter must pass.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NoReturn, Protocol, TypeVar, Unpack

from ringfence.dsl.canonical import same
from ringfence.dsl.plan import Json, Plan, Verdict
from ringfence.engine.binding.around import principal_of, run_around
from ringfence.engine.binding.credentials import without_keys
from ringfence.engine.binding.values import json_of
from ringfence.engine.decision.calls import Decision, Principal, ToolCall
from ringfence.engine.decision.events import ModelAnswered, ModelAsked, PromptGiven
from ringfence.engine.enforcement.catalogue import undeclared
from ringfence.engine.enforcement.current import current_run, inside
from ringfence.engine.enforcement.door import Body
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.lifecycle import EndStatus
from ringfence.engine.enforcement.run_block import AboutRun
from ringfence.engine.enforcement.runs import Run
from ringfence.engine.enforcement.tool_results import ResultLens
from ringfence.engine.enforcement.versions import versions_of
from ringfence.engine.journal.jsonable import jsonable
from ringfence.engine.seams.errors import (
    DeniedError,
    EngineError,
    PendingError,
    RingfenceError,
    RunHaltedError,
    ToolFailedError,
)

T = TypeVar("T")

__all__ = [
    "AboutRun",
    "Body",
    "Decision",
    "DeniedError",
    "EndStatus",
    "EngineError",
    "Guard",
    "Json",
    "ModelAnswered",
    "ModelAsked",
    "PendingError",
    "Plan",
    "Principal",
    "PromptGiven",
    "ResultLens",
    "RingfenceError",
    "Run",
    "RunHaltedError",
    "Seam",
    "ToolCall",
    "ToolFailedError",
    "Verdict",
    "current_run",
    "inside",
    "json_of",
    "jsonable",
    "principal_of",
    "run_around",
    "same",
    "undeclared",
    "versions_of",
    "without_keys",
]


class Seam(Protocol):
    """What of a `Guard` an adapter uses; every method that can wait has an asynchronous form.

    `Guard` says what each does, and what it raises.  A refusal is told to the model in `error.model_text`
    alone.
    """

    plan: Plan

    def begin_run(self, **about: Unpack[AboutRun]) -> Run:
        """Begin a run; `framework` and `versions` name what calls."""

    async def abegin_run(self, **about: Unpack[AboutRun]) -> Run:
        """Like `begin_run`."""

    def resume_run(self, run_id: str, *, principal: Principal | None = None) -> Run:
        """Go on with a run that was put away, or find the live one; for another principal it is refused."""

    async def aresume_run(self, run_id: str, *, principal: Principal | None = None) -> Run:
        """Like `resume_run`."""

    def suspend(self, run: Run) -> None:
        """Put a run away whose calls wait for people."""

    async def asuspend(self, run: Run) -> None:
        """Like `suspend`."""

    def end_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """End a run."""

    async def aend_run(self, run: Run, status: EndStatus = "done", error: str | None = None) -> None:
        """Like `end_run`."""

    def visible(self, run: Run, names: Iterable[str]) -> list[str]:
        """Return the names of the tools that the model may see."""

    def check_live(self, run: Run) -> None:
        """Raise RunHaltedError unless the run may go on."""

    def record(
        self, run: Run, event: PromptGiven | ModelAsked | ModelAnswered, *, keeps_open: bool = False
    ) -> None:
        """Record what the model was given or said."""

    def bound(self, run: Run, work: Callable[[], T]) -> T:
        """Run something that is no tool call, like a model call, under the run's deadline and kills."""

    async def abound(self, run: Run, work: Callable[[], Awaitable[T]]) -> T:
        """Like `bound`."""

    def authorize(self, run: Run, call: ToolCall) -> Decision:
        """Decide a call without running it; `execute` of the same call uses this decision."""

    async def aauthorize(self, run: Run, call: ToolCall) -> Decision:
        """Like `authorize`."""

    def ask(self, run: Run, call: ToolCall) -> Decision:
        """Decide a call before the framework makes it and, if people are asked, ask them now."""

    async def aask(self, run: Run, call: ToolCall) -> Decision:
        """Like `ask`."""

    def refuse(self, run: Run, call: ToolCall, why: str) -> NoReturn:
        """Have a call refused and recorded that has no body to reach."""

    async def arefuse(self, run: Run, call: ToolCall, why: str) -> NoReturn:
        """Like `refuse`."""

    def execute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        *,
        wait: bool = True,
        lens: ResultLens | None = None,
        passthrough: tuple[type[BaseException], ...] = (),
    ) -> Any:
        """Decide a call and, if it is allowed, run its body: the only way a body runs."""

    def aexecute(
        self,
        run: Run,
        call: ToolCall,
        body: Body,
        *,
        wait: bool = True,
        lens: ResultLens | None = None,
        passthrough: tuple[type[BaseException], ...] = (),
    ) -> Coroutine[Any, Any, Any]:
        """Like `execute`; what `body` returns is awaited if it can be."""

    def withdraw(self, run: Run, call: str, *, because: str) -> None:
        """Take back the open questions of a call (its key): it never runs."""
