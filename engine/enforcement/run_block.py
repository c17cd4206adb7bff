"""`with guard.run(...) as run:` for hosts that have no framework to begin and end their runs."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict

from ringfence.engine.decision.calls import Principal
from ringfence.engine.enforcement.current import inside
from ringfence.engine.enforcement.lifecycle import EndStatus
from ringfence.engine.enforcement.runs import Run

if TYPE_CHECKING:
    from ringfence.engine.enforcement.guard import Guard


class AboutRun(TypedDict, total=False):
    """What a host says of a run that it begins; all of it may be left out."""

    principal: Principal | None
    """On whose behalf it acts."""
    agent: str | None
    """Which agent of the policy it is; None: the only one, or `main`."""
    session: str | None
    """Everything whose messages the model sees; None: a session of its own."""
    prompt: Any
    """What the user typed, recorded as such: never what stands around it, nor what somebody else wrote."""
    attachments: Iterable[Any]
    """Texts that the user handed over, recorded as such."""
    capabilities: Iterable[str] | None
    """What the run holds, where that is less than its agent does."""
    framework: str
    versions: Mapping[str, str]
    """The framework's packages and their versions, recorded beside Ringfence's own and Python's."""
    external_id: str | None
    """The framework's id for it."""
    resume_of: str | None
    """The run whose work this one takes up."""
    parent: Run | str | None
    """The run around this one, whose bounds and halts are also its own."""


class RunBlock:
    """`with guard.run(...) as run:`: begins a run, makes it the current one, and ends it."""

    def __init__(self, guard: "Guard", about: AboutRun) -> None:
        self._guard = guard
        self._about = about
        self._run: Run | None = None
        self._inside: Any = None

    def __enter__(self) -> Run:
        return self._entered(self._guard.begin_run(**self._about))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.end_run(*self._left(error))

    async def __aenter__(self) -> Run:
        return self._entered(await self._guard.abegin_run(**self._about))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._guard.aend_run(*self._left(error))

    def _entered(self, run: Run) -> Run:
        self._run = run
        self._inside = inside(run)
        self._inside.__enter__()
        return run

    def _left(self, error: BaseException | None) -> tuple[Run, EndStatus, str | None]:
        assert self._run is not None
        self._inside.__exit__(None, None, None)
        if error is None:
            return self._run, "done", None
        return self._run, "failed", type(error).__name__
