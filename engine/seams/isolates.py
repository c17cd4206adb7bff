"""The seam between the guard and what runs JavaScript in V8 isolates, as values and a protocol.

Only JSON text crosses it.  The executor enforces what bounds the code; what the code may do outside is asked
of the guard, call by call.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Lockdown = Literal["full", "process"]
"""What the worker must have: every wall, or at least a process of its own with its limits."""


@dataclass(frozen=True, slots=True)
class IsolateLimits:
    """What bounds one run in an isolate."""

    memory_bytes: int
    cpu_ns: int
    """Processor time of the worker."""
    time_ns: int
    """Wall time from start to answer, inner calls included."""
    output_bytes: int
    """UTF-8 bytes of the result's JSON."""


@dataclass(frozen=True, slots=True)
class IsolateJob:
    """One run of code in a fresh isolate."""

    source: str
    """JavaScript: an expression that is a function of the arguments (`body`), or a script (`code`)."""
    kind: Literal["body", "code"]
    """`body`: our own tool body, called with one object of the arguments.  `code`: written by a model; its
    result is what it returns (it is the body of an async function)."""
    name: str
    """What messages call the source: the file's name as the policy writes it, or the parameter's."""
    arguments: str
    """A JSON object, as text; `{}` for code."""
    tools: tuple[str, ...]
    """Names that exist as `tools.NAME(args)`; each returns a promise."""
    limits: IsolateLimits
    lockdown: Lockdown
    now_ms: int
    """What `Date` says, milliseconds since the epoch."""
    tick_ms: int | None
    """None: the clock stands still.  Else `Date` moves on in steps of this many milliseconds."""
    seed: str
    """Hex of the 128 bits that `Math.random` starts from."""
    owner: str
    """Whose job it is: a word of the guard for one session of one principal, which says nothing of either.
    What has run a job of one owner must never run one of another; no code learns it."""


@dataclass(frozen=True, slots=True)
class InnerCall:
    """A call that the code makes: `tools.NAME(args)`."""

    id: int
    """From 1, rising, of one run."""
    tool: str
    arguments: str
    """JSON as text, as the code gave it; never trusted."""


@dataclass(frozen=True, slots=True)
class InnerAnswer:
    """What the code gets for one call: the promise is fulfilled, or rejected with an `Error` of this text."""

    id: int
    result: str | None
    """JSON as text; None: rejected."""
    error: str | None = None


InnerAnswering = Callable[[Sequence[InnerCall]], Awaitable[Sequence[InnerAnswer]]]
"""Asked with the calls that the code has made since the last time, in their order; answers all of them."""

IsolateFailure = Literal[
    "syntax",
    "no function",
    "exception",
    "stalled",
    "not JSON",
    "output",
    "memory",
    "cpu",
    "time",
    "calls",
    "killed",
    "lockdown",
    "executor",
]
"""Why there is no result: `stalled`, a promise that never settles; `calls`, too many, or too large together;
`killed`, the worker died or hit a wall; `lockdown`, the machine lacks a wall; `executor`, our own fault."""


@dataclass(frozen=True, slots=True)
class IsolateOutcome:
    """What a run in an isolate gave."""

    result: str | None
    """JSON as text; None: it failed."""
    failure: IsolateFailure | None = None
    message: str | None = None
    """For a person: what, where, which limit.  Nothing of the host in it."""
    line: int | None = None
    """Of the given source, from 1."""
    column: int | None = None
    v8: str = ""
    """V8's version: with source, arguments, answers, clock and seed it gives the same bytes again."""
    layers: tuple[str, ...] = ()
    """The walls that stood, as the worker proved them."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One wall around a worker, and whether this machine has it."""

    name: str
    """`no new privileges`, `namespaces`, `limits`, `Landlock`, `seccomp`, `V8 flags`, ..."""
    holds: bool
    evidence: str
    """What the self-test saw, or what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Fitness:
    """What this machine can enforce."""

    v8: str | None
    """None: no V8 is installed, or not the right one."""
    layers: tuple[Layer, ...] = field(default_factory=tuple)
    problem: str | None = None
    """Why nothing can run at all, and how to mend it."""

    def lacks(self, lockdown: Lockdown) -> tuple[str, ...]:
        """Return the walls that this lock-down wants and the machine lacks."""
        # SECURITY: a report that does not name the process of its own promises nothing.
        unnamed = () if "process" in {layer.name for layer in self.layers} else ("process",)
        missing = {layer.name: None for layer in self.layers if not layer.holds}
        return unnamed + tuple(name for name in missing if lockdown == "full" or name == "process")


class IsolateExecutor(Protocol):
    """Runs code in isolates; on the engine's loop.  Total: whatever happens is an outcome."""

    async def run(self, job: IsolateJob, answer: InnerAnswering) -> IsolateOutcome:
        """Run one job in a fresh isolate; cancelled, its worker is killed."""
        ...

    async def fitness(self) -> Fitness:
        """Say what this machine can enforce, as a worker proves it."""
        ...

    def prewarm(self, lockdown: Lockdown, memory_bytes: int) -> None:
        """Have what such jobs need made ready, in the background; says nothing if that fails."""
        ...

    async def close(self) -> None:
        """End all workers; safe to call twice."""
        ...


@runtime_checkable
class CheckedExecutor(Protocol):
    """An executor that may know beforehand that nothing can run here: `ringfence check` says it."""

    def check(self) -> None:
        """Raise EngineError, with what mends it, if nothing can run here; no worker is started for it."""
        ...
